"""Maps for networks that have no class activation map: take a part away, and see what is lost.

`cell_drops` takes away cells of the last feature map and runs the head alone: exact, and cheap.
`patch_drops` blanks parts of the image and runs the whole network, whatever is inside it (Zeiler
and Fergus 2014).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.contract import FloatArray

Logits = Callable[[FloatArray], FloatArray]
_PATCHES = 7  # down and across
_BATCH = 64  # of cells: 49 of a 7 x 7 map are one run, a larger map does not take more memory


def cell_drops(feature_map: FloatArray, label: int, head: Logits) -> FloatArray:
    """How much a label's logit falls without each cell, float32 (down, across).

    `feature_map` is (channels, down, across); `head` gives logits (N, labels) of N such maps.
    """
    _, down, across = feature_map.shape
    whole = head(feature_map[np.newaxis])[0, label]
    without = []
    for start in range(0, down * across, _BATCH):
        cells = np.arange(start, min(start + _BATCH, down * across))
        maps = np.repeat(feature_map[np.newaxis], len(cells), axis=0)
        maps[np.arange(len(cells)), :, cells // across, cells % across] = 0
        without.append(head(maps)[:, label])
    drops = whole - np.concatenate(without)
    return np.asarray(drops, np.float32).reshape(down, across)


def patch_drops(image: FloatArray, label: int, network: Logits) -> FloatArray:
    """How much a label's logit falls with each patch blanked, float32 (7, 7).

    `image` is the model's input (1, 1, rows, columns); blanked is set to its lowest value.
    `network` gives logits (N, labels) of N such images.
    """
    whole = network(image)[0, label]
    rows, columns = (_borders(size) for size in image.shape[2:])
    drops = np.empty((_PATCHES, _PATCHES), np.float32)
    for row in range(_PATCHES):
        batch = np.repeat(image, _PATCHES, axis=0)
        for column in range(_PATCHES):
            inside = slice(rows[row], rows[row + 1]), slice(columns[column], columns[column + 1])
            batch[column, 0, *inside] = image.min()
        drops[row] = whole - network(batch)[:, label]
    return drops


def _borders(size: int) -> list[int]:
    return [size * patch // _PATCHES for patch in range(_PATCHES + 1)]
