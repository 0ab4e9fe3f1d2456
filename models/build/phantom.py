"""Drawn pictures for the reference cases: of a head, of a chest, of nothing; nobody's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint16]
Grid = npt.NDArray[np.float64]
Picture = tuple[str, str, float, Plane]
"""File name, what it shows, row over column spacing, and the 12-bit pixels."""

_RADIOGRAPHS = {"CR", "DX", "RG", "XR"}


def pictures(modalities: Sequence[str]) -> tuple[Picture, ...]:
    """Pictures like those that a model of these modalities reads, and some of nothing at all."""
    kind = _chests() if _RADIOGRAPHS & set(modalities) else _heads()
    return (
        *kind,
        ("noise.png", "noise", 1.0, noise(160, 160, seed=4)),
        ("step.png", "a dark and a bright half", 1.0, step(200, 120)),
    )


def _heads() -> tuple[Picture, ...]:
    few = head(128, 230, lesion=True, seed=3)
    return (
        ("head.png", "a drawn head", 1.0, head(256, 256, lesion=False, seed=1)),
        ("lesion.png", "a drawn head with a disc", 1.0, head(256, 256, lesion=True, seed=2)),
        ("tall.png", "the head with rows twice as far apart as columns, and few", 2.0, few),
    )


def _chests() -> tuple[Picture, ...]:
    wide = chest(200, 280, opacity=True, seed=3)
    return (
        ("chest.png", "a drawn chest", 1.0, chest(256, 256, opacity=False, seed=1)),
        ("opacity.png", "a drawn chest with a cloud", 1.0, chest(256, 256, opacity=True, seed=2)),
        ("wide.png", "the chest in a frame that is not square", 1.0, wide),
    )


def head(rows: int, columns: int, *, lesion: bool, seed: int) -> Plane:
    """A 12-bit section (rows, columns): scalp, bone, brain, ventricles, perhaps a bright disc."""
    y, x = _grid(rows, columns)
    image = np.zeros((rows, columns))
    image[_ellipse(x, y, 0, 0, 0.72, 0.88)] = 3000  # scalp
    image[_ellipse(x, y, 0, 0, 0.66, 0.82)] = 300  # bone
    image[_ellipse(x, y, 0, 0, 0.62, 0.78)] = 1300  # brain
    image += 120 * np.sin(23 * x) * np.cos(19 * y) * _ellipse(x, y, 0, 0, 0.62, 0.78)  # folds
    for side in (-1, 1):
        image[_ellipse(x, y, 0.13 * side, -0.05, 0.07, 0.28)] = 500  # ventricles
    if lesion:
        image[_ellipse(x, y, 0.33, -0.25, 0.17, 0.15)] = 2500
    return _noisy(image, seed)


def chest(rows: int, columns: int, *, opacity: bool, seed: int) -> Plane:
    """A 12-bit frontal radiograph (rows, columns), air dark; perhaps with a cloud in a lung."""
    y, x = _grid(rows, columns)
    image = np.where(_ellipse(x, y, 0, 0.25, 0.92, 1.25), 2300.0, 150.0)
    image[(np.abs(x) < 0.22) & (y < -0.75)] = 2100  # neck
    lungs = _ellipse(x, y, -0.42, 0.0, 0.31, 0.62) | _ellipse(x, y, 0.42, 0.0, 0.31, 0.62)
    lungs &= y < 0.45 + 0.25 * np.abs(x)  # diaphragm
    image[lungs] = 750
    ribs = np.sin(26 * (y + 0.55 * x**2)) > 0.7
    image[ribs & _ellipse(x, y, 0, -0.05, 0.8, 0.75)] += 260
    image[_ellipse(x, y, 0.13, 0.22, 0.27, 0.3)] = 2600  # heart
    image[np.abs(x) < 0.07] += 500  # spine
    if opacity:
        image += 1300 * np.exp(-(((x + 0.42) / 0.18) ** 2 + ((y - 0.25) / 0.16) ** 2)) * lungs
    return _noisy(image, seed)


def noise(rows: int, columns: int, *, seed: int) -> Plane:
    """Nothing but noise, 12 bits."""
    return np.random.default_rng(seed).integers(0, 4096, (rows, columns)).astype(np.uint16)


def step(rows: int, columns: int) -> Plane:
    """The simplest picture that is not constant: a dark and a bright half."""
    image = np.zeros((rows, columns), np.uint16)
    image[:, columns // 2 :] = 1000
    return image


def _grid(rows: int, columns: int) -> tuple[Grid, Grid]:
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return y, x


def _noisy(image: Grid, seed: int) -> Plane:
    grain = np.random.default_rng(seed).normal(0, 30, image.shape)
    return np.asarray(np.clip(image + grain, 0, 4095), np.uint16)


def _ellipse(x: Grid, y: Grid, cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.bool_]:
    return np.asarray(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1)
