"""Curves that a card draws: ROC, precision and recall, and risk by coverage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.build.evaluate.figures import Report, rounded

_POINTS = 60

Truth = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


def auroc(positive: Truth, scores: Scores) -> float:
    """The chance that a positive scores above a negative, ties counting half; nan without both."""
    above = scores[positive]
    below = np.sort(scores[~positive])
    if not above.size or not below.size:
        return float("nan")
    lower = np.searchsorted(below, above, "left")
    ties = np.searchsorted(below, above, "right") - lower
    return float((lower + ties / 2).mean() / below.size)


def roc_and_pr(positive: Truth, scores: Scores, threshold: float) -> Report:
    """Both curves of one label against the rest, thinned, with the point of its threshold."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(np.diff(scores[order]) != 0, True)  # one point for each distinct score
    hits, called = hits[last], (np.flatnonzero(last) + 1)
    wanted, others = max(1, int(positive.sum())), max(1, int((~positive).sum()))
    recall, precision = hits / wanted, hits / called
    false = (called - hits) / others
    average = float(np.sum(np.diff(recall, prepend=0) * precision))
    stated = scores >= threshold
    kept = _thinned(len(hits))
    return {
        "auroc": rounded(auroc(positive, scores)),
        "average_precision": rounded(average),
        "false_positive_rate": [0.0, *(rounded(v) for v in false[kept])],
        "sensitivity": [0.0, *(rounded(v) for v in recall[kept])],
        "precision": [1.0, *(rounded(v) for v in precision[kept])],
        "at_threshold": {
            "threshold": threshold,
            "sensitivity": rounded(float((stated & positive).sum() / wanted)),
            "false_positive_rate": rounded(float((stated & ~positive).sum() / others)),
            "precision": rounded(float((stated & positive).sum() / max(1, stated.sum()))),
        },
    }


def coverage_and_risk(confidence: Scores, right: Truth) -> Report:
    """The share of wrong answers when only the most confident share is answered.

    `area` is the mean risk over all coverages (AURC; Geifman and El-Yaniv 2017).
    """
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(right) + 1)
    risk = np.cumsum(~right[order]) / counts
    kept = _thinned(len(right))
    return {
        "area": rounded(float(risk.mean())),
        "coverage": [rounded(v) for v in counts[kept] / len(right)],
        "risk": [rounded(v) for v in risk[kept]],
    }


def _thinned(count: int) -> npt.NDArray[np.int64]:
    """Evenly spread places, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(np.int64))
