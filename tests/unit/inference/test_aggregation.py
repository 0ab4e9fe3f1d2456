from __future__ import annotations

import numpy as np
import pytest

from inference.aggregation import calibrated, claim_of, predict
from models.contract import Prediction, SliceScore
from tests.reference.toy import toy_package

MANIFEST = toy_package().manifest  # glow 0.6, glimmer 0.6, none 0.8, window 3


def _scores(*rows: tuple[float, float, float]) -> list[SliceScore]:
    return [SliceScore(row, 0.0) for row in rows]


def _prediction(glow: float, glimmer: float, none: float) -> Prediction:
    return Prediction({"glow": glow, "glimmer": glimmer, "none": none}, (), range(1), 0)


def test_probabilities_are_the_softmax_of_logits_over_temperature() -> None:
    chances = calibrated(np.array([2.0, 0.0], np.float32), 2.0)
    assert chances == pytest.approx((np.e / (np.e + 1), 1 / (np.e + 1)))


def test_large_logits_do_not_overflow() -> None:
    assert calibrated(np.array([1e4, -1e4], np.float32), 0.5) == (1.0, 0.0)


def test_the_window_is_where_any_finding_is_most_probable() -> None:
    calm, hot, warm = (0.05, 0.05, 0.9), (0.7, 0.2, 0.1), (0.3, 0.3, 0.4)
    prediction = predict(_scores(calm, calm, warm, hot, warm, calm), MANIFEST)
    assert prediction.window == range(2, 5)
    assert prediction.deciding_slice == 3
    assert prediction.probabilities == pytest.approx(
        {"glow": 1.3 / 3, "glimmer": 0.8 / 3, "none": 0.3}
    )


@pytest.mark.parametrize("count", [1, 2])
def test_a_series_shorter_than_the_window_is_one_window(count: int) -> None:
    assert predict(_scores(*[(0.1, 0.1, 0.8)] * count), MANIFEST).window == range(count)


def test_the_first_of_equal_windows_decides() -> None:
    assert predict(_scores(*[(0.2, 0.1, 0.7)] * 9), MANIFEST).window == range(3)


@pytest.mark.parametrize(
    ("chances", "stated", "negative"),
    [
        ((0.60, 0.2, 0.2), "glow", False),
        ((0.59, 0.2, 0.21), None, False),
        ((0.1, 0.65, 0.25), "glimmer", False),
        ((0.1, 0.1, 0.80), "none", True),
        ((0.1, 0.11, 0.79), None, False),
    ],
)
def test_a_label_is_claimed_from_its_own_threshold_upwards(
    chances: tuple[float, float, float], stated: str | None, negative: bool
) -> None:
    claim = claim_of(_prediction(*chances), MANIFEST)
    assert (claim.label.key if claim.label else None) == stated
    assert claim.is_negative is negative
