"""Scored slices of one series -> one model's result: arrange, aggregate, gate, explain."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from inference.aggregation import Claim, claim_of, predict
from inference.analysis import (
    Explanation,
    GateResult,
    LabelProbability,
    ModelResult,
    Outcome,
    SliceResult,
)
from inference.explain.cam import heatmap
from inference.explain.faithfulness import deletion_drop
from inference.explain.overlay import render
from inference.gates.applicability import judge_applicability
from inference.gates.geometry import judge_geometry
from inference.gates.out_of_distribution import judge_distribution
from inference.gates.quality import judge_quality
from inference.gates.uncertainty import judge_uncertainty
from inference.runtime import Runtime
from inference.scoring import ScoredSlice, model_input, score_of
from inference.volume import Arrangement
from models.contract import FloatArray, Prediction, Reason
from models.manifest import Label, Manifest


@dataclass(frozen=True)
class Evidence:
    """Everything one model's judgement rests on; `slices` are in anatomical order."""

    series_uid: str
    slices: tuple[ScoredSlice, ...]
    arrangement: Arrangement
    inapplicable: tuple[Reason, ...]
    prediction: Prediction
    in_distribution: tuple[bool, ...]


def gather(
    series_uid: str,
    slices: Sequence[ScoredSlice],
    arrangement: Arrangement,
    inapplicable: tuple[Reason, ...],
    manifest: Manifest,
    model: int,
) -> Evidence:
    """Put the slices in order and aggregate the scores of the `model`-th runtime."""
    ordered = tuple(slices[index] for index in arrangement.order)
    scores = [item.scores[model] for item in ordered]
    limit = manifest.ood_limit
    return Evidence(
        series_uid=series_uid,
        slices=ordered,
        arrangement=arrangement,
        inapplicable=inapplicable,
        prediction=predict(scores, manifest),
        in_distribution=tuple(
            item.quality.usable and score.ood_score <= limit
            for item, score in zip(ordered, scores, strict=True)
        ),
    )


def judge(evidence: Evidence, manifest: Manifest) -> tuple[GateResult, ...]:
    """Ask every gate, in this order, also after one has failed: the reader sees them all.

    applicability, quality, geometry, out-of-distribution, uncertainty: from what would make
    the question meaningless to what would make the answer doubtful.
    """
    prediction = evidence.prediction
    claim = claim_of(prediction, manifest)
    return (
        judge_applicability(evidence.inapplicable),
        judge_quality([item.quality for item in evidence.slices], prediction.window),
        *judge_geometry(evidence.arrangement.problems),
        judge_distribution(
            evidence.in_distribution, prediction.window, claim.is_negative, manifest
        ),
        judge_uncertainty(claim, prediction),
    )


def outcome_of(gates: Sequence[GateResult], claim: Claim) -> Outcome:
    """A claim is stated only if every gate held."""
    if claim.label is None or not all(gate.passed for gate in gates):
        return Outcome.INDETERMINATE
    return Outcome.NO_FINDING if claim.is_negative else Outcome.FINDING


def result_of(evidence: Evidence, gates: tuple[GateResult, ...], runtime: Runtime) -> ModelResult:
    """The model's result without its explanation, which is drawn by `explain`."""
    manifest, prediction = runtime.package.manifest, evidence.prediction
    claim = claim_of(prediction, manifest)
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
        series_uid=evidence.series_uid,
        outcome=outcome,
        finding=next((chance for chance in chances if chance.key == found), None),
        probabilities=chances,
        gates=gates,
        slices=tuple(_slice_results(evidence)),
        slices_used=tuple(index + 1 for index in prediction.window),
        deciding_slice=prediction.deciding_slice + 1,
        explanation=None,
    )


def explain(evidence: Evidence, runtime: Runtime, *, stated: bool, pool: Executor) -> Explanation:
    """Draw what speaks for the strongest finding in the deciding slice, and test the map.

    `stated` is whether that finding is the result; a map of what was not stated says so.
    The map is tested, and pictures are compressed, on `pool` while others are drawn.
    """
    manifest, prediction = runtime.package.manifest, evidence.prediction
    label = claim_of(prediction, manifest).strongest_finding
    index = manifest.labels.index(label)
    decisive = evidence.slices[prediction.deciding_slice]
    score = prediction.scores[prediction.deciding_slice]
    heat = heatmap(score.class_maps, index)
    image, _ = model_input(decisive.image, manifest.input)

    def probability(shown: FloatArray) -> float:
        return score_of(runtime, runtime.run(shown)).probabilities[index]

    drop = pool.submit(deletion_drop, image, heat, score.probabilities[index], probability)
    drawn = render(
        decisive.image, heat, manifest.input, label.display, stated=stated, encoders=pool
    )
    return Explanation(
        method=manifest.explanation.method,
        layer=manifest.explanation.layer,
        label_key=label.key,
        model_sha256=runtime.sha256,
        slice_number=prediction.deciding_slice + 1,
        sop_instance_uid=decisive.image.sop_instance_uid,
        frame=decisive.image.frame,
        heatmap=heat,
        deletion_drop=drop.result(),
        image_png=drawn.image_png,
        overlay_png=drawn.overlay_png,
        figure_png=drawn.figure_png,
    )


def _label_probability(label: Label, prediction: Prediction) -> LabelProbability:
    return LabelProbability(
        key=label.key,
        display=label.display,
        probability=prediction.probabilities[label.key],
        threshold=label.threshold,
        negative=label.role == "negative",
        coding=label.coding,
    )


def _slice_results(evidence: Evidence) -> list[SliceResult]:
    return [
        SliceResult(
            number=number,
            sop_instance_uid=item.image.sop_instance_uid,
            frame=item.image.frame,
            probabilities=score.probabilities,
            ood_score=score.ood_score,
            in_distribution=inside,
        )
        for number, (item, score, inside) in enumerate(
            zip(evidence.slices, evidence.prediction.scores, evidence.in_distribution, strict=True),
            start=1,
        )
    ]
