"""What a classifier is worth on each split, with and without its right to keep silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from models.build.calibrate import UNDECIDED, Floats, Labels, Operating, softmax
from models.build.evaluate.curves import auroc, coverage_and_risk, roc_and_pr
from models.build.evaluate.figures import (
    Bootstrap,
    Report,
    Rows,
    expected_calibration_error,
    mean_of,
    reliability,
    rounded,
    rounded_rows,
    share,
)

Outputs = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Answers:
    """One split, and what the model says of it at its operating point; every slice a series.

    `probabilities` is (N, L), `guesses` (N,) the most probable label, `stated` (N,) what would be
    said: a label or UNDECIDED.
    """

    labels: Labels
    groups: tuple[str, ...]
    probabilities: Floats
    ood: Floats
    stated: Labels
    operating: Operating

    @property
    def guesses(self) -> Labels:
        """The most probable label of each slice."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable label is the true one."""
        return np.asarray(self.guesses == self.labels)

    @property
    def in_distribution(self) -> npt.NDArray[np.bool_]:
        """Whether the slice is like the training data."""
        return np.asarray(self.ood <= self.operating.ood_threshold)


def answers(
    outputs: Outputs, labels: Labels, groups: tuple[str, ...], operating: Operating
) -> Answers:
    """Judge logits (N, L) and scores (N,) of one split."""
    probabilities = softmax(outputs["logits"], operating.temperature)
    ood = outputs["ood_score"].astype(np.float64)
    stated = operating.statements(probabilities, ood)
    return Answers(labels, groups, probabilities, ood, stated, operating)


def report_test(found: Answers, resamples: int, seed: int) -> Report:
    """Every figure of the test split."""
    keys, labels = found.operating.keys, found.labels
    bootstrap = Bootstrap(found.groups, resamples, seed)
    confidence = found.probabilities.max(axis=1)
    return {
        "images": len(labels),
        "groups": bootstrap.groups,
        "accuracy": bootstrap(mean_of(found.right)),
        "per_class": {key: _of_class(found, index, bootstrap) for index, key in enumerate(keys)},
        "any_finding": _any_finding(found, bootstrap),
        "confusion": {"order": list(keys), "true_by_stated": _confusion(found)},
        "ece": rounded(expected_calibration_error(confidence, found.right)),
        "reliability": rounded_rows(reliability(confidence, found.right)),
        "in_distribution": share(found.in_distribution),
        "abstaining": abstaining(found) | _intervals(found, bootstrap),
        "coverage_risk": coverage_and_risk(confidence, found.right),
        "curves": {
            key: roc_and_pr(
                labels == index, found.probabilities[:, index], found.operating.thresholds[index]
            )
            for index, key in enumerate(keys)
        },
    }


def report_val(found: Answers) -> Report:
    """What everything was chosen by; no intervals, since it flatters."""
    return {
        "images": len(found.labels),
        "accuracy": share(found.right),
        "abstaining": abstaining(found),
    }


def report_external(found: Answers, resamples: int, seed: int) -> Report:
    """Images from elsewhere, all with a finding or not: above all, how many are called negative."""
    spoken, negative = found.stated != UNDECIDED, found.operating.negative
    ill = found.labels != negative
    bootstrap = Bootstrap(found.groups, resamples, seed)
    called, said = found.guesses == negative, found.stated == negative
    return {
        "images": len(found.labels),
        "accuracy": share(found.right),
        "in_distribution": share(found.in_distribution),
        "called_negative": share(called[ill]),
        "called_negative_abstaining": share(said[ill]),
        "called_negative_abstaining_interval": bootstrap(partial(_within, said, ill)),
        "coverage_abstaining": share(spoken),
        "accuracy_abstaining": share((found.stated == found.labels)[spoken]),
    }


def abstaining(found: Answers) -> Report:
    """Coverage, accuracy of what is stated, and findings among what is called negative."""
    spoken, negative = found.stated != UNDECIDED, found.operating.negative
    ill, keys = found.labels != negative, found.operating.keys
    right = found.stated == found.labels
    return {
        "coverage": share(spoken),
        "accuracy": share(right[spoken]),
        "negative_answered": share((found.stated == negative)[~ill]),
        "findings_called_negative": share((found.stated == negative)[ill]),
        "answered": {key: share(spoken[found.labels == i]) for i, key in enumerate(keys)},
        "right_of_answered": {
            key: share(right[spoken & (found.labels == i)]) for i, key in enumerate(keys)
        },
    }


def _intervals(found: Answers, bootstrap: Bootstrap) -> Report:
    spoken = found.stated != UNDECIDED
    right = found.stated == found.labels
    return {
        "coverage_interval": bootstrap(mean_of(spoken)),
        "accuracy_interval": bootstrap(partial(_within, right, spoken)),
    }


def _of_class(found: Answers, label: int, bootstrap: Bootstrap) -> Report:
    true, called = found.labels == label, found.guesses == label
    chances = found.probabilities[:, label]
    return {
        "images": int(true.sum()),
        "sensitivity": bootstrap(partial(_within, called, true)),
        "specificity": bootstrap(partial(_within, ~called, ~true)),
        "precision": share(true[called]),
        "auroc": bootstrap(partial(_auroc, true, chances)),
        "ece": rounded(expected_calibration_error(chances, true)),
    }


def _any_finding(found: Answers, bootstrap: Bootstrap) -> Report:
    """A finding, whichever, against the negative."""
    ill = found.labels != found.operating.negative
    called = found.guesses != found.operating.negative
    return {
        "sensitivity": bootstrap(partial(_within, called, ill)),
        "specificity": bootstrap(partial(_within, ~called, ~ill)),
        "auroc": bootstrap(
            partial(_auroc, ill, 1 - found.probabilities[:, found.operating.negative])
        ),
    }


def _within(what: npt.NDArray[np.bool_], where: npt.NDArray[np.bool_], rows: Rows) -> float:
    """The share of `what` among those of the rows that are `where`."""
    chosen = rows[where[rows]]
    return float(what[chosen].mean()) if chosen.size else float("nan")


def _auroc(positive: npt.NDArray[np.bool_], scores: Floats, rows: Rows) -> float:
    return auroc(positive[rows], scores[rows])


def _confusion(found: Answers) -> list[list[int]]:
    """Counts, rows the true label, columns the most probable one."""
    size = len(found.operating.keys)
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (found.labels, found.guesses), 1)
    return [[int(count) for count in row] for row in table]
