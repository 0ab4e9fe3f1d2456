"""Does the heat-map show what the model used? Blank the strongest cells and ask again."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.contract import FloatArray

_STRONGEST = 0.2


def deletion_drop(
    image: FloatArray,
    heat: FloatArray,
    before: float,
    probability: Callable[[FloatArray], float],
) -> float | None:
    """How much a probability falls when the strongest fifth of the cells is blanked.

    `image` is the model's input (1, 1, rows, columns), `heat` (down, across) of its cells,
    `before` the probability of the whole image, `probability` gives that of another one.
    Blanked is set to the image's lowest value. Petsiuk et al. 2018 with one step: one extra run.
    ``None`` when the map is empty.
    """
    if not heat.max(initial=0) > 0:
        return None
    blanked = np.where(_covered(heat, image.shape[2:]), image.min(), image).astype(np.float32)
    return before - probability(blanked)


def _covered(heat: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Which pixels belong to the strongest fifth of the cells."""
    count = math.ceil(heat.size * _STRONGEST)
    strongest = np.zeros(heat.size, bool)
    strongest[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    cells = strongest.reshape(heat.shape)
    down = np.arange(shape[0]) * heat.shape[0] // shape[0]
    across = np.arange(shape[1]) * heat.shape[1] // shape[1]
    return cells[np.ix_(down, across)]
