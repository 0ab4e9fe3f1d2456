"""Axial slices of the synthetic head, as a scanner would send them.

The head (`data/head.npz`, see `anatomy`) gets a lesion if one is asked for, coil shading, partial
volume through the slice, blur in the plane and Rician noise. Deterministic by seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cds_service.sandbox.anatomy import (
    HEAD_FILE,
    ORIGIN_MM,
    SHAPE,
    Field,
    axes_mm,
    linear_matrix,
)
from cds_service.sandbox.lesions import Lesion, drawn

Stored = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Protocol:
    """How the slices lie: `size` pixels of `pixel_mm`, `slices` of `thickness_mm` with a gap.

    `first_mm` is the z of the lowest slice's middle; `centre_mm` the (x, y) of the field's middle.
    `noise` is the standard deviation of each channel of noise, in units of fat's signal.
    """

    size: int = 512
    pixel_mm: float = 0.46875
    slices: int = 24
    thickness_mm: float = 5.0
    spacing_mm: float = 5.5
    first_mm: float = -40.0
    centre_mm: tuple[float, float] = (0.0, 6.0)
    blur_mm: float = 0.7
    noise: float = 0.009

    def position_mm(self, index: int) -> tuple[float, float, float]:
        """ImagePositionPatient of slice `index`: the centre of the first pixel (C.7.6.2.1.1)."""
        half = (self.size - 1) / 2 * self.pixel_mm
        x, y = self.centre_mm
        return (x - half, y - half, self.first_mm + index * self.spacing_mm)


@dataclass(frozen=True)
class Series:
    """`pixels` is int16 [slice, row, column], from below upwards."""

    protocol: Protocol
    pixels: Stored


FULL_SCALE = 1800
"""The stored value of fat."""


def axial_series(lesion: Lesion | None, protocol: Protocol | None = None, seed: int = 7) -> Series:
    """The head with `lesion` in it, or none, as `protocol` scans it."""
    protocol = protocol or Protocol()
    intensity, depth = _head()
    if lesion is not None:
        intensity = drawn(intensity, depth, lesion).intensity
    signal = _sliced(intensity * _coil_shading(), protocol)
    noisy = _rician(signal, protocol.noise, np.random.default_rng(seed))
    return Series(protocol, np.rint(noisy * FULL_SCALE).astype(np.int16))


def axial_mask(lesion: Lesion, protocol: Protocol | None = None) -> npt.NDArray[np.bool_]:
    """Where `lesion` is in the pixels of `axial_series`: true where it fills half of the voxel."""
    mask = drawn(*_head(), lesion).mask
    return _sliced(mask.astype(np.float32), protocol or Protocol()) > 0.5


@lru_cache(maxsize=1)
def _head() -> tuple[Field, Field]:
    with np.load(HEAD_FILE, allow_pickle=False) as stored:
        intensity = stored["intensity"].astype(np.float32) / 255
        coarse = stored["depth_mm"].astype(np.float32)
    for axis, size in enumerate(SHAPE):
        matrix = linear_matrix(np.arange(size) / 2, coarse.shape[axis])
        coarse = np.moveaxis(np.moveaxis(coarse, axis, -1) @ matrix.T, -1, axis)
    return intensity, np.ascontiguousarray(coarse, np.float32)


def _coil_shading() -> Field:
    """A head coil is a little more sensitive near its elements."""
    z, y, x = axes_mm()
    shade = 0.93 + 0.10 * ((x / 90) ** 2 + ((y - 10) / 110) ** 2) / 2 - 0.04 * ((z - 20) / 100) ** 2
    return np.asarray(shade, np.float32)


def _sliced(volume: Field, protocol: Protocol) -> Field:
    """[slice, row, column]: the mean through each slice, blurred and sampled in the plane."""
    half = (protocol.size - 1) / 2 * protocol.pixel_mm
    grid = np.arange(protocol.size) * protocol.pixel_mm - half
    rows = _sampling(grid + protocol.centre_mm[1] - ORIGIN_MM[1], SHAPE[1], protocol.blur_mm)
    columns = _sampling(grid + protocol.centre_mm[0] - ORIGIN_MM[2], SHAPE[2], protocol.blur_mm)
    middles = protocol.first_mm + np.arange(protocol.slices) * protocol.spacing_mm - ORIGIN_MM[0]
    through = np.linspace(-0.5, 0.5, 9) * protocol.thickness_mm
    reach = sum(linear_matrix(middles + offset, SHAPE[0]) for offset in through) / len(through)
    slabs = np.tensordot(reach, volume, axes=1)
    return np.asarray(rows @ slabs @ columns.T, np.float32)


def _sampling(positions: npt.NDArray[np.floating], size: int, blur_mm: float) -> Field:
    distance = positions[:, None] - np.arange(size)[None, :]
    weights = np.exp(-0.5 * (distance / blur_mm) ** 2)
    total = weights.sum(axis=1, keepdims=True)
    inside = total > 1e-6
    return np.where(inside, weights / np.where(inside, total, 1.0), 0.0).astype(np.float32)


def _rician(signal: Field, sigma: float, rng: np.random.Generator) -> Field:
    """The magnitude of a complex signal with Gaussian noise in both channels."""
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), np.float32)
