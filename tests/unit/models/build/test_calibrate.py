"""Temperature and thresholds do what the manifest says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.build.calibrate import UNDECIDED, Operating, choose_operating, fit_temperature, softmax
from models.build.data import KEYS, NEGATIVE
from models.build.evaluate import expected_calibration_error
from models.build.recipe import read_recipe

RECIPE = read_recipe(Path(__file__).parents[4] / "models" / "brain-mri-tumour" / "recipe.toml")


def drawn(count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose calibrated temperature is `sharpness`: labels are drawn from their softmax."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2.5, (count, 4))
    chances = softmax(logits, 1.0)
    labels = np.array([rng.choice(4, p=row) for row in chances])
    return logits * sharpness, labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_and_under_confidence(sharpness: float) -> None:
    logits, labels = drawn(4000, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    logits, labels = drawn(4000, 3.0)
    raw = expected_calibration_error(softmax(logits, 1.0), labels)
    calibrated = expected_calibration_error(softmax(logits, 3.0), labels)
    assert calibrated < 0.03 < raw


def test_probabilities_sum_to_one_even_for_enormous_logits() -> None:
    rows = softmax(np.array([[1e4, 0, 0, 0], [-1e4, 0, 0, 0]]), 0.5)
    assert np.allclose(rows.sum(axis=1), 1)


def test_the_negative_is_stricter_than_needed_for_coverage() -> None:
    logits, labels = drawn(3000, 1.0)
    operating = choose_operating(logits, labels, np.zeros(len(labels)), RECIPE)
    probabilities = softmax(logits, operating.temperature)
    stated = operating.statements(probabilities, np.zeros(len(labels)))
    answered = (stated == NEGATIVE)[labels == NEGATIVE].mean()
    assert answered <= RECIPE.negative_answered + 0.02


def test_the_findings_are_as_strict_as_coverage_allows() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 2000)
    logits = rng.normal(0, 1, (2000, 4))
    logits[np.arange(2000), labels] += 3
    silent = np.zeros(2000)
    chosen = choose_operating(logits, labels, silent, RECIPE)
    stricter = {key: value + 0.01 for key, value in chosen.thresholds.items()}
    stricter[KEYS[NEGATIVE]] = chosen.thresholds[KEYS[NEGATIVE]]
    probabilities = softmax(logits, chosen.temperature)
    answered = (chosen.statements(probabilities, silent) != UNDECIDED).mean()
    tighter = Operating(chosen.temperature, stricter, chosen.ood_threshold)
    fewer = (tighter.statements(probabilities, silent) != UNDECIDED).mean()
    assert fewer < RECIPE.coverage <= answered


def test_a_slice_unlike_the_training_data_never_gets_the_negative() -> None:
    operating = Operating(1.0, dict.fromkeys(KEYS, 0.5), ood_threshold=1.0)
    sure = np.full((2, 4), 0.01)
    sure[:, NEGATIVE] = 0.97
    stated = operating.statements(sure, np.array([0.9, 1.1]))
    assert list(stated) == [NEGATIVE, UNDECIDED]


def test_below_its_threshold_nothing_is_stated() -> None:
    operating = Operating(1.0, dict.fromkeys(KEYS, 0.8), ood_threshold=1.0)
    stated = operating.statements(np.array([[0.79, 0.21, 0, 0], [0.81, 0.19, 0, 0]]), np.zeros(2))
    assert list(stated) == [UNDECIDED, 0]
