"""What a segmentation outlined on one series -> its result: gate, measure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from inference.analysis import GateResult, Measurement, ModelResult, Outcome, SliceResult
from inference.evidence.gathered import MaskEvidence
from inference.gates.applicability import judge_applicability
from inference.gates.geometry import judge_geometry
from inference.gates.out_of_distribution import judge_distribution
from inference.gates.outline import judge_outline
from inference.gates.quality import judge_quality
from inference.runtime import Runtime
from inference.segmentation import largest, measure
from models.manifest import Manifest


def judge_masks(
    evidence: MaskEvidence, manifest: Manifest, least: float | None = None
) -> tuple[GateResult, ...]:
    """Ask every gate, in this order, also after one has failed: the reader sees them all.

    applicability, quality, geometry, out-of-distribution (if the model has such a score), outline.
    Where the model is a witness of a negative, `least` is the fraction of the series that must be
    like its training data; then nothing has to be outlined.
    """
    outlined = [outline.slice_number - 1 for outline in evidence.outlines]
    deciding = outlined or ([] if least is not None else sorted(evidence.scores))
    return (
        judge_applicability(evidence.inapplicable),
        judge_quality([item.quality for item in evidence.series.slices], sorted(evidence.scores)),
        *judge_geometry(evidence.series.arrangement.problems),
        *_judge_distribution(evidence, deciding, manifest, least),
        *([judge_outline(len(outlined))] if least is None or outlined else []),
    )


def _judge_distribution(
    evidence: MaskEvidence, deciding: list[int], manifest: Manifest, least: float | None
) -> Iterator[GateResult]:
    if manifest.out_of_distribution:
        yield judge_distribution(evidence.in_distribution, deciding, least)


def mask_result(
    evidence: MaskEvidence, runtime: Runtime, *, follows: str = "", least: float | None = None
) -> ModelResult:
    """The model's result without its explanation, which is drawn by `inference.explaining`.

    `follows` is the id of the model after which it was run, `least` as in `judge_masks`.
    """
    manifest = runtime.package.manifest
    gates = judge_masks(evidence, manifest, least)
    held = all(gate.passed for gate in gates)
    deciding = evidence.deciding
    return ModelResult(
        model_id=manifest.id,
        model_version=manifest.version,
        model_title=manifest.title,
        model_sha256=runtime.sha256,
        precision=runtime.precision,
        precision_reason=runtime.reason,
        series_uid=evidence.series.series_uid,
        outcome=Outcome.MEASURED if held else Outcome.INDETERMINATE,
        finding=None,
        probabilities=(),
        gates=gates,
        slices=tuple(_slice_results(evidence)),
        slices_used=tuple(index + 1 for index in sorted(evidence.scores)),
        deciding_slice=None if deciding is None else deciding + 1,
        explanation=None,
        task=manifest.task,
        structure=manifest.structure.display,
        outlines=evidence.outlines,
        measurements=_measurements(evidence, manifest) if held else (),
        follows=follows,
    )


def _measurements(evidence: MaskEvidence, manifest: Manifest) -> tuple[Measurement, ...]:
    """Of the largest outline: one number that can be compared from study to study."""
    most = largest(evidence.outlines)
    if most is None:
        return ()
    return measure(most, evidence.series.slices[most.slice_number - 1].place, manifest)


def _slice_results(evidence: MaskEvidence) -> Iterator[SliceResult]:
    for index, item in enumerate(evidence.series.slices):
        score = evidence.scores.get(index)
        known = score is not None and math.isfinite(score.ood_score)
        yield SliceResult(
            number=index + 1,
            sop_instance_uid=item.image.sop_instance_uid,
            frame=item.image.frame,
            probabilities=(),
            ood_score=score.ood_score if score and known else None,
            in_distribution=evidence.in_distribution[index],
            problem=item.quality.problem,
        )
