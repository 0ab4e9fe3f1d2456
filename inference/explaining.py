"""Why: the map of the deciding slice, drawn and, where it explains an answer, tested.

Where the model makes such a map of every slice, the others are handed on as they are.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from inference.aggregation import calibrated, claim_of
from inference.analysis import Explanation, HeatMap, ModelResult, Outcome, SliceOutline
from inference.evidence.gathered import ClassEvidence, Evidence, MaskEvidence
from inference.explain.ablation import cell_drops, patch_drops
from inference.explain.cam import heatmap
from inference.explain.faithfulness import deletion_drop
from inference.explain.overlay import Rendering, render, render_outline
from inference.runtime import Runtime
from inference.scoring import ScoredSlice, model_input
from models.contract import FloatArray, SliceScore
from models.manifest import HEAD


def explain(
    evidence: Evidence, runtime: Runtime, result: ModelResult, pool: Executor
) -> Explanation | None:
    """Draw what the result rests on; ``None`` where there is nothing to be seen.

    A classification that found nothing has nothing that speaks for a finding, and a segmentation
    that outlined nothing, as a witness should, has no outline.
    """
    if isinstance(evidence, MaskEvidence):
        if result.outcome is Outcome.MEASURED and not result.outlines:
            return None
        return _explain_outline(evidence, runtime, result, pool)
    if result.outcome is Outcome.NO_FINDING:
        return None
    return _explain_label(evidence, runtime, stated=result.finding is not None, pool=pool)


def _explain_label(
    evidence: ClassEvidence, runtime: Runtime, *, stated: bool, pool: Executor
) -> Explanation:
    """Draw what speaks for the strongest finding in the deciding slice, and test the map.

    `stated` is whether that finding is the result; a map of what was not stated says so.
    The map is tested, and pictures are compressed, on `pool` while others are drawn.
    """
    manifest, prediction = runtime.package.manifest, evidence.prediction
    label = claim_of(prediction, manifest).strongest_finding
    index = manifest.labels.index(label)
    decisive = evidence.series.slices[prediction.deciding_slice]
    score = prediction.scores[prediction.deciding_slice]
    image, _ = model_input(decisive.image, manifest.input)
    method, layer, speaking = _map(runtime, image, score, index)
    heat = heatmap(speaking)

    def probability(shown: FloatArray) -> float:
        logits = runtime.run(shown).logits
        return calibrated(logits, manifest.calibration.temperature)[index]

    drop = pool.submit(deletion_drop, image, heat, score.probabilities[index], probability)
    drawn = render(
        decisive.image, heat, manifest.input, label.display, stated=stated, encoders=pool
    )
    number = prediction.deciding_slice + 1
    made = (method, layer, label.key, heat)
    explained = _explanation(made, drop.result(), decisive, number, runtime, drawn)
    return replace(explained, others=_other_maps(evidence, index))


def _other_maps(evidence: ClassEvidence, label: int) -> dict[int, HeatMap]:
    """The class activation maps of the slices that do not decide, if there are any.

    An image that shows nothing speaks for nothing, whatever a model sees in it.
    """
    scores, decides = evidence.prediction.scores, evidence.prediction.deciding_slice
    if not scores[decides].class_maps.size:
        return {}
    scale, usable = scores[decides].class_maps[label], set(evidence.series.usable)
    return {
        index + 1: heatmap(score.class_maps[label] if index in usable else 0 * scale, scale)
        for index, score in enumerate(scores)
        if index != decides
    }


def _map(
    runtime: Runtime, image: FloatArray, score: SliceScore, label: int
) -> tuple[str, str, FloatArray]:
    """Method, layer and map (down, across): the most exact one that the package allows."""
    manifest = runtime.package.manifest
    layer, names = manifest.explanation.layer, manifest.outputs
    if score.class_maps.size:
        return "cam", layer, score.class_maps[label]
    if HEAD in manifest.files:
        feature_map = runtime.run(image).feature_map
        return "cells", layer, cell_drops(feature_map, label, runtime.head_logits)

    def logits(images: FloatArray) -> FloatArray:
        return runtime.named_outputs(images)[names.logits or ""]

    return "occlusion", "input", patch_drops(image, label, logits)


def _explain_outline(
    evidence: MaskEvidence, runtime: Runtime, result: ModelResult, pool: Executor
) -> Explanation | None:
    """Draw the outline over its probability map, on the slice where it is largest."""
    index, manifest = evidence.deciding, runtime.package.manifest
    if index is None:
        return None
    decisive, number = evidence.series.slices[index], index + 1
    outline = next((each for each in result.outlines if each.slice_number == number), None)
    probability = evidence.scores[index].probability.astype(np.float32)
    drawn = render_outline(
        decisive.image,
        probability,
        manifest.input,
        outline.contours if outline else (),
        f"{result.structure}{_size(outline)}",
        stated=result.outcome is Outcome.MEASURED,
        encoders=pool,
    )
    made = ("outline", manifest.explanation.layer, manifest.structure.key, probability)
    others = {i + 1: score.probability for i, score in evidence.scores.items() if i != index}
    return replace(_explanation(made, None, decisive, number, runtime, drawn), others=others)


def _size(outline: SliceOutline | None) -> str:
    if outline is None:
        return ""
    if outline.area_mm2 is None:
        return f", {100 * outline.area_fraction:.1f} % of the image"
    return f", {outline.area_mm2:,.0f} square mm"  # the font has no sign for a square


def _explanation(
    made: tuple[str, str, str, FloatArray],
    drop: float | None,
    decisive: ScoredSlice,
    number: int,
    runtime: Runtime,
    drawn: Rendering,
) -> Explanation:
    method, layer, label_key, heat = made
    return Explanation(
        method=method,
        layer=layer,
        label_key=label_key,
        model_sha256=runtime.sha256,
        slice_number=number,
        sop_instance_uid=decisive.image.sop_instance_uid,
        frame=decisive.image.frame,
        heatmap=heat,
        deletion_drop=drop,
        image_png=drawn.image_png,
        overlay_png=drawn.overlay_png,
        figure_png=drawn.figure_png,
    )
