from __future__ import annotations

import numpy as np
import pytest

from models.build.compress.calibration_set import (
    DIFFICULTIES,
    calibration_set,
    low_contrast,
    motion_blurred,
    noisy,
)
from tests.unit.models.build.compress.graphs import KEYS, samples


def test_every_class_has_as_many_images_of_every_difficulty() -> None:
    drawn = calibration_set(samples(), 24, seed=1)
    assert drawn.counts(KEYS) == {key: dict.fromkeys(DIFFICULTIES, 2) for key in KEYS}
    assert drawn.images.shape == (24, 32, 32)
    assert drawn.images.dtype == np.uint8


def test_a_class_of_one_image_still_takes_its_full_part() -> None:
    given = samples(48)
    few = given.take([0, *np.flatnonzero(given.labels != 0)])
    counts = calibration_set(few, 24, seed=1).counts(KEYS)
    assert counts["bars"] == dict.fromkeys(DIFFICULTIES, 2)


def test_the_same_seed_draws_the_same_set_and_another_seed_another() -> None:
    first, again, other = (calibration_set(samples(), 24, seed).images for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_images_without_a_label_are_a_class_of_their_own() -> None:
    given = samples(12)
    empty = np.where(given.labels == 2, -1, given.labels)
    unlabelled = type(given)(
        given.images, empty, given.masks, given.masked, given.groups, given.files
    )
    assert calibration_set(unlabelled, 12, 0).counts(KEYS)["none"]["clean"] == 1


def _contrast(image: np.ndarray) -> float:
    return float(np.ptp(image.astype(float)))


def _detail(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean()) + float(
        np.abs(np.diff(image.astype(float), axis=0)).mean()
    )


@pytest.mark.parametrize(
    ("change", "measure", "rises"),
    [(low_contrast, _contrast, False), (motion_blurred, _detail, False), (noisy, _detail, True)],
)
def test_a_difficulty_does_what_it_is_called(change, measure, rises) -> None:  # type: ignore[no-untyped-def]  # pytest gives them
    image = samples(3).images[1]
    changed = change(image, np.random.default_rng(0))
    assert (measure(changed) > measure(image)) is rises
    assert changed.shape == image.shape


def test_low_contrast_leaves_the_air_as_it_is() -> None:
    image = np.zeros((16, 16), np.uint8)
    image[4:12, 4:12] = np.arange(64).reshape(8, 8) + 100
    changed = low_contrast(image, np.random.default_rng(0))
    assert (changed[image == 0] == 0).all()
    assert (low_contrast(image * 0, np.random.default_rng(0)) == 0).all()
