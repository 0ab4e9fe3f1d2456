"""Temperature and thresholds do what the manifest says of them."""

from __future__ import annotations

import numpy as np
import pytest

from inference.aggregation import claim_of
from inference.gates import uncertainty
from models.build.calibrate import (
    MARGIN,
    UNDECIDED,
    Operating,
    choose_operating,
    fit_pixel_temperature,
    fit_temperature,
    sigmoid,
    softmax,
)
from models.build.evaluate.figures import expected_calibration_error
from models.build.recipe import CalibrateRecipe
from models.contract import Prediction
from models.manifest import Label

KEYS = ("round", "square", "long", "nothing")
NEGATIVE = 3
RECIPE = CalibrateRecipe(coverage=0.85, negative_answered=0.75)


def drawn(count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose calibrated temperature is `sharpness`: labels are drawn from their softmax."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2.5, (count, 4))
    chances = softmax(logits, 1.0)
    labels = np.array([rng.choice(4, p=row) for row in chances])
    return logits * sharpness, labels


def operating(*thresholds: float, ood: float = 1.0) -> Operating:
    return Operating(KEYS, NEGATIVE, 1.0, thresholds, ood)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_and_under_confidence(sharpness: float) -> None:
    logits, labels = drawn(4000, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_temperature_of_pixels_does_the_same(sharpness: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20, 40, 40)).astype(np.float32)
    masks = rng.random(logits.shape) < sigmoid(logits, 1.0)
    found = fit_pixel_temperature(logits * np.float32(sharpness), masks)
    assert found == pytest.approx(sharpness, rel=0.1)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    logits, labels = drawn(4000, 3.0)
    errors = []
    for temperature in (1.0, 3.0):
        chances = softmax(logits, temperature)
        right = chances.argmax(axis=1) == labels
        errors.append(expected_calibration_error(chances.max(axis=1), right))
    assert errors[1] < 0.03 < errors[0]


def test_probabilities_sum_to_one_even_for_enormous_logits() -> None:
    rows = softmax(np.array([[1e4, 0, 0, 0], [-1e4, 0, 0, 0]]), 0.5)
    assert np.allclose(rows.sum(axis=1), 1)


def test_the_negative_is_stricter_than_needed_for_coverage() -> None:
    logits, labels = drawn(3000, 1.0)
    found = choose_operating(logits, labels, np.zeros(len(labels)), KEYS, NEGATIVE, RECIPE)
    stated = found.statements(softmax(logits, found.temperature), np.zeros(len(labels)))
    answered = (stated == NEGATIVE)[labels == NEGATIVE].mean()
    assert answered <= RECIPE.negative_answered + 0.02


def separable(count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, count)
    logits = rng.normal(0, 1, (count, 4))
    logits[np.arange(count), labels] += 3
    return logits, labels


def test_the_findings_are_as_strict_as_coverage_allows() -> None:
    logits, labels = separable()
    silent = np.zeros(len(labels))
    found = choose_operating(logits, labels, silent, KEYS, NEGATIVE, RECIPE)
    stricter = tuple(
        value if index == NEGATIVE else value + 0.01 for index, value in enumerate(found.thresholds)
    )
    chances = softmax(logits, found.temperature)
    answered = (found.statements(chances, silent) != UNDECIDED).mean()
    tighter = Operating(KEYS, NEGATIVE, found.temperature, stricter, found.ood_threshold)
    fewer = (tighter.statements(chances, silent) != UNDECIDED).mean()
    assert fewer < RECIPE.coverage <= answered


def test_a_wanted_sensitivity_lowers_the_threshold_of_the_findings() -> None:
    logits, labels = separable()
    silent = np.zeros(len(labels))
    plain, keen = (
        choose_operating(
            logits, labels, silent, KEYS, NEGATIVE, CalibrateRecipe(coverage=0.5, sensitivity=want)
        )
        for want in (None, 0.9)
    )
    assert keen.thresholds[0] < plain.thresholds[0]
    stated = keen.statements(softmax(logits, keen.temperature), silent)
    assert np.isin(stated, (0, 1, 2))[labels != NEGATIVE].mean() >= 0.9


def test_an_image_unlike_the_training_data_is_not_answered() -> None:
    sure = np.full((2, 4), 0.01)
    sure[:, NEGATIVE] = 0.97
    stated = operating(0.5, 0.5, 0.5, 0.5).statements(sure, np.array([0.9, 1.1]))
    assert list(stated) == [NEGATIVE, UNDECIDED]


def test_below_its_threshold_nothing_is_stated() -> None:
    chances = np.array([[0.79, 0.21, 0, 0], [0.81, 0.19, 0, 0]])
    stated = operating(0.8, 0.8, 0.8, 0.8).statements(chances, np.zeros(2))
    assert list(stated) == [UNDECIDED, 0]


def test_the_build_judges_a_slice_as_the_service_does() -> None:
    """Thresholds, margin and order of claims are those of inference: on 500 drawn answers."""
    rng = np.random.default_rng(2)
    chances = rng.dirichlet(np.full(4, 0.6), 500)
    how = operating(0.5, 0.55, 0.6, 0.52)
    labels = [
        Label(key, key, "negative" if index == NEGATIVE else "finding", how.thresholds[index])
        for index, key in enumerate(KEYS)
    ]
    expected = []
    for row in chances:
        answer = Prediction(dict(zip(KEYS, row.tolist(), strict=True)), (), range(1), 0)
        manifest = type("Labels", (), {"labels": labels})()
        claim = claim_of(answer, manifest)
        passed = uncertainty.judge_uncertainty(claim, answer).passed
        expected.append(KEYS.index(claim.label.key) if passed and claim.label else UNDECIDED)
    assert list(how.statements(chances, np.zeros(500))) == expected
    assert uncertainty._MIN_MARGIN == MARGIN
