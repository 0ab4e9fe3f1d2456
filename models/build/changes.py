"""Random changes of style and sharpness: what scanners and archives do to an image.

Each function takes and gives a uint8 plane (rows, columns) and draws from the generator given.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Plane = npt.NDArray[np.uint8]
Change = Callable[[Plane, np.random.Generator], Plane]
AIR = 20
"""Around a head, darker prepared pixels than this are air."""
_AXIS = np.arange(256, dtype=np.float32) / 255


def match_grey_levels(
    image: Plane, style: Plane, rng: np.random.Generator, air: int = AIR
) -> Plane:
    """Give the image (part of) the grey-level distribution of another one, `air` and above."""
    ours, theirs = _tissue_shares(image, air), _tissue_shares(style, air)
    matched = np.concatenate((np.arange(air), air + np.searchsorted(theirs, ours)))
    share = rng.uniform(0.4, 1.0)
    return _lookup(image, (1 - share) * _AXIS + share * matched / 255)


def _tissue_shares(image: Plane, air: int) -> npt.NDArray[np.float64]:
    """The share of tissue at or below each level from `air` on; air would swamp the tissue."""
    counts = np.bincount(image.ravel(), minlength=256)[air:].astype(np.float64)
    counts[-1] += 1  # so that there is something, and every level is reached
    return np.asarray(np.cumsum(counts) / counts.sum())


def warp_grey_levels(image: Plane, rng: np.random.Generator) -> Plane:
    """Gamma, contrast, brightness and a smooth monotone curve, in one table."""
    curve = _AXIS ** math.exp(rng.normal(0, 0.35))
    if rng.random() < 0.5:
        knots = np.sort(rng.random(6))
        knots = 0.5 * np.linspace(0, 1, 6) + 0.5 * (knots - knots[0]) / max(np.ptp(knots), 1e-3)
        curve = np.interp(curve, np.linspace(0, 1, 6), knots).astype(np.float32)
    return _lookup(image, curve * rng.uniform(0.75, 1.25) + rng.normal(0, 0.03))


def swap_contrast(image: Plane, rng: np.random.Generator) -> Plane:
    """Turn dark tissue bright and bright tissue dark, as T2 weighting does; air stays dark."""
    air = rng.uniform(0.06, 0.14)
    curve = np.interp(_AXIS, (0, air, air + 0.06, 1), (0, air, 0.95, rng.uniform(0.05, 0.4)))
    return _lookup(image, curve)


def add_bias_field(image: Plane, rng: np.random.Generator) -> Plane:
    """Multiply by a smooth field, as receive coils do."""
    coarse = rng.normal(1.0, 0.22, (4, 4)).astype(np.float32)
    size = (image.shape[1], image.shape[0])
    field = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return _clipped(image * field)


def add_noise(image: Plane, rng: np.random.Generator) -> Plane:
    """Rician noise: the magnitude of a complex signal with a random standard deviation."""
    sigma = rng.uniform(2, 14)
    real = image + rng.standard_normal(image.shape, np.float32) * sigma
    imaginary = rng.standard_normal(image.shape, np.float32) * sigma
    return _clipped(np.hypot(real, imaginary))


def blur(image: Plane, rng: np.random.Generator) -> Plane:
    """A Gaussian of up to 1.3 pixels, or its opposite, a sharpening."""
    source = Image.fromarray(image)
    if rng.random() < 0.3:
        sharpened = source.filter(ImageFilter.UnsharpMask(2, int(rng.integers(40, 160)), 0))
        return np.asarray(sharpened)
    return np.asarray(source.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.3))))


def coarsen(image: Plane, rng: np.random.Generator) -> Plane:
    """Lower the resolution and bring it back, separately in each direction."""
    source, (rows, columns) = Image.fromarray(image), image.shape
    small = (int(columns * rng.uniform(0.45, 1)), int(rows * rng.uniform(0.45, 1)))
    return np.asarray(
        source.resize(small, Image.Resampling.BILINEAR).resize(
            (columns, rows), Image.Resampling.BILINEAR
        )
    )


def recompress(image: Plane, rng: np.random.Generator) -> Plane:
    """JPEG once more, at a random quality."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(rng.integers(25, 92)))
    return np.asarray(Image.open(stream))


def hide_corners(image: Plane, rng: np.random.Generator) -> Plane:
    """Blank or write over corners, where burned-in marks and source logos sit."""
    out, (rows, columns) = image.copy(), image.shape
    for flip in (slice(None), slice(None, None, -1)):
        height, width = (int(rng.integers(1, side // 5)) for side in (rows, columns))
        view = out[flip, :: int(rng.choice((-1, 1)))]
        view[:height, :width] = rng.integers(0, 256) if rng.random() < 0.3 else 0
    return out


def draw_border(image: Plane, rng: np.random.Generator) -> Plane:
    """A thin bright or dark frame, as screenshots have."""
    out, width = image.copy(), int(rng.integers(1, 6))
    level = int(rng.integers(0, 256))
    out[:width], out[-width:], out[:, :width], out[:, -width:] = (level,) * 4
    return out


def lift_background(image: Plane, rng: np.random.Generator) -> Plane:
    """Raise the black level."""
    return np.maximum(image, np.uint8(rng.integers(3, 40)))


def collimate(image: Plane, rng: np.random.Generator) -> Plane:
    """Darken a margin on some sides, as the shutters of an X-ray tube do."""
    out, (rows, columns) = image.copy(), image.shape
    level = np.uint8(rng.integers(0, 30))
    top, bottom = (int(rows * rng.uniform(0, 0.08)) for _ in range(2))
    left, right = (int(columns * rng.uniform(0, 0.08)) for _ in range(2))
    out[:top], out[rows - bottom :] = level, level
    out[:, :left], out[:, columns - right :] = level, level
    return out


def stretch_locally(image: Plane, rng: np.random.Generator) -> Plane:
    """Raise or lower local contrast, as the processing of digital radiographs does."""
    ground = Image.fromarray(image).filter(ImageFilter.GaussianBlur(rng.uniform(8, 24)))
    smooth = np.asarray(ground, np.float32)
    return _clipped(smooth + rng.uniform(0.6, 1.7) * (image - smooth))


def _lookup(image: Plane, curve: npt.NDArray[np.floating]) -> Plane:
    """Apply a curve given at 256 points, values 0 to 1."""
    return _clipped(curve * 255)[image]


def _clipped(values: npt.NDArray[np.floating]) -> Plane:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
