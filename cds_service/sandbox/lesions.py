"""Lesions that are drawn into the synthetic head, each with the mask of what was drawn.

They are cartoons of three textbook appearances on a post-contrast T1 image, for showing how a
result travels. They say nothing about how well a model reads patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cds_service.sandbox.anatomy import ORIGIN_MM, SHAPE, Field, Mask, ramp, smooth_noise

Kind = Literal["glioma", "meningioma", "pituitary"]


@dataclass(frozen=True)
class Lesion:
    """Which lesion, and where: `centre_mm` is (x, y, z) in patient coordinates (LPS)."""

    kind: Kind
    centre_mm: tuple[float, float, float]
    radius_mm: float
    seed: int = 1


@dataclass(frozen=True)
class Marked:
    """A volume into which a lesion was drawn; `mask` is the lesion without its oedema."""

    intensity: Field
    mask: Mask


def drawn(intensity: Field, depth_mm: Field, lesion: Lesion) -> Marked:
    """A copy of `intensity` ([z, y, x], 1 mm) with `lesion` in it."""
    painter = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}[lesion.kind]
    place = _Place.around(lesion)
    local = painter(intensity[place.box], depth_mm[place.box], place, lesion)
    whole, mask = intensity.copy(), np.zeros(SHAPE, np.bool_)
    whole[place.box], mask[place.box] = local.intensity, local.mask
    return Marked(whole, mask)


@dataclass(frozen=True)
class _Place:
    """The voxels that a lesion can change, and its source of noise there."""

    box: tuple[slice, slice, slice]
    offsets_mm: tuple[Field, Field, Field]
    rng: np.random.Generator

    @classmethod
    def around(cls, lesion: Lesion) -> _Place:
        reach = 3.0 * lesion.radius_mm + 4
        box, offsets = [], []
        for axis, middle in enumerate(reversed(lesion.centre_mm)):
            at = np.arange(SHAPE[axis], dtype=np.float32) + np.float32(ORIGIN_MM[axis] - middle)
            inside = np.flatnonzero(np.abs(at) <= reach)
            box.append(slice(int(inside[0]), int(inside[-1]) + 1))
            offsets.append(at[inside])
        z, y, x = offsets
        offsets_mm = (z[:, None, None], y[None, :, None], x[None, None, :])
        return cls((box[0], box[1], box[2]), offsets_mm, np.random.default_rng(lesion.seed))

    def distance(self, radius_mm: float, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Field:
        """Distance from the centre in radii; a stretch above 1 makes the shape longer there."""
        dz, dy, dx = self.offsets_mm
        squares = (dx / x) ** 2 + (dy / y) ** 2 + (dz / z) ** 2
        return np.asarray(np.sqrt(squares) / radius_mm, np.float32)

    def noise(self, sigma_mm: float) -> Field:
        """Smooth noise of zero mean and unit deviation."""
        dz, dy, dx = self.offsets_mm
        return smooth_noise(self.rng, sigma_mm, (dz.size, dy.size, dx.size))


def _glioma(volume: Field, depth: Field, place: _Place, lesion: Lesion) -> Marked:
    """A ragged ring of uneven thickness around a dark necrotic core, oedema in white matter."""
    radius = lesion.radius_mm
    shape = place.distance(radius, y=1.15, z=0.95) + 0.16 * place.noise(8.0)
    shape += 0.05 * place.noise(3.0)
    inside = depth < -3.0
    wall = np.clip(0.55 + 0.12 * place.noise(4.0) + 0.04 * place.noise(2.5), 0.24, 0.9)
    oedema = ramp(-place.distance(radius) - 0.15 * place.noise(10.0), -2.2, -1.6)
    oedema *= ramp(volume, 0.20, 0.28) * ramp(-volume, -0.5, -0.4)
    out = volume * (1 - 0.38 * oedema * inside)
    lump = ramp(-shape, -1.05, -0.95) * inside
    hollow = ramp(0.82 + 0.12 * place.noise(5.0) - shape, -0.06, 0.06)
    core = 0.15 + 0.015 * place.noise(3.0)
    out = out * (1 - lump) + lump * (hollow * core + (1 - hollow) * wall)
    return Marked(out.astype(np.float32), (shape < 1.0) & inside)


def _meningioma(volume: Field, depth: Field, place: _Place, lesion: Lesion) -> Marked:
    """A homogeneous bright mass broad on the dura, with a dark rim and a dural tail."""
    shape = place.distance(lesion.radius_mm) + 0.035 * place.noise(8.0)
    inside = depth < -0.6
    cleft = ramp(-shape, -1.14, -1.06) * inside
    lump = ramp(-shape, -1.03, -0.97) * inside
    tail = (
        ramp(-place.distance(lesion.radius_mm), -1.9, -1.3)
        * ramp(depth, -2.4, -1.6)
        * ramp(-depth, -0.4, 0.4)
    )
    body = 0.74 + 0.02 * place.noise(3.0) + 0.025 * place.noise(9.0)
    out = volume * (1 - 0.75 * tail) + 0.62 * 0.75 * tail
    out = out * (1 - cleft) + 0.13 * cleft
    out = out * (1 - lump) + body * lump
    return Marked(out.astype(np.float32), (shape < 1.0) & inside)


def _pituitary(volume: Field, depth: Field, place: _Place, lesion: Lesion) -> Marked:
    """An enhancing mass that rises from the sella, waisted where it leaves it."""
    z = place.offsets_mm[0]
    waist = 1.0 - 0.18 * np.exp(-((z / (0.25 * lesion.radius_mm)) ** 2))
    shape = place.distance(lesion.radius_mm, x=1.05, y=0.9, z=1.2) / waist + 0.05 * place.noise(6.0)
    cleft = ramp(-shape, -1.20, -1.08)
    lump = ramp(-shape, -1.05, -0.95)
    body = 0.60 + 0.05 * place.noise(4.0) + 0.02 * place.noise(2.0)
    out = volume * (1 - cleft) + 0.10 * cleft
    out = out * (1 - lump) + body * lump
    return Marked(out.astype(np.float32), np.asarray(shape < 1.0))
