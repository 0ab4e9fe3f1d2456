"""Solid parts of the true outline that are not outlined: how many images, and how much they weigh.

A line that is a little off costs every image a little. A reference that holds a part which other
references leave out (the lung behind the heart) costs a few images much, whatever the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.build.evaluate.figures import Report, rounded
from models.outlines import Mask, label_regions

SMALLEST = 0.01
"""A part counts from this share of the frame upwards."""
_WIDTH = 7  # pixels; what is narrower is a line that is a little off


def left_out(outlined: Mask, truth: Mask) -> bool:
    """Whether a connected part of `truth`, at least 7 pixels wide and 1 % of the frame, is outside.

    Both are bool (rows, columns).
    """
    outside = Image.fromarray((truth & ~outlined).astype(np.uint8) * 255)
    core = outside.filter(ImageFilter.MinFilter(_WIDTH)).filter(ImageFilter.MaxFilter(_WIDTH))
    _, areas = label_regions(np.asarray(core) > 0)
    return bool(areas.max(initial=0) >= SMALLEST * truth.size)


def report_left_out(
    pairs: Iterator[tuple[Mask, Mask]], dice: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]
) -> Report:
    """How many images leave something out, and the figures of all others where something is there.

    `pairs` are what was outlined and the true mask of each image, `dice` its overlap.
    """
    left = np.array([left_out(outlined, truth) for outlined, truth in pairs])
    others = dice[there & ~left]
    return {
        "smallest_fraction": SMALLEST,
        "images": int(left.sum()),
        "dice_of_others": rounded(float(others.mean())) if others.size else None,
        "dice_5th_percentile_of_others": rounded(float(np.percentile(others, 5)))
        if others.size
        else None,
    }
