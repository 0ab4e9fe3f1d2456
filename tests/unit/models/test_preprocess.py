"""One definition of the model's input, for every kind of pixel that an archive may send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes
from PIL import Image

from models.errors import UnusablePixels
from models.manifest import InputSpec
from models.preprocess import prepare, window_to_uint8

SPEC = InputSpec("image", rows=224, columns=224, low_percentile=0.5, high_percentile=99.5)
REAL = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64)


def ramp(rows: int, columns: int) -> np.ndarray:
    return np.add.outer(np.arange(rows), np.arange(columns))


@pytest.mark.parametrize("dtype", REAL)
def test_every_real_dtype_gives_float32_of_the_graphs_shape(dtype: type) -> None:
    image = prepare((ramp(300, 300) % 120).astype(dtype), SPEC)
    assert image.shape == (1, 1, 224, 224)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert image.min() >= 0
    assert image.max() <= 1


def test_values_are_steps_of_one_255th_so_that_training_can_keep_them_as_bytes() -> None:
    image = prepare(ramp(500, 400).astype(np.int16), SPEC)
    steps = image.astype(np.float64) * 255
    assert np.abs(steps - np.rint(steps)).max() < 1e-4


def test_a_brighter_pixel_stays_brighter() -> None:
    row = prepare(ramp(224, 224).astype(np.uint16), SPEC)[0, 0, 100]
    assert (np.diff(row) >= 0).all()
    assert row[0] < 0.3 < 0.6 < row[-1]


@pytest.mark.parametrize("offset", [-3000, 0, 20000])
@pytest.mark.parametrize("gain", [1, 7])
def test_the_archives_unit_does_not_matter(offset: int, gain: int) -> None:
    plain = ramp(256, 256)
    changed = prepare((plain * gain + offset).astype(np.int32), SPEC)
    assert np.abs(changed - prepare(plain.astype(np.int32), SPEC)).max() <= 1.01 / 255


def test_a_few_hot_pixels_do_not_darken_the_rest() -> None:
    plain = ramp(512, 512).astype(np.float64)
    hot = plain.copy()
    hot[::101, ::97] = 1e30
    hot[5, 5] = 1e300
    assert np.abs(prepare(hot, SPEC) - prepare(plain, SPEC)).mean() < 0.01


@pytest.mark.parametrize("side", [300, 512, 1024])
def test_the_sampled_percentiles_are_within_one_percent_of_all_pixels(side: int) -> None:
    """The window is taken from a regular subsample; on noise, the hardest case, it is as good."""
    noise = np.random.default_rng(side).gamma(2, 300, (side, side))
    low, high = np.percentile(noise, (0.5, 99.5))
    exact = np.clip((noise - low) / (high - low) * 255, 0, 255)
    assert np.abs(window_to_uint8(noise, 0.5, 99.5) - exact).mean() < 2.55


def test_a_wide_picture_keeps_its_shape_and_is_centred_on_black() -> None:
    image = prepare(np.where(ramp(100, 200) % 2, 1000, 900).astype(np.int16), SPEC)[0, 0]
    assert image[:55].max() == image[-55:].max() == 0
    assert image[112].mean() > 0.3


def test_rows_twice_as_far_apart_make_the_picture_twice_as_high() -> None:
    """A disc sampled with half as many rows comes out as the same disc."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    disc = (x**2 + y**2 < 0.5) * 1000.0 + 10 * x
    coarse = prepare(disc[::2], SPEC, pixel_aspect=2.0)
    assert np.abs(coarse - prepare(disc, SPEC)).mean() < 0.01


def test_a_picture_that_fits_is_the_antialiased_resize_of_pillow() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (448, 448)).astype(np.uint8)
    plane[0, :50], plane[-1, :50] = 0, 255
    resized = Image.fromarray(window_to_uint8(plane, 0.5, 99.5)).resize((224, 224), Image.BILINEAR)
    assert np.array_equal(np.rint(prepare(plane, SPEC)[0, 0] * 255), np.asarray(resized))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0, 100), (30, 60)])
def test_a_window_is_the_scaled_and_clipped_value_rounded_half_up(
    dtype: type, percentiles: tuple[float, float]
) -> None:
    """In float32, whatever the dtype: models were trained on this definition, bit for bit."""
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.iinfo(np.int16)
    ends = max(info.min, -(2**23)), min(info.max, 2**23)
    plane = np.random.default_rng(7).integers(*ends, (90, 70), endpoint=True).astype(dtype)
    plane[0, :2] = ends  # the difference of the two does not fit a signed dtype
    ordered = np.sort(plane, axis=None).astype(np.float64)
    low, high = (ordered[round((plane.size - 1) * share / 100)] for share in percentiles)
    scaled = (plane.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    exact = np.floor(np.clip(scaled, 0, 255) + np.float32(0.5))
    assert np.array_equal(window_to_uint8(plane, *percentiles), exact)


def test_a_mask_with_hardly_any_foreground_is_not_taken_for_constant() -> None:
    plane = np.zeros((512, 512), np.uint8)
    plane[201, 203] = 1
    assert prepare(plane, SPEC).max() > 0


def test_not_a_number_is_black() -> None:
    plane = ramp(224, 224).astype(np.float32) + 5
    plane[50:60, 50:60] = np.nan
    assert prepare(plane, SPEC)[0, 0, 52:58, 52:58].max() == 0


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.full((64, 64), 7, np.int16), "same value"),
        (np.zeros((64, 64), np.bool_), "same value"),
        (np.full((64, 64), np.nan), "finite"),
        (np.zeros((0, 64), np.int16), "plane"),
        (np.zeros((4, 64, 64), np.int16), "plane"),
        (np.zeros((64, 64), np.complex64), "real"),
        (np.array([["a"]]), "real"),
        (ramp(64, 64) * 1e-40, "same value"),
        (ramp(64, 64) * 1e300, "32 bits"),
    ],
)
def test_pixels_of_no_use_are_refused_with_a_sentence(pixels: np.ndarray, word: str) -> None:
    with pytest.raises(UnusablePixels, match=word):
        prepare(pixels, SPEC)


@pytest.mark.parametrize("aspect", [0.0, -1.0, float("nan"), float("inf"), 100.0])
def test_an_impossible_pixel_aspect_is_refused(aspect: float) -> None:
    with pytest.raises(UnusablePixels, match="spacing"):
        prepare(ramp(64, 64), SPEC, pixel_aspect=aspect)


@given(
    arrays(
        st.one_of(integer_dtypes(), floating_dtypes(sizes=(32, 64))),
        array_shapes(min_dims=2, max_dims=2, max_side=40),
    ),
    st.floats(0.1, 10),
)
def test_any_plane_is_prepared_or_refused_and_nothing_else(
    pixels: np.ndarray, aspect: float
) -> None:
    try:
        image = prepare(pixels, SPEC, aspect)
    except UnusablePixels:
        return
    assert image.shape == (1, 1, 224, 224)
    assert np.isfinite(image).all()
    assert 0 <= image.min() <= image.max() <= 1
