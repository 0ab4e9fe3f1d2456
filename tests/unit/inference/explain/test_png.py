from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from inference.explain.png import png_encode


@pytest.mark.parametrize("samples", [(), (3,), (4,)], ids=["grey", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (610, 512)])
def test_what_was_encoded_is_read_back(size: tuple[int, int], samples: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, *samples), np.uint8)
    with Image.open(io.BytesIO(png_encode(pixels))) as picture:
        assert picture.format == "PNG"
        picture.load()
        assert np.array_equal(np.asarray(picture), pixels)


def test_a_view_of_other_pixels_is_encoded_as_it_looks() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (40, 60, 3), np.uint8)[::-2, 5:50]
    picture = Image.open(io.BytesIO(png_encode(pixels)))
    assert np.array_equal(np.asarray(picture), pixels)


def test_every_checksum_holds() -> None:
    with Image.open(io.BytesIO(png_encode(np.zeros((5, 7), np.uint8)))) as picture:
        picture.verify()


def test_two_samples_are_no_picture() -> None:
    with pytest.raises(KeyError):
        png_encode(np.zeros((4, 4, 2), np.uint8))
