"""Draw a head: a synthetic post-contrast T1 volume around the ICBM 152 template brain.

The brain is the public template (see ``data/NOTICE-icbm152.txt``); scalp, skull, eyes and vessels
are drawn. Nothing comes from a patient, and everything follows from the seed. `draw_head` keeps
what is drawn in ``data/head.npz``.

Volumes are float32 [z, y, x] of 1 mm voxels in DICOM patient coordinates (LPS: x to the left,
y to the back, z up); intensities run from 0 (air) to about 1 (fat).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Real = npt.NDArray[np.floating]

HEAD_FILE = Path(__file__).parent / "data" / "head.npz"
ORIGIN_MM = (-62.0, -132.0, -104.0)
"""Patient coordinates (z, y, x) of the first voxel."""
SHAPE = (162, 260, 208)

_CENTRE_MM = (6.0, 20.0, 0.0)
"""The point (z, y, x) from which the inner table of the skull is seen once in each direction."""

_CSF, _GREY, _WHITE, _VESSEL, _FAT, _BONE = 0.09, 0.25, 0.32, 0.72, 0.95, 0.03


def axes_mm(step: int = 1) -> tuple[Field, Field, Field]:
    """The patient coordinates of the voxels along z, y and x, shaped to broadcast."""
    z, y, x = (
        np.arange(0, n, step, dtype=np.float32) + o for n, o in zip(SHAPE, ORIGIN_MM, strict=True)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def along_axes(volume: Field, matrices: tuple[Field, Field, Field]) -> Field:
    """Apply one (out, in) matrix to each of the axes z, y, x."""
    for axis, matrix in enumerate(matrices):
        # one product of two matrices: several times quicker than a stack of small ones
        volume = np.moveaxis(np.tensordot(matrix, volume, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(volume, dtype=np.float32)


def gaussian_matrix(size: int, sigma: float) -> Field:
    """The (size, size) matrix that blurs by `sigma` samples; each row sums to 1."""
    index = np.arange(size, dtype=np.float32)
    weights = np.exp(-0.5 * ((index[:, None] - index[None, :]) / max(sigma, 1e-3)) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def linear_matrix(positions: Real, size: int) -> Field:
    """The matrix that reads a line of `size` samples at `positions` (in samples), clamped."""
    distance = np.abs(np.clip(positions, 0, size - 1)[:, None] - np.arange(size)[None, :])
    return np.asarray(np.clip(1.0 - distance, 0.0, 1.0), dtype=np.float32)


def blurred(volume: Field, sigma_mm: float) -> Field:
    """`volume` convolved with a Gaussian, on its own grid."""
    z, y, x = volume.shape
    return along_axes(
        volume,
        (gaussian_matrix(z, sigma_mm), gaussian_matrix(y, sigma_mm), gaussian_matrix(x, sigma_mm)),
    )


def smooth_noise(
    rng: np.random.Generator, sigma_mm: float, shape: tuple[int, int, int] = SHAPE
) -> Field:
    """Noise of zero mean and unit deviation with structures of about `sigma_mm`."""
    step = max(1, int(sigma_mm / 1.25))
    coarse = tuple(-(-n // step) + 1 for n in shape)
    field = blurred(rng.standard_normal(coarse, dtype=np.float32), sigma_mm / step)
    field /= field.std()
    return _to_full_grid(field, step, shape)


def _to_full_grid(coarse: Field, step: int, shape: tuple[int, int, int] = SHAPE) -> Field:
    if step == 1:
        return coarse[: shape[0], : shape[1], : shape[2]]
    z, y, x = (
        linear_matrix(np.arange(n) / step, m) for n, m in zip(shape, coarse.shape, strict=True)
    )
    return along_axes(coarse, (z, y, x))


def ramp(values: Real, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, straight between."""
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _inner_table_depth(brain: Mask) -> Field:
    """Signed distance along rays from the centre to the smoothed hull of the brain, in mm."""
    z, y, x = (a - c for a, c in zip(axes_mm(2), _CENTRE_MM, strict=True))
    radius = np.sqrt(z * z + y * y + x * x) + 1e-3
    elevation = np.broadcast_to(np.arcsin(z / radius), radius.shape)
    azimuth = np.broadcast_to(np.arctan2(y, x), radius.shape)
    rows, columns = 40, 80
    row = (elevation / np.pi + 0.5) * (rows - 1)
    column = (azimuth / (2 * np.pi) + 0.5) * columns
    inside = brain[::2, ::2, ::2]
    hull = np.zeros((rows, columns + 1), np.float32)
    cells = (np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int) % columns)
    np.maximum.at(hull, cells, radius[inside])
    hull = _smoothed_hull(hull[:, :columns])
    low = np.floor(column).astype(int)
    across = np.asarray(column - low, np.float32)
    below = np.clip(np.floor(row).astype(int), 0, rows - 2)
    up = np.asarray(row - below, np.float32)
    left, right = low % columns, (low + 1) % columns
    reach = (1 - up) * ((1 - across) * hull[below, left] + across * hull[below, right])
    reach += up * ((1 - across) * hull[below + 1, left] + across * hull[below + 1, right])
    return _to_full_grid(np.asarray(radius - reach, np.float32), 2)


def _smoothed_hull(hull: Field) -> Field:
    """Fill the directions in which no brain lies (the skull base), then even the surface out."""
    rows, columns = hull.shape
    hull = np.where(hull > 0, hull, np.float32(np.median(hull[hull > 0])))
    wide = np.hstack([hull, hull, hull])
    peak = np.maximum.reduce([np.roll(wide, k, axis=1) for k in (-1, 0, 1)])
    smooth = gaussian_matrix(rows, 1.3) @ peak @ gaussian_matrix(3 * columns, 1.6).T
    return np.asarray(smooth[:, columns : 2 * columns], np.float32)


def _brain_tissue(template: Field, rng: np.random.Generator) -> Field:
    """Template grey levels as a post-contrast T1 spin echo shows them: folds sharpened."""
    sharp = template + 0.9 * (template - blurred(template, 1.6))
    shades = np.interp(
        sharp, [20, 70, 150, 175, 215, 260], [0.04, _CSF, 0.215, _GREY, _WHITE, 0.35]
    )
    return np.asarray(shades + 0.006 * smooth_noise(rng, 3.0), np.float32)


def _vessels(template: Field, depth: Field, rng: np.random.Generator) -> Field:
    """Enhancing veins: curves where two noise fields cross zero, kept to the folds; the sinus."""
    one, two = smooth_noise(rng, 5.0), smooth_noise(rng, 5.0)
    curves = ramp(-(one * one + two * two), -0.035, -0.012)
    folds = ramp(-blurred(template, 1.0), -145, -100) * (depth < 1.0) * (depth > -35)
    z, y, x = axes_mm()
    sinus_width = 1.0 - ((x / 3.2) ** 2 + ((depth + 1.6) / 2.8) ** 2)
    sinus = ramp(sinus_width, 0.0, 0.4) * ((z > 10) | (y > 55)) * (y > -60)
    torcula = ramp(
        1.0 - (((np.abs(x) - 26) / 30) ** 2 + ((z + 22) / 4) ** 2 + ((depth + 1.5) / 2.8) ** 2),
        0.0,
        0.4,
    ) * (y > 30)
    return np.asarray(np.clip(curves * folds + 0.75 * (sinus + torcula), 0.0, 1.0), np.float32)


def _outside_brain(depth: Field, rng: np.random.Generator) -> Field:
    """Dura, skull with marrow, scalp: shells by their distance to the inner table (mm)."""
    thick = depth / (1.0 + 0.16 * smooth_noise(rng, 22.0))
    shells_mm = [-1.2, -0.3, 0.4, 0.9, 2.1, 2.8, 5.0, 5.8, 7.0, 7.8, 12.5, 13.0, 14.2, 15.0]
    shades = [_CSF, _CSF, 0.34, 0.05, 0.05, 0.26, 0.30, 0.06, 0.05, 0.80, _FAT, 0.5, 0.45, 0.0]
    shell = np.interp(thick, shells_mm, shades).astype(np.float32)
    marrow = (thick > 2.4) & (thick < 5.6)
    scalp = (thick > 7.8) & (thick < 12.5)
    shell += marrow * 0.05 * smooth_noise(rng, 2.5) + scalp * 0.12 * smooth_noise(rng, 3.0)
    return np.asarray(np.clip(shell, 0.0, 1.1), np.float32)


def _below(volume: Field, brain: Mask, depth: Field, rng: np.random.Generator) -> Field:
    """The skull base and the face: bone and marrow, muscle and fat, sinuses, eyes."""
    z, y, x = axes_mm()
    near_brain = blurred(brain.astype(np.float32), 3.0)
    grain = smooth_noise(rng, 4.0)
    base = np.where(grain > 0.7, 0.34, 0.10 + 0.05 * grain).astype(np.float32)
    gap = (depth < -1.2) & ~brain
    volume = np.where(gap, np.where(near_brain > 0.16, np.float32(_CSF), base), volume)
    face = 1.0 - (np.abs(x / 70) ** 2.6 + np.abs((y + 28) / 66) ** 2.6 + np.abs((z + 70) / 60) ** 3)
    neck = 1.0 - ((x / 74) ** 2 + ((y - 22) / 82) ** 2 + ((z + 92) / 56) ** 2)
    flesh = np.maximum(face, neck)
    muscle = np.where(smooth_noise(rng, 6.0) > 0.35, 0.78, 0.36).astype(np.float32) + 0.05 * grain
    soft = np.where(flesh < 0.10, np.float32(0.85), muscle) * ramp(flesh, 0.0, 0.03)
    volume = np.where((depth > 5.0) & (flesh > 0), np.maximum(volume * (depth < 7), soft), volume)
    air = 1.0 - ((x / 13) ** 2 + ((y + 42) / 32) ** 2 + ((z + 52) / 16) ** 2)
    sphenoid = 1.0 - ((x / 12) ** 2 + ((y + 16) / 11) ** 2 + ((z + 44) / 8) ** 2)
    for sinus in (air, sphenoid):
        volume = np.where((sinus > 0) & ~brain, 0.02 + 0.55 * ramp(-sinus, -0.2, 0.0), volume)
    for side in (-1.0, 1.0):
        volume = _eye(volume, side, brain, (z, y, x))
    return volume.astype(np.float32)


def _eye(volume: Field, side: float, brain: Mask, axes: tuple[Field, Field, Field]) -> Field:
    """Orbital fat, the globe with its wall and lens, the optic nerve and two straight muscles."""
    z, y, x = axes
    cx, cy, cz = 32.0 * side, -64.0, -38.0
    along = (y - cy) / 42.0
    axis_x = cx - side * 14.0 * np.clip(along, 0, 1)
    cone = ((x - axis_x) / (20 - 13 * np.clip(along, 0, 1))) ** 2 + ((z - cz) / 17) ** 2
    orbit = (cone < 1) & (along > -0.2) & (along < 1.0) & ~brain & (volume > 0.02)
    volume = np.where(orbit, np.float32(0.9), volume)
    nerve = ((x - axis_x) ** 2 + (z - cz) ** 2 < 7) & (along > 0.25)
    muscles = (np.abs(np.abs(x - axis_x) - (13 - 9 * np.clip(along, 0, 1))) < 1.8) & (
        np.abs(z - cz) < 5
    )
    volume = np.where(orbit & (nerve | (muscles & (along > 0.1))), np.float32(0.5), volume)
    globe = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
    volume = np.where(globe < 12.5, np.float32(0.42), volume)
    volume = np.where(globe < 11.3, np.float32(0.12), volume)
    lens = ((x - cx) / 4.5) ** 2 + ((y - cy + 9) / 2.2) ** 2 + ((z - cz) / 4.5) ** 2
    return np.where(lens < 1, np.float32(0.3), volume)


def draw(template: Field, seed: int = 20260101) -> tuple[Field, Field]:
    """The head without a lesion: intensity, and depth to the inner table in mm (< 0 inside)."""
    rng = np.random.default_rng(seed)
    brain = template > 0
    depth = _inner_table_depth(brain)
    cover = ramp(blurred(brain.astype(np.float32), 0.6), 0.3, 0.8)
    tissue = cover * _brain_tissue(template, rng) + (1 - cover) * _CSF
    volume = np.where(depth < -0.8, tissue, _outside_brain(depth, rng))
    volume = _below(volume.astype(np.float32), brain, depth, rng)
    veins = _vessels(template, depth, rng)
    return (volume * (1 - veins) + _VESSEL * veins).astype(np.float32), depth
