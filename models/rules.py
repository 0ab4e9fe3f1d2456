"""What the keys of a manifest must say together: each rule yields an error that names its key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING

from models.attributes import UNKNOWN
from models.errors import ManifestError
from models.lines import KeyPath
from models.manifest_parts import EACH_SLICE
from models.schema import wrong

if TYPE_CHECKING:  # the manifest is read with these rules
    from models.manifest import Manifest

SCHEMA = 2
FP32, INT8 = "fp32.onnx", "int8.onnx"
HEAD = "head.onnx"
"""The graph of the head alone, in a package that is explained by its cells."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"(reference/)?[^./\\][^/\\]*")  # in the folder, or beside the reference cases
_KINDS = ("usefulness", "fairness", "safety")
_OUTPUTS = ("logits", "feature_map", "class_weights", "ood_score", "mask_logits")


def problems(manifest: Manifest) -> Iterator[ManifestError]:
    """Everything that is wrong with a manifest whose keys and types are right."""
    for rule in (
        _names,
        _files,
        _input,
        _applicability,
        _labels,
        _calibration,
        _precision,
        _chain,
        _texts,
        _key_metrics,
        _classification if manifest.task == "classification" else _segmentation,
        _prediction_set,
        _outline,
        _ood,
    ):
        yield from rule(manifest)


def _names(manifest: Manifest) -> Iterator[ManifestError]:
    for key in ("id", "version", "title"):
        if not getattr(manifest, key).strip():
            yield wrong((key,), "must not be empty.")


def _files(manifest: Manifest) -> Iterator[ManifestError]:
    if FP32 not in manifest.files:
        yield wrong(("files",), f"does not list {FP32!r}.")
    for name, digest in manifest.files.items():
        if not _FILE.fullmatch(name):
            yield wrong(("files",), "names a file outside the package's folder.")
        if not _SHA256.fullmatch(digest):
            yield wrong(("files", name), "is not a SHA-256 of 64 hexadecimal digits.")
    if (HEAD in manifest.files) is not (manifest.explanation.method == "cells"):
        yield wrong(("files",), f"lists {HEAD!r} just where 'explanation.method' is \"cells\".")


def _input(manifest: Manifest) -> Iterator[ManifestError]:
    spec = manifest.input
    if not 0 <= spec.low_percentile < spec.high_percentile <= 100:
        yield wrong(("input",), "has percentiles that are not 0 <= low < high <= 100.")
    if spec.rows < 1 or spec.columns < 1:
        yield wrong(("input",), "has no size.")


def _applicability(manifest: Manifest) -> Iterator[ManifestError]:
    rule = manifest.applies_to
    if not rule.modalities:
        yield wrong(("applies_to", "modalities"), "is empty.")
    youngest, oldest = rule.min_age_years or 0.0, rule.max_age_years
    if youngest < 0 or (oldest is not None and oldest < youngest):
        yield wrong(("applies_to",), "has ages that are not 0 <= lowest <= highest.")


def _labels(manifest: Manifest) -> Iterator[ManifestError]:
    keys = [label.key for label in manifest.labels]
    for index, label in enumerate(manifest.labels):
        if keys.index(label.key) != index:
            yield wrong(("labels", index, "key"), "names a label twice.")
        if not 0 < label.threshold <= 1:
            yield wrong(("labels", index, "threshold"), "is not above 0 and at most 1.")
        if label.coding and label.role == "negative":
            yield wrong(("labels", index, "coding"), "gives the negative label a code.")


def _calibration(manifest: Manifest) -> Iterator[ManifestError]:
    if not manifest.calibration.temperature > 0:
        yield wrong(("calibration", "temperature"), "is not above 0.")
    yield from _fractions(manifest.calibration, ("calibration",), "ece_test")


def _precision(manifest: Manifest) -> Iterator[ManifestError]:
    chosen = manifest.precision
    if (INT8 in manifest.files) is not (chosen.int8 is not None):
        yield wrong(("precision", "int8"), f"is stated just where 'files' lists {INT8!r}.")
    if chosen.preferred == "int8" and not (chosen.int8 and chosen.int8.gates_held):
        yield wrong(("precision", "preferred"), 'is "int8" though its gates did not hold.')
    if not chosen.reason.strip():
        yield wrong(("precision", "reason"), "must not be empty.")
    yield from _fractions(chosen, ("precision",), "disagreement_limit")
    if chosen.int8:
        yield from _fractions(chosen.int8, ("precision", "int8"), "agreement")


def _chain(manifest: Manifest) -> Iterator[ManifestError]:
    chain = manifest.chain
    if not chain:
        return
    if chain.after == manifest.id:
        yield wrong(("chain", "after"), "is the model itself.")
    if not chain.when:
        yield wrong(("chain", "when"), "is empty.")
    if not set(chain.witnesses) <= set(chain.when):
        yield wrong(("chain", "witnesses"), "holds a label that is not in 'chain.when'.")


def _texts(manifest: Manifest) -> Iterator[ManifestError]:
    yield from _blanks(manifest.attributes, ("attributes",))
    yield from _blanks(manifest.chai, ("chai",))
    for index, metric in enumerate(manifest.chai.key_metrics):
        yield from _blanks(metric, ("chai", "key_metrics", index))


def _key_metrics(manifest: Manifest) -> Iterator[ManifestError]:
    stated = {metric.kind for metric in manifest.chai.key_metrics}
    for kind in _KINDS:
        if kind not in stated:
            yield wrong(("chai", "key_metrics"), f'has no metric of kind "{kind}".')
    if not _is_date(manifest.chai.release_date):
        yield wrong(("chai", "release_date"), f'is neither a date YYYY-MM-DD nor "{UNKNOWN}".')


def _classification(manifest: Manifest) -> Iterator[ManifestError]:
    roles = [label.role for label in manifest.labels]
    if roles.count("negative") != 1 or "structure" in roles or len(roles) < 2:
        yield wrong(("labels",), "must hold one negative label and at least one finding.")
    if manifest.aggregation is EACH_SLICE:
        yield wrong(("aggregation",), "is missing.")
    if manifest.aggregation.rule != "neighbouring-slice mean":
        yield wrong(("aggregation", "rule"), 'is not "neighbouring-slice mean".')
    if manifest.aggregation.window < 1:
        yield wrong(("aggregation", "window"), "is below 1.")
    name = "negative_min_in_distribution_fraction"
    yield from _fractions(manifest.aggregation, ("aggregation",), name)
    if manifest.explanation.method == "outline":
        yield wrong(("explanation", "method"), "is for a segmentation.")
    maps = {"cam": {"feature_map", "class_weights"}, "cells": {"feature_map"}}
    wanted = {"logits", "ood_score"} | maps.get(manifest.explanation.method, set())
    yield from _outputs(manifest, wanted, wanted)


def _segmentation(manifest: Manifest) -> Iterator[ManifestError]:
    if [label.role for label in manifest.labels] != ["structure"]:
        yield wrong(("labels",), "must hold one label, of role structure.")
    elif not manifest.labels[0].coding:
        yield wrong(("labels", 0, "coding"), "is missing: a structure has a code.")
    if manifest.explanation.method != "outline":
        yield wrong(("explanation", "method"), 'is not "outline", as a segmentation\'s must be.')
    if manifest.aggregation is not EACH_SLICE:
        yield wrong(("aggregation",), "is for a classification.")
    yield from _outputs(manifest, {"mask_logits"}, {"mask_logits", "ood_score"})


def _outputs(
    manifest: Manifest, needed: Iterable[str], allowed: Iterable[str]
) -> Iterator[ManifestError]:
    for name in _OUTPUTS:
        stated = getattr(manifest.outputs, name)
        if stated is None and name in needed:
            yield wrong(("outputs", name), "is missing.")
        if stated is not None and name not in allowed:
            method = manifest.explanation.method
            yield wrong(("outputs", name), f'has no use in a {manifest.task} with "{method}".')


def _prediction_set(manifest: Manifest) -> Iterator[ManifestError]:
    if not manifest.prediction_set:
        return
    if manifest.task != "classification":
        yield wrong(("prediction_set",), "is for a classification.")
    keys = ("coverage", "threshold", "coverage_test")
    yield from _fractions(manifest.prediction_set, ("prediction_set",), *keys)


def _outline(manifest: Manifest) -> Iterator[ManifestError]:
    outline = manifest.outline
    if (outline is not None) is not (manifest.task == "segmentation"):
        yield wrong(("outline",), "is stated just where 'task' is \"segmentation\".")
    if outline and outline.parts < 1:
        yield wrong(("outline", "parts"), "is below 1.")
    if outline:
        yield from _fractions(outline, ("outline",), "min_area_fraction")


def _ood(manifest: Manifest) -> Iterator[ManifestError]:
    if (manifest.out_of_distribution is None) is not (manifest.outputs.ood_score is None):
        sentence = "is stated just where 'outputs.ood_score' is."
        yield wrong(("out_of_distribution",), sentence)


def _fractions(part: object, where: KeyPath, *names: str) -> Iterator[ManifestError]:
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            yield wrong((*where, name), "is not between 0 and 1.")


def _blanks(part: object, where: KeyPath) -> Iterator[ManifestError]:
    for field in dataclasses.fields(part):  # type: ignore[arg-type]  # every part is a dataclass
        value = getattr(part, field.name)
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and not text.strip() for text in texts):
            yield wrong((*where, field.name), f'is empty; "{UNKNOWN}" may be said.')


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return text == UNKNOWN
    return len(text) == len("2026-01-31")
