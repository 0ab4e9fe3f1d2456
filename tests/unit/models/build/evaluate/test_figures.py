"""Intervals, calibration error and curves against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.build.evaluate.curves import auroc, coverage_and_risk, roc_and_pr
from models.build.evaluate.figures import Bootstrap, expected_calibration_error, mean_of


def test_groups_are_drawn_whole() -> None:
    """A patient's slices are alike here, so the interval is as wide as two patients make it."""
    values = np.repeat([0.0, 1.0], 100)
    by_patient = Bootstrap(["a"] * 100 + ["b"] * 100, 400, 0)(mean_of(values))
    by_slice = Bootstrap([str(i) for i in range(200)], 400, 0)(mean_of(values))
    assert (by_patient["low"], by_patient["value"], by_patient["high"]) == (0, 0.5, 1)
    assert by_slice["high"] - by_slice["low"] < 0.2


def test_an_interval_of_what_no_resample_defines_is_the_value() -> None:
    figure = Bootstrap(["a"], 0, 0)(mean_of(np.array([0.25])))
    assert figure == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.full(100, 0.9)
    right = np.arange(100) < 70
    assert expected_calibration_error(confidence, right) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("scores", "area"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)],
)
def test_the_area_under_the_roc_curve(scores: list[float], area: float) -> None:
    assert auroc(np.array([False, False, True, True]), np.array(scores)) == area


def test_the_curves_pass_through_the_operating_point() -> None:
    positive = np.array([True, True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    curve = roc_and_pr(positive, scores, 0.65)
    point = curve["at_threshold"]
    assert (point["sensitivity"], point["false_positive_rate"]) == (0.6667, 0.3333)
    assert (0.3333, 0.6667) in zip(curve["false_positive_rate"], curve["sensitivity"], strict=True)
    assert curve["false_positive_rate"][-1] == curve["sensitivity"][-1] == 1.0
    assert curve["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3, abs=1e-4)


def test_risk_rises_with_coverage_when_confidence_means_something() -> None:
    right = np.array([True] * 8 + [False] * 2)
    curve = coverage_and_risk(np.linspace(1, 0.1, 10), right)
    assert curve["risk"][0] == 0
    assert curve["risk"][-1] == 0.2
    assert curve["coverage"][-1] == 1
