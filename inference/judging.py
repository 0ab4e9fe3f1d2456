"""What a classification says of one series -> its result: gate, state."""

from __future__ import annotations

from collections.abc import Sequence

from inference.aggregation import Claim, claim_of
from inference.analysis import (
    GateResult,
    LabelProbability,
    ModelResult,
    Outcome,
    SliceResult,
)
from inference.evidence.gathered import ClassEvidence
from inference.gates.applicability import judge_applicability
from inference.gates.geometry import judge_geometry
from inference.gates.out_of_distribution import judge_distribution
from inference.gates.quality import judge_quality
from inference.gates.uncertainty import judge_uncertainty
from inference.runtime import Runtime
from models.contract import Prediction
from models.manifest import Label, Manifest


def judge(evidence: ClassEvidence, manifest: Manifest) -> tuple[GateResult, ...]:
    """Ask every gate, in this order, also after one has failed: the reader sees them all.

    applicability, quality, geometry, out-of-distribution, uncertainty: from what would make
    the question meaningless to what would make the answer doubtful.
    """
    prediction, series = evidence.prediction, evidence.series
    claim = claim_of(prediction, manifest)
    fraction = manifest.aggregation.negative_min_in_distribution_fraction
    least = fraction if claim.is_negative else None
    return (
        judge_applicability(evidence.inapplicable),
        judge_quality([item.quality for item in series.slices], prediction.window),
        *judge_geometry(series.arrangement.problems),
        judge_distribution(evidence.in_distribution, prediction.window, least),
        judge_uncertainty(claim, prediction),
    )


def outcome_of(gates: Sequence[GateResult], claim: Claim) -> Outcome:
    """A claim is stated only if every gate held."""
    if claim.label is None or not all(gate.passed for gate in gates):
        return Outcome.INDETERMINATE
    return Outcome.NO_FINDING if claim.is_negative else Outcome.FINDING


def class_result(evidence: ClassEvidence, runtime: Runtime) -> ModelResult:
    """The model's result without its explanation, which is drawn by `inference.explaining`."""
    manifest, prediction = runtime.package.manifest, evidence.prediction
    gates, claim = judge(evidence, manifest), claim_of(prediction, manifest)
    outcome = outcome_of(gates, claim)
    chances = tuple(_label_probability(label, prediction) for label in manifest.labels)
    found = claim.label.key if claim.label and outcome is Outcome.FINDING else None
    return ModelResult(
        model_id=manifest.id,
        model_version=manifest.version,
        model_title=manifest.title,
        model_sha256=runtime.sha256,
        precision=runtime.precision,
        precision_reason=runtime.reason,
        series_uid=evidence.series.series_uid,
        outcome=outcome,
        finding=next((chance for chance in chances if chance.key == found), None),
        probabilities=chances,
        gates=gates,
        slices=tuple(_slice_results(evidence)),
        slices_used=tuple(index + 1 for index in prediction.window),
        deciding_slice=prediction.deciding_slice + 1,
        explanation=None,
        prediction_set=prediction_set(prediction, manifest),
    )


def prediction_set(prediction: Prediction, manifest: Manifest) -> tuple[str, ...]:
    """The keys of the labels that the manifest's prediction set holds, the likeliest first.

    Empty when the manifest states no set, and when no label is probable enough to be in it.
    """
    stated, chances = manifest.prediction_set, prediction.probabilities
    held = [key for key, chance in chances.items() if stated and stated.holds(chance)]
    return tuple(sorted(held, key=lambda key: -chances[key]))


def _label_probability(label: Label, prediction: Prediction) -> LabelProbability:
    return LabelProbability(
        key=label.key,
        display=label.display,
        probability=prediction.probabilities[label.key],
        threshold=label.threshold,
        negative=label.role == "negative",
        coding=label.coding,
    )


def _slice_results(evidence: ClassEvidence) -> list[SliceResult]:
    scores = evidence.prediction.scores
    return [
        SliceResult(
            number=number,
            sop_instance_uid=item.image.sop_instance_uid,
            frame=item.image.frame,
            probabilities=score.probabilities,
            ood_score=score.ood_score,
            in_distribution=inside,
            problem=item.quality.problem,
        )
        for number, (item, score, inside) in enumerate(
            zip(evidence.series.slices, scores, evidence.in_distribution, strict=True), start=1
        )
    ]
