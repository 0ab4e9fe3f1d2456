"""A site that wants to be surer than a model's manifest asks: its thresholds, applied afterwards.

Only upwards, and no setting changes that: the figures of a model card hold from the manifest's
thresholds on, and below them nothing was measured. What is withdrawn here is indeterminate for
everybody who reads the analysis, so that a card, a page and a report made of it say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from inference.analysis import (
    Analysis,
    GateResult,
    LabelProbability,
    ModelResult,
    ModelUse,
    Outcome,
)
from inference.outcomes import study_outcome
from models.contract import Reason

GATE = "site-threshold"

Thresholds = Mapping[str, Mapping[str, float]]
"""Model id -> label key -> the calibrated probability from which the site wants it stated."""

_NOT_FOLLOWED = Reason("chain", "What the model goes on from was not certain enough for this site.")


def stricter(analysis: Analysis, thresholds: Thresholds) -> Analysis:
    """Withdraw what is less probable than the site asks, and what was run because of it.

    A threshold below the manifest's changes nothing.
    """
    if not thresholds:
        return analysis
    judged = [_judged(result, thresholds.get(result.model_id, {})) for result in analysis.results]
    withdrawn = {
        (new.model_id, new.series_uid)
        for old, new in zip(analysis.results, judged, strict=True)
        if new.outcome is not old.outcome
    }
    gone = [r for r in judged if (r.follows, r.series_uid) in withdrawn]
    results = tuple(r for r in judged if (r.follows, r.series_uid) not in withdrawn)
    left_out = (ModelUse(r.model_id, r.model_version, (_NOT_FOLLOWED,)) for r in gone)
    return replace(
        analysis,
        results=results,
        outcome=study_outcome(results),
        models_not_run=(*analysis.models_not_run, *left_out),
    )


def _judged(result: ModelResult, thresholds: Mapping[str, float]) -> ModelResult:
    """The result with the site's thresholds in the place of lower ones, and what follows."""
    labels = tuple(_raised(label, thresholds) for label in result.probabilities)
    result = replace(result, probabilities=labels)
    stated = _stated(result)
    if stated is None:
        return result
    if stated.probability >= stated.threshold:
        found = stated if result.finding else None
        return replace(result, finding=found)
    sentence = "The answer is less probable than this site asks before it is stated."
    gate = GateResult(
        GATE, False, "below-site-threshold", sentence, stated.probability, stated.threshold
    )
    gates = (*result.gates, gate)
    return replace(result, outcome=Outcome.INDETERMINATE, finding=None, gates=gates)


def _raised(label: LabelProbability, thresholds: Mapping[str, float]) -> LabelProbability:
    return replace(label, threshold=max(label.threshold, thresholds.get(label.key, 0.0)))


def _stated(result: ModelResult) -> LabelProbability | None:
    """The label that the result states, a negative included."""
    if result.outcome is Outcome.FINDING and result.finding:
        key = result.finding.key
        return next((label for label in result.probabilities if label.key == key), None)
    if result.outcome is Outcome.NO_FINDING:
        return next((label for label in result.probabilities if label.negative), None)
    return None
