"""The shipped model on a head whose lesion is known: key image and map point at it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from inference.evidence.objects import Kind
from tests.doubles.evidence import KnownStudy, known_study
from tests.doubles.evidence_cases import made


@pytest.fixture(scope="module")
def study() -> KnownStudy:
    return known_study()


def test_the_map_points_at_the_lesion(study: KnownStudy) -> None:
    """The pointing game (Zhang et al. 2018), with half a cell of the map as tolerance."""
    heat, truth = _heat(study), study.truth[(study.found.deciding_slice or 0) - 1]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    cell = heat.shape[0] / 7
    away = np.abs(np.argwhere(truth) - (row, column)).max(axis=1).min()
    assert away <= cell / 2
    assert heat[truth].mean() > 5 * heat[~truth].mean()


def test_a_mirrored_map_would_not_point_at_it(study: KnownStudy) -> None:
    heat, truth = _heat(study), study.truth[(study.found.deciding_slice or 0) - 1]
    for wrong in (heat[:, ::-1], heat[::-1]):
        assert heat[truth].mean() > 2 * wrong[truth].mean()


def test_the_key_image_is_coloured_where_the_lesion_is_and_carries_its_caption(
    study: KnownStudy,
) -> None:
    picture = _objects(study)[Kind.PICTURE]
    pixels = picture.pixel_array.astype(int)
    truth = study.truth[(study.found.deciding_slice or 0) - 1]
    rows, columns = truth.shape
    image, footer = pixels[:rows, :columns], pixels[rows:]
    colour = image.max(axis=2) - image.min(axis=2)
    assert colour[truth].mean() > 5 * colour[~truth].mean()
    shown = study.found.explanation
    assert shown is not None
    with Image.open(BytesIO(shown.image_png)) as plain:
        words = np.asarray(plain.convert("L"), int)[rows : rows + 24, :150]
    assert words.max() > 200, "the caption of the plain picture, in its lower left corner"
    assert np.corrcoef(words.ravel(), footer[:24, :150].mean(axis=2).ravel())[0, 1] > 0.99


def test_the_marks_of_orientation_stand_on_their_sides(study: KnownStudy) -> None:
    """An axial slice is seen from the feet: the patient's right is on the left."""
    pixels = _objects(study)[Kind.PICTURE].pixel_array.max(axis=2)
    middle = pixels.shape[1] // 2
    left, right = pixels[240:275, 4:24], pixels[240:275, -24:-4]
    assert left.max() == right.max() == pixels[4:24, middle - 8 : middle + 8].max() == 255
    bowl = left > 128  # an R has ink in its upper half that an L lacks
    foot = right > 128
    assert bowl[: len(bowl) // 2].sum() > 1.4 * foot[: len(foot) // 2].sum()


def _objects(study: KnownStudy) -> dict[Kind, object]:
    return made(study.found, study.sources(study.found))[0]


def _heat(study: KnownStudy) -> np.ndarray:
    heat = _objects(study)[Kind.MAP]
    frames = np.frombuffer(heat.FloatPixelData, "<f4").reshape(-1, heat.Rows, heat.Columns)
    return frames[(study.found.deciding_slice or 0) - 1]
