"""Measure the graph that will be shipped, and write the figures down once: `report.json`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.build.calibrate import UNDECIDED, Floats, Labels, Operating, softmax
from models.build.data import KEYS, NEGATIVE, Split, as_input
from models.build.export import Outputs, run

Report = dict[str, Any]
Statistic = Callable[[npt.NDArray[np.int64]], float]
_BINS = 15
_INTERVALS = "95 %, bootstrap over blocks of 13 neighbouring slices (about a patient)"


def outputs_of(session: ort.InferenceSession, split: Split) -> Outputs:
    """Logits (N, L) and out-of-distribution scores (N,) of a split, from the graph itself."""
    wanted = ("logits", "ood_score")
    parts = [
        run(session, as_input(split.images[start : start + 16]))
        for start in range(0, len(split), 16)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}


def evaluate(
    outputs: dict[str, Outputs],
    splits: dict[str, Split],
    operating: Operating,
    resamples: int,
    seed: int,
) -> Report:
    """All figures of the report; `outputs` and `splits` by split name, each slice a series."""
    scored = {
        name: _Scored(splits[name], outputs[name], operating) for name in ("val", "test", "ext_dev")
    }
    test = scored["test"]
    resample = _Bootstrap(test.groups, resamples, np.random.default_rng(seed))
    return {
        "intervals": _INTERVALS,
        "test": {
            "images": len(test.labels),
            "accuracy": resample(test.accuracy),
            "per_class": {
                key: {
                    "images": int((test.labels == index).sum()),
                    "sensitivity": resample(partial(test.sensitivity, index)),
                    "specificity": resample(partial(test.specificity, index)),
                }
                for index, key in enumerate(KEYS)
            },
            "confusion": {"order": list(KEYS), "true_by_stated": test.confusion()},
            "ece": _rounded(expected_calibration_error(test.probabilities, test.labels)),
            "in_distribution": _rounded(float((test.ood <= operating.ood_threshold).mean())),
            "abstaining": test.abstaining(),
        },
        "val": {
            "images": len(scored["val"].labels),
            "accuracy": _rounded(scored["val"].accuracy(scored["val"].all)),
            "abstaining": scored["val"].abstaining(),
        },
        "ext_dev": scored["ext_dev"].external(),
    }


class _Scored:
    """One split with what the model says of it."""

    def __init__(self, split: Split, outputs: Outputs, operating: Operating) -> None:
        self.labels, self.groups = split.labels, np.array(split.groups)
        self.ood = outputs["ood_score"].astype(np.float64)
        self.in_distribution = self.ood <= operating.ood_threshold
        self.probabilities: Floats = softmax(outputs["logits"], operating.temperature)
        self.guesses: Labels = self.probabilities.argmax(axis=1)
        self.stated = operating.statements(self.probabilities, self.ood)
        self.all = np.arange(len(self.labels))

    def accuracy(self, rows: npt.NDArray[np.int64]) -> float:
        return float((self.guesses[rows] == self.labels[rows]).mean())

    def sensitivity(self, label: int, rows: npt.NDArray[np.int64]) -> float:
        rows = rows[self.labels[rows] == label]
        return float((self.guesses[rows] == label).mean()) if rows.size else float("nan")

    def specificity(self, label: int, rows: npt.NDArray[np.int64]) -> float:
        rows = rows[self.labels[rows] != label]
        return float((self.guesses[rows] != label).mean()) if rows.size else float("nan")

    def confusion(self) -> list[list[int]]:
        """Counts, rows the true label, columns the most probable one."""
        table = np.zeros((len(KEYS), len(KEYS)), np.int64)
        np.add.at(table, (self.labels, self.guesses), 1)
        return [[int(count) for count in row] for row in table]

    def abstaining(self) -> Report:
        """Coverage, accuracy of what is stated, and tumours among what is called tumour-free."""
        spoken = self.stated != UNDECIDED
        tumours = self.labels != NEGATIVE
        return {
            "coverage": _rounded(float(spoken.mean())),
            "accuracy": self._right_of(spoken),
            "negative_answered": _rounded(float((self.stated == NEGATIVE)[~tumours].mean())),
            "tumours_called_negative": _rounded(float((self.stated == NEGATIVE)[tumours].mean())),
        }

    def external(self) -> Report:
        """Tumours from elsewhere: how many are called tumour-free, without and with abstention."""
        spoken = self.stated != UNDECIDED
        return {
            "images": len(self.labels),
            "accuracy": _rounded(self.accuracy(self.all)),
            "in_distribution": _rounded(float(self.in_distribution.mean())),
            "called_negative": _rounded(float((self.guesses == NEGATIVE).mean())),
            "called_negative_abstaining": _rounded(float((self.stated == NEGATIVE).mean())),
            "coverage_abstaining": _rounded(float(spoken.mean())),
            "accuracy_abstaining": self._right_of(spoken),
        }

    def _right_of(self, spoken: npt.NDArray[np.bool_]) -> float | None:
        """The share of statements that are right; None when nothing is stated."""
        right = (self.stated == self.labels)[spoken]
        return _rounded(float(right.mean())) if right.size else None


class _Bootstrap:
    """A statistic with its interval: groups are drawn with replacement, whole."""

    def __init__(
        self, groups: npt.NDArray[np.str_], resamples: int, rng: np.random.Generator
    ) -> None:
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        self.everything = np.arange(len(groups))
        self.draws = [
            np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
            for _ in range(resamples)
        ]

    def __call__(self, statistic: Statistic) -> Report:
        low, high = np.nanpercentile([statistic(rows) for rows in self.draws], (2.5, 97.5))
        return {
            "value": _rounded(statistic(self.everything)),
            "low": _rounded(float(low)),
            "high": _rounded(float(high)),
        }


def expected_calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins (Guo et al. 2017)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = [
        abs(float(confidence[bins == b].mean() - right[bins == b].mean())) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def _rounded(value: float) -> float:
    return round(value, 4)
