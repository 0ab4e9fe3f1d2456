"""Class activation maps: what each cell of the last feature map adds to a label's score.

Zhou et al. 2016. For a network that ends in a global average and one linear layer the map is
exact, not an approximation: averaged over its cells it is the label's logit (without the bias).
"""

from __future__ import annotations

import numpy as np

from models.contract import FloatArray


def class_maps(feature_map: FloatArray, class_weights: FloatArray) -> FloatArray:
    """(channels, down, across) and (labels, channels) -> float32 (labels, down, across)."""
    channels, down, across = feature_map.shape
    maps = np.asarray(class_weights @ feature_map.reshape(channels, down * across), np.float32)
    return np.reshape(maps, (-1, down, across))


def heatmap(speaking: FloatArray, scale: FloatArray | None = None) -> FloatArray:
    """What speaks for a label in each cell -> 0 to 1 (the strongest); all zero when nothing does.

    `speaking` is (down, across); what speaks against the label is left out. The strongest cell is
    that of `scale` if it is given, the map of another slice: what is stronger is 1, too.
    """
    top = float((speaking if scale is None else scale).max(initial=0))
    positive = np.maximum(speaking, 0)
    return np.asarray(np.minimum(positive / top, 1) if top > 0 else 0 * positive, np.float32)
