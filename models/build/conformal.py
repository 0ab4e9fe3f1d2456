"""Prediction sets that hold the true label as often as they say, whatever the network.

Split conformal prediction with the least ambiguous set (Sadinle, Lei, Wasserman 2019): the
conformal score is one minus the calibrated probability of the true label.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.build.calibrate import Floats, Labels
from models.build.evaluate.figures import Report, rounded, share

METHOD = "split conformal (least ambiguous)"


def conformal_threshold(probabilities: Floats, labels: Labels, coverage: float) -> float:
    """The quantile of the scores (N,) that promises `coverage` for one more image like them.

    With n calibration images it is the ceil((n + 1) * coverage)-th smallest score; where there
    are too few images for the promise, 1: every label is in every set.
    """
    scores = np.sort(1 - probabilities[np.arange(len(labels)), labels])
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        return 1.0
    # rounded upwards, so that the number in the manifest keeps the promise
    return min(1.0, math.ceil(float(scores[rank - 1]) * 1e6) / 1e6)


def sets_of(probabilities: Floats, threshold: float) -> npt.NDArray[np.bool_]:
    """Which labels (N, L) are in the set of each image."""
    return np.asarray(probabilities >= 1 - threshold)


def conformal_report(
    probabilities: Floats, labels: Labels, keys: tuple[str, ...], coverage: float, threshold: float
) -> Report:
    """What the sets are like on a split that did not calibrate them."""
    sets = sets_of(probabilities, threshold)
    held = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    return {
        "method": METHOD,
        "coverage": coverage,
        "threshold": threshold,
        "coverage_test": rounded(float(held.mean())),
        "per_class": {key: share(held[labels == index]) for index, key in enumerate(keys)},
        "mean_size": rounded(float(sizes.mean())),
        "one_label": rounded(float((sizes == 1).mean())),
        "empty": rounded(float((sizes == 0).mean())),
    }
