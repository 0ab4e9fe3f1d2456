"""Figures as the report keeps them: four digits, and an interval by a bootstrap over groups."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Report = dict[str, Any]
Rows = npt.NDArray[np.int64]
Statistic = Callable[[Rows], float]

BINS = 15


def rounded(value: float, digits: int = 4) -> float:
    """A figure for the report; what is not a number stays so and is refused by `json`."""
    return round(float(value), digits)


def share(what: npt.NDArray[np.bool_]) -> float | None:
    """The share that holds; None of nothing."""
    return rounded(float(what.mean())) if what.size else None


class Bootstrap:
    """A statistic with its 95 % interval: groups are drawn with replacement, whole.

    `groups` (N,) name what is not independent: a patient's slices, or near-copies.
    """

    def __init__(self, groups: Sequence[str], resamples: int, seed: int) -> None:
        _, members = np.unique(np.array(groups), return_inverse=True)
        places = [np.flatnonzero(members == group) for group in range(members.max() + 1)]
        rng = np.random.default_rng(seed)
        self.groups = len(places)
        self.everything: Rows = np.arange(len(members))
        self._draws: list[Rows] = [
            np.concatenate([places[i] for i in rng.integers(0, len(places), len(places))])
            for _ in range(resamples)
        ]

    def __call__(self, statistic: Statistic) -> Report:
        """`value` of all rows, `low` and `high` of the resamples in which it is defined.

        All three are None where it is not defined for all rows.
        """
        value = statistic(self.everything)
        if math.isnan(value):
            return {"value": None, "low": None, "high": None}
        drawn = np.array([statistic(rows) for rows in self._draws])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no resample may define it
            low, high = np.nanpercentile(drawn, (2.5, 97.5)) if drawn.size else (value, value)
        return {
            "value": rounded(value),
            "low": rounded(value if math.isnan(low) else low),
            "high": rounded(value if math.isnan(high) else high),
        }


def mean_of(values: npt.NDArray[np.floating[Any]] | npt.NDArray[np.bool_]) -> Statistic:
    """The mean over rows, as a statistic; nan of none."""
    return lambda rows: float(values[rows].mean()) if rows.size else math.nan


def expected_calibration_error(
    confidence: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_]
) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins (Guo et al. 2017)."""
    rows = reliability(confidence, right)
    gaps = [row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows]
    return float(sum(gaps)) / max(1, len(right))


def reliability(
    confidence: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_]
) -> list[Report]:
    """The non-empty of 15 equal bins of confidence: count, mean confidence, accuracy."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "count": int((bins == b).sum()),
            "confidence": float(confidence[bins == b].mean()),
            "accuracy": float(right[bins == b].mean()),
        }
        for b in np.unique(bins)
    ]


def rounded_rows(rows: list[Report]) -> list[Report]:
    """The same rows with every float rounded."""
    return [
        {name: rounded(v) if isinstance(v, float) else v for name, v in row.items()} for row in rows
    ]
