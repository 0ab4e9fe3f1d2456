"""A series as a browser can scroll and window it: 16 bits a pixel, small enough to be kept.

The browser turns the numbers into grey by the reader's own window; nothing is drawn here. Whole
numbers stay what they are, so a Hounsfield unit on the page is one of the scanner's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.analysis import SeriesImages
from inference.explain.sheet import shows_something
from inference.sides import edges_of
from models.contract import ImageSlice, PixelArray

_Stored = npt.NDArray[np.uint16]

_AUTOMATIC = "Automatic"
_LEVELS = 65_535
_LARGEST_SIDE = 2048
_GZIP_LEVEL = 1  # noise hardly shrinks more for four times the time
_SMALLEST_STEP = 1e-9
_SAMPLED = 8  # one pixel in so many, each way, is enough for percentiles

CT_WINDOWS = (
    ("Brain", 40.0, 80.0),
    ("Subdural", 75.0, 215.0),
    ("Bone", 600.0, 2800.0),
    ("Lung", -600.0, 1500.0),
    ("Soft tissue", 50.0, 400.0),
)
"""Name, centre and width in Hounsfield units, as readers know them."""


@dataclass(frozen=True)
class Window:
    """A preset: `centre` and `width` in modality units."""

    name: str
    centre: float
    width: float


@dataclass(frozen=True)
class PackedSlice:
    """One slice. `shape` is its height over its width in the patient, whatever its pixels are.

    `width_mm` is the extent of a row where the geometry is known; `marks` are the letters of the
    left, right, top and bottom edge. `window` is the centre and width that a grey slice is shown
    with: its own if that shows something (PS3.3 C.11.2.1.2), else the automatic one.

    `content` is gzip: of uint16 little-endian (rows, columns), each the difference from its left
    neighbour modulo 65,536; or of uint8 (rows, columns, 3).
    """

    number: int
    columns: int
    rows: int
    colour: bool
    shape: float
    width_mm: float | None
    marks: tuple[str, str, str, str] | None
    window: tuple[float, float] | None
    content: bytes


@dataclass(frozen=True)
class PackedSeries:
    """A series; modality units are ``stored * slope + intercept``.

    The first window stands for each slice's own, with which it is shown first. `reduced` says that
    a slice has fewer pixels here than in the archive.
    """

    slope: float
    intercept: float
    windows: tuple[Window, ...]
    slices: tuple[PackedSlice, ...]
    reduced: bool


def pack(images: SeriesImages, modality: str | None, most_bytes: int) -> PackedSeries:
    """Pack a series so that its slices hold at most `most_bytes` before compression.

    A slice that is too large is made smaller by the mean over areas; no slice is made larger.
    """
    side = _side(len(images.slices), most_bytes)
    grey = [image.pixels for image in images.slices if image.pixels.ndim == 2]
    slope, intercept = _scale(grey)
    windows = _windows(images.slices, grey, modality) if grey else ()
    automatic = next(((w.centre, w.width) for w in windows if w.name == _AUTOMATIC), None)
    return PackedSeries(
        slope,
        intercept,
        windows,
        tuple(
            _packed(image, number, side, (slope, intercept), automatic)
            for image, number in zip(images.slices, images.numbers, strict=True)
        ),
        any(max(image.pixels.shape[:2]) > side for image in images.slices),
    )


def _side(slices: int, most_bytes: int) -> int:
    return max(16, min(_LARGEST_SIDE, math.isqrt(most_bytes // (2 * max(1, slices)))))


def _scale(grey: Sequence[PixelArray]) -> tuple[float, float]:
    """Slope and intercept with which every finite value fits into 16 bits."""
    finite = [values for values in map(_finite, grey) if values.size]
    low = min((float(values.min()) for values in finite), default=0.0)
    high = max((float(values.max()) for values in finite), default=0.0)
    whole = all(pixels.dtype.kind in "iu" for pixels in grey)
    if whole and high - low <= _LEVELS:
        return 1.0, low
    return max((high - low) / _LEVELS, _SMALLEST_STEP), low


def _finite(pixels: PixelArray) -> PixelArray:
    return pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels


def _windows(
    slices: Sequence[ImageSlice], grey: Sequence[PixelArray], modality: str | None
) -> tuple[Window, ...]:
    """The image's own window if it shows something, what fits the values, and those of CT."""
    stored = next((s.window for s in slices if s.window and shows_something(s)), None)
    sampled = np.concatenate([pixels[::_SAMPLED, ::_SAMPLED].ravel() for pixels in grey])
    some = _finite(sampled).astype(np.float64)
    low, high = np.percentile(some, (0.5, 99.5)) if some.size else (0.0, 1.0)
    bottom, top = (float(some.min()), float(some.max())) if some.size else (0.0, 1.0)
    return (
        *([Window("As stored", *stored)] if stored else []),
        _between(_AUTOMATIC, float(low), float(high)),
        _between("Full range", bottom, top),
        *(Window(*each) for each in CT_WINDOWS if modality == "CT"),
    )


def _between(name: str, low: float, high: float) -> Window:
    return Window(name, (low + high) / 2, max(high - low, _SMALLEST_STEP))


def _packed(
    image: ImageSlice,
    number: int,
    side: int,
    scale: tuple[float, float],
    automatic: tuple[float, float] | None,
) -> PackedSlice:
    rows, columns = image.pixels.shape[:2]
    small = _reduced(image.pixels, side)
    colour, geometry = small.ndim == 3, image.geometry
    body = np.asarray(small, np.uint8) if colour else _differences(_stored(small, *scale))
    return PackedSlice(
        number=number,
        columns=small.shape[1],
        rows=small.shape[0],
        colour=colour,
        shape=rows * image.pixel_aspect / columns,
        width_mm=geometry.spacing_mm[1] * columns if geometry else None,
        marks=edges_of(geometry, image.sides),
        window=None if colour else image.window if shows_something(image) else automatic,
        content=bytes(imagecodecs.gzip_encode(body.tobytes(), _GZIP_LEVEL)),
    )


def _reduced(pixels: PixelArray, side: int) -> PixelArray:
    """The same picture, its longer side at most `side` pixels; each is the mean of its area."""
    rows, columns = pixels.shape[:2]
    factor = side / max(rows, columns)
    if factor >= 1:
        return pixels
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    kind = np.uint8 if pixels.ndim == 3 else np.float32
    picture = Image.fromarray(np.ascontiguousarray(pixels, kind))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def _stored(pixels: PixelArray, slope: float, intercept: float) -> _Stored:
    if pixels.dtype.kind in "iu" and slope == 1:
        return (pixels.astype(np.int64) - int(intercept)).astype("<u2")
    values = np.nan_to_num((pixels.astype(np.float64) - intercept) / slope)
    return np.clip(np.rint(values), 0, _LEVELS).astype("<u2")


def _differences(stored: _Stored) -> _Stored:
    """Each value less its left neighbour: what is smooth shrinks better."""
    differences = stored.copy()
    differences[:, 1:] -= stored[:, :-1]
    return differences
