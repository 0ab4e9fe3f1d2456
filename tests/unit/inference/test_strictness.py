"""A site may ask for more certainty than a manifest, never for less."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_mapping.wording import conclusion, possible
from inference.analysis import (
    Analysis,
    LabelProbability,
    ModelResult,
    Outcome,
    StudyIdentity,
)
from inference.strictness import GATE, stricter

GLIOMA = LabelProbability("glioma", "Glioma", 0.9, 0.84, negative=False)
NOTHING = LabelProbability("none", "No tumour", 0.06, 0.84, negative=True)

FINDING = ModelResult(
    model_id="brain",
    model_version="1",
    model_title="Brain",
    model_sha256="ab" * 32,
    precision="fp32",
    precision_reason="",
    series_uid="1.2",
    outcome=Outcome.FINDING,
    finding=GLIOMA,
    probabilities=(GLIOMA, NOTHING),
    gates=(),
    slices=(),
    slices_used=(),
    deciding_slice=None,
    explanation=None,
)
NEGATIVE = replace(
    FINDING,
    outcome=Outcome.NO_FINDING,
    finding=None,
    probabilities=(replace(GLIOMA, probability=0.06), replace(NOTHING, probability=0.9)),
)
OUTLINE = replace(
    FINDING,
    model_id="outline",
    outcome=Outcome.MEASURED,
    finding=None,
    probabilities=(),
    task="segmentation",
    follows="brain",
)


def analysis(*results: ModelResult) -> Analysis:
    return Analysis(StudyIdentity("1"), "d", results[0].outcome, results, (), (), {})


@pytest.mark.parametrize(
    ("result", "label", "threshold", "outcome"),
    [
        (FINDING, "glioma", 0.95, Outcome.INDETERMINATE),
        (FINDING, "glioma", 0.9, Outcome.FINDING),
        (FINDING, "glioma", 0.2, Outcome.FINDING),
        (FINDING, "none", 0.99, Outcome.FINDING),
        (NEGATIVE, "none", 0.95, Outcome.INDETERMINATE),
        (NEGATIVE, "none", 0.9, Outcome.NO_FINDING),
        (NEGATIVE, "glioma", 0.99, Outcome.NO_FINDING),
    ],
)
def test_an_answer_is_stated_from_the_higher_of_the_two_thresholds(
    result: ModelResult, label: str, threshold: float, outcome: Outcome
) -> None:
    made = stricter(analysis(result), {"brain": {label: threshold}})
    assert made.outcome is made.results[0].outcome is outcome
    assert (made.results[0].finding is not None) == (outcome is Outcome.FINDING)


def test_what_is_withdrawn_says_so_with_both_numbers_and_in_every_text() -> None:
    made = stricter(analysis(FINDING), {"brain": {"glioma": 0.95}})
    (result,) = made.results
    (gate,) = result.reasons
    assert (gate.gate, gate.value, gate.limit) == (GATE, 0.9, 0.95)
    assert "suggests" not in conclusion(made.results)
    assert [label.threshold for label in result.probabilities] == [0.95, 0.84]
    assert possible(result) == ()


def test_an_outline_of_what_is_withdrawn_goes_with_it() -> None:
    both = analysis(FINDING, OUTLINE)
    made = stricter(both, {"brain": {"glioma": 0.95}})
    assert [result.model_id for result in made.results] == ["brain"]
    assert [use.model_id for use in made.models_not_run] == ["outline"]
    assert stricter(both, {"brain": {"glioma": 0.85}}).results[1] == OUTLINE


@pytest.mark.parametrize("thresholds", [{}, {"other": {"glioma": 0.99}}])
def test_other_models_are_left_as_they_are(thresholds: dict[str, dict[str, float]]) -> None:
    made = stricter(analysis(FINDING), thresholds)
    assert made == analysis(FINDING)
