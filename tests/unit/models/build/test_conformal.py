"""Prediction sets keep the promise they make."""

from __future__ import annotations

import numpy as np
import pytest

from models.build.calibrate import softmax
from models.build.conformal import conformal_report, conformal_threshold, sets_of
from models.manifest import PredictionSet

KEYS = ("a", "b", "c")


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A classifier that is badly calibrated: the promise must hold all the same."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    logits = rng.normal(0, 1, (count, 3))
    logits[np.arange(count), labels] += 1.5
    return softmax(logits, 0.3), labels


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_the_sets_hold_the_true_label_as_often_as_promised(coverage: float) -> None:
    limit = conformal_threshold(*answers(2000, 0), coverage)
    chances, labels = answers(20_000, 1)
    held = sets_of(chances, limit)[np.arange(len(labels)), labels].mean()
    assert held == pytest.approx(coverage, abs=0.02)


def test_with_too_few_images_every_label_is_in_every_set() -> None:
    limit = conformal_threshold(*answers(5, 0), 0.95)
    assert limit == 1
    assert sets_of(answers(10, 1)[0], limit).all()


def test_the_manifest_makes_the_same_sets() -> None:
    chances, labels = answers(300, 3)
    limit = conformal_threshold(chances, labels, 0.9)
    stated = PredictionSet("split conformal (least ambiguous)", 0.9, limit, 0.9)
    again = [[stated.holds(float(p)) for p in row] for row in chances]
    assert np.array_equal(sets_of(chances, limit), again)


def test_the_report_counts_sets_of_one_and_of_none() -> None:
    chances = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
    report = conformal_report(chances, np.array([0, 0, 2]), KEYS, 0.9, 0.55)
    assert (report["one_label"], report["empty"]) == (0.3333, 0.3333)
    assert report["coverage_test"] == 0.6667
    assert report["mean_size"] == 1.0
