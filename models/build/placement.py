"""Where an image lies in the frame: moved at random, and its outline with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.build.changes import Plane

_BACKGROUND = 25  # prepared images: darker is outside the body
_SMALLEST_BODY = 40  # pixels; below this there is nothing to crop to
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """How far an image may be moved; shares are from 0 to 1.

    `turn_degrees`, `shift` (of the side), `stretch` and `shear` are standard deviations; the share
    `any_turn` is turned by up to 90 degrees, `cropped` first cut to the body. `zoom` is a range.
    """

    turn_degrees: float
    any_turn: float
    zoom: tuple[float, float]
    stretch: float
    shear: float
    shift: float
    cropped: float
    flipped: float = 0.5


def reposition(
    image: Plane, mask: Plane, size: int, placement: Placement, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Flip left to right, rotate, shear, crop, scale and shift an image, and its mask alike.

    Both are uint8 (rows, columns); both come back as (size, size). Outside the image is black,
    now and then dark grey; outside the mask is 0. The mask (0 or 255) gets soft edges.
    """
    box = _body_box(image) if rng.random() < placement.cropped else _whole(image)
    matrix = _matrix(box, size, placement, rng)
    fill = int(rng.integers(0, 40)) if rng.random() < 0.15 else 0
    return _moved(image, size, matrix, fill), _moved(mask, size, matrix, 0)


def _matrix(
    box: Box, size: int, placement: Placement, rng: np.random.Generator
) -> tuple[float, ...]:
    """Where each pixel of the frame comes from: x = a c + b r + x0, y = d c + e r + y0."""
    side = max(box[2] - box[0], box[3] - box[1])
    zoom = side / size / rng.uniform(*placement.zoom)
    degrees = rng.normal(0, placement.turn_degrees)
    if rng.random() < placement.any_turn:
        degrees = rng.uniform(-90, 90)
    angle, stretch = math.radians(degrees), math.exp(rng.normal(0, placement.stretch))
    flip = -1.0 if rng.random() < placement.flipped else 1.0
    a, b = zoom * flip * stretch * math.cos(angle), zoom * math.sin(angle)
    d, e = -zoom * flip * math.sin(angle), zoom / stretch * math.cos(angle)
    b += zoom * rng.normal(0, placement.shear)
    x, y = (
        (low + high) / 2 + side * rng.normal(0, placement.shift)
        for low, high in ((box[0], box[2]), (box[1], box[3]))
    )
    return a, b, x - (a + b) * size / 2, d, e, y - (d + e) * size / 2


def _moved(plane: Plane, size: int, matrix: tuple[float, ...], fill: int) -> Plane:
    moved = Image.fromarray(plane).transform(
        (size, size),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
    return np.asarray(moved)


def _whole(image: Plane) -> Box:
    return 0.0, 0.0, float(image.shape[1]), float(image.shape[0])


def _body_box(image: Plane) -> Box:
    bright = image > _BACKGROUND
    across, down = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
    if across.size < _SMALLEST_BODY or down.size < _SMALLEST_BODY:
        return _whole(image)
    return float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1)
