"""What the browser is given is what the scanner gave, within a bound."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from inference.analysis import SeriesImages
from inference.explain.held import MOST_BYTES, MOST_SLICES, held_images
from inference.explain.stack import PackedSeries, PackedSlice, pack
from inference.limits import MIB
from models.contract import ImageSlice, PixelArray, PlaneGeometry
from tests.doubles import explained

GEOMETRY = PlaneGeometry((0.0, 0.0, 0.0), (1, 0, 0), (0, 1, 0), (0.8, 0.5))
RNG = np.random.default_rng(3)


def series(*pixels: PixelArray, geometry: PlaneGeometry | None = GEOMETRY) -> SeriesImages:
    spacing = geometry.spacing_mm if geometry else None
    slices = tuple(ImageSlice(p, "1.2", geometry=geometry, spacing_mm=spacing) for p in pixels)
    return SeriesImages("1.2", slices, tuple(range(1, len(slices) + 1)), len(slices))


def values(packed: PackedSeries, piece: PackedSlice) -> np.ndarray:
    """Modality units, as the script of the page works them out."""
    differences = np.frombuffer(gzip.decompress(piece.content), "<u2")
    rows = differences.reshape(piece.rows, piece.columns).astype(np.uint64)
    stored = rows.cumsum(axis=1) % 65_536
    return np.asarray(stored * packed.slope + packed.intercept)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 1, np.uint8),
        (-1024, 3071, np.int16),
        (-32768, 32767, np.int16),
        (0, 65535, np.uint16),
        (100_000, 100_400, np.int32),
        (7, 7, np.int16),
    ],
)
def test_whole_numbers_stay_what_they_are(low: int, high: int, kind: type) -> None:
    pixels = RNG.integers(low, high, (13, 7), endpoint=True).astype(kind)
    pixels[0, 0], pixels[-1, -1] = low, high
    packed = pack(series(pixels), "CT", MIB)
    assert np.array_equal(values(packed, packed.slices[0]), pixels)


@pytest.mark.parametrize("pixels", [RNG.normal(3e4, 2e4, (9, 9)), RNG.normal(0, 1e-3, (9, 9))])
def test_other_numbers_are_within_half_a_step(pixels: np.ndarray) -> None:
    packed = pack(series(pixels.astype(np.float32)), "PT", MIB)
    far = np.abs(values(packed, packed.slices[0]) - pixels)
    assert far.max() <= packed.slope * 0.51 + 1e-4 * np.abs(pixels).max()


def test_what_is_no_number_is_black_and_stops_nothing() -> None:
    pixels = np.array([[np.nan, 1.0], [np.inf, 2.0]], np.float32)
    packed = pack(series(pixels), "PT", MIB)
    assert values(packed, packed.slices[0])[:, 1] == pytest.approx([1, 2])
    empty = pack(series(np.full((2, 2), np.nan, np.float32)), "PT", MIB)
    assert len(empty.slices) == 1


def test_one_scale_holds_for_the_whole_series() -> None:
    packed = pack(series(np.full((4, 4), -50, np.int16), np.full((4, 4), 900, np.int16)), "CT", MIB)
    assert [values(packed, each).max() for each in packed.slices] == [-50, 900]


def test_a_series_fits_the_room_that_it_is_given() -> None:
    pixels = np.zeros((300, 500), np.uint16)
    packed = pack(series(*[pixels] * 8), "MR", 256 * 1024)
    assert sum(2 * each.rows * each.columns for each in packed.slices) <= 256 * 1024
    assert {each.shape for each in packed.slices} == {300 * 1.6 / 500}
    assert {each.width_mm for each in packed.slices} == {250.0}, "the extent is that of the image"


def test_a_large_radiograph_becomes_smaller_and_keeps_its_proportions() -> None:
    pixels = RNG.integers(0, 4095, (4000, 5000)).astype(np.uint16)
    (piece,) = pack(series(pixels, geometry=None), "DX", 64 * MIB).slices
    assert (piece.columns, piece.rows) == (2048, 1638)
    assert piece.shape == pytest.approx(0.8)
    assert (piece.width_mm, piece.marks) == (None, None)


def test_colours_stay_colours() -> None:
    pixels = RNG.integers(0, 255, (5, 6, 3)).astype(np.uint8)
    packed = pack(series(pixels), "US", MIB)
    assert packed.windows == ()
    assert gzip.decompress(packed.slices[0].content) == pixels.tobytes()


@pytest.mark.parametrize(("modality", "names"), [("CT", 8), ("MR", 3), (None, 3)])
def test_the_windows_of_ct_are_for_ct(modality: str | None, names: int) -> None:
    pixels = RNG.integers(0, 900, (32, 32)).astype(np.int16)
    image = ImageSlice(pixels, "1.2", window=(400.0, 800.0))
    packed = pack(SeriesImages("1.2", (image,), (1,), 1), modality, MIB)
    assert packed.windows[0].name == "As stored"
    assert len(packed.windows) == names


def test_a_window_that_shows_nothing_is_not_offered() -> None:
    pixels = RNG.integers(0, 900, (32, 32)).astype(np.int16)
    image = ImageSlice(pixels, "1.2", window=(60_000.0, 1.0))
    packed = pack(SeriesImages("1.2", (image,), (1,), 1), "MR", MIB)
    assert [window.name for window in packed.windows] == ["Automatic", "Full range"]


def test_each_slice_has_its_own_window_where_that_shows_something() -> None:
    ramp = np.tile(np.arange(100, dtype=np.int16), (100, 1))
    own = [(50.0, 100.0), (500.0, 1000.0), (9000.0, 10.0), None]
    slices = tuple(
        ImageSlice(ramp * 10 if i == 1 else ramp, "1.2", window=window)
        for i, window in enumerate(own)
    )
    packed = pack(SeriesImages("1.2", slices, (1, 2, 3, 4), 4), "MR", MIB)
    automatic = next(w for w in packed.windows if w.name == "Automatic")
    apart = (automatic.centre, automatic.width)
    assert [each.window for each in packed.slices] == [own[0], own[1], apart, apart]


@pytest.mark.parametrize(("most_bytes", "reduced"), [(2 * 32 * 32, False), (2 * 31 * 31, True)])
def test_a_series_with_fewer_pixels_says_so(most_bytes: int, reduced: bool) -> None:
    assert pack(series(np.zeros((32, 32), np.int16)), "MR", most_bytes).reduced is reduced


def test_a_colour_slice_has_no_window() -> None:
    assert pack(series(np.zeros((8, 8, 3), np.uint8)), "US", MIB).slices[0].window is None


@pytest.mark.parametrize("count", [1, 24, MOST_SLICES, MOST_SLICES + 1, 2000])
def test_of_a_long_series_the_deciding_slice_is_always_held(count: int) -> None:
    image = ImageSlice(np.zeros((4, 4), np.int16), "1.2")
    result = explained.result()
    held = held_images("1.2", [image] * max(count, 13), [result])
    assert len(held.slices) == len(held.numbers) <= MOST_SLICES
    assert set(result.slices_used) <= set(held.numbers)
    assert list(held.numbers) == sorted(set(held.numbers))
    assert held.total == max(count, 13)
    gaps = np.diff(held.numbers)
    assert not gaps.size or gaps.max() <= max(1, 3 * held.total // len(held.numbers))


def test_large_images_are_held_by_their_bytes() -> None:
    image = ImageSlice(np.zeros((4000, 4000), np.int16), "1.2")
    held = held_images("1.2", [image] * 40, [explained.result()])
    assert sum(each.pixels.nbytes for each in held.slices) <= MOST_BYTES
    assert 12 in held.numbers
