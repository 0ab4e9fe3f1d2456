"""What is said of a classifier, against answers made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.build.calibrate import UNDECIDED, Operating
from models.build.evaluate.classes import (
    Answers,
    abstaining,
    answers,
    report_external,
    report_test,
    report_val,
)

HOW = Operating(("ill", "well"), 1, 1.0, (0.8, 0.9), ood_threshold=1.0)


def found(*rows: tuple[int, float, float]) -> Answers:
    """(true label, probability of ill, out-of-distribution score) of each image."""
    chances = np.array([[p, 1 - p] for _, p, _ in rows])
    labels = np.array([label for label, _, _ in rows])
    outputs = {
        "logits": np.log(chances).astype(np.float32),
        "ood_score": np.array([score for _, _, score in rows], np.float32),
    }
    return answers(outputs, labels, tuple(str(i) for i in range(len(rows))), HOW)


ROWS = found((0, 0.95, 0), (0, 0.3, 0), (0, 0.05, 0), (1, 0.04, 0), (1, 0.02, 2), (1, 0.6, 0))


def test_statements_follow_thresholds_and_distribution() -> None:
    assert ROWS.stated.tolist() == [0, UNDECIDED, 1, 1, UNDECIDED, UNDECIDED]


def test_abstention_leaves_out_what_is_not_stated() -> None:
    report = abstaining(ROWS)
    assert report["coverage"] == 0.5
    assert report["accuracy"] == 0.6667
    assert report["negative_answered"] == 0.3333
    assert report["findings_called_negative"] == 0.3333
    assert report["answered"] == {"ill": 0.6667, "well": 0.3333}


def test_the_test_report_counts_without_abstention() -> None:
    report = report_test(ROWS, 50, 0)
    assert report["confusion"]["true_by_stated"] == [[1, 2], [1, 2]]
    assert report["accuracy"]["value"] == 0.5
    assert report["per_class"]["ill"]["sensitivity"]["value"] == 0.3333
    assert report["per_class"]["ill"]["specificity"]["value"] == 0.6667
    assert report["any_finding"]["sensitivity"]["value"] == 0.3333
    assert report["in_distribution"] == 0.8333


def test_the_external_report_counts_findings_called_negative() -> None:
    report = report_external(found((0, 0.95, 0), (0, 0.05, 0), (0, 0.3, 0)), 50, 0)
    assert report["called_negative"] == 0.6667
    assert report["called_negative_abstaining"] == 0.3333
    assert report["accuracy_abstaining"] == 0.5


def test_a_split_of_which_nothing_is_answered_has_no_accuracy() -> None:
    report = report_val(found((0, 0.6, 0), (1, 0.6, 0)))
    assert report["abstaining"]["coverage"] == 0
    assert report["abstaining"]["accuracy"] is None


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_hold_the_value(seed: int) -> None:
    report = report_test(ROWS, 200, seed)["accuracy"]
    assert report["low"] <= report["value"] <= report["high"]
