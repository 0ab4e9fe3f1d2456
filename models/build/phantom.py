"""Drawn pictures for the reference cases: head-like, but nobody's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint16]


def head(rows: int, columns: int, *, lesion: bool, seed: int) -> Plane:
    """A 12-bit section (rows, columns): scalp, bone, brain, ventricles, perhaps a bright disc."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    image = np.zeros((rows, columns))
    image[_ellipse(x, y, 0, 0, 0.72, 0.88)] = 3000  # scalp
    image[_ellipse(x, y, 0, 0, 0.66, 0.82)] = 300  # bone
    image[_ellipse(x, y, 0, 0, 0.62, 0.78)] = 1300  # brain
    image += 120 * np.sin(23 * x) * np.cos(19 * y) * _ellipse(x, y, 0, 0, 0.62, 0.78)  # folds
    for side in (-1, 1):
        image[_ellipse(x, y, 0.13 * side, -0.05, 0.07, 0.28)] = 500  # ventricles
    if lesion:
        image[_ellipse(x, y, 0.33, -0.25, 0.17, 0.15)] = 2500
    noise = np.random.default_rng(seed).normal(0, 30, image.shape)
    return np.asarray(np.clip(image + noise, 0, 4095), np.uint16)


def noise(rows: int, columns: int, *, seed: int) -> Plane:
    """Nothing but noise, 12 bits."""
    return np.random.default_rng(seed).integers(0, 4096, (rows, columns)).astype(np.uint16)


def step(rows: int, columns: int) -> Plane:
    """The simplest picture that is not constant: a dark and a bright half."""
    image = np.zeros((rows, columns), np.uint16)
    image[:, columns // 2 :] = 1000
    return image


def _ellipse(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    cx: float,
    cy: float,
    rx: float,
    ry: float,
) -> npt.NDArray[np.bool_]:
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
