"""What a model package says of itself: the schema of `model.toml`, key by key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models import schema
from models.attributes import Chai, KeyMetric, SourceAttributes
from models.errors import ManifestError
from models.manifest_parts import (
    EACH_SLICE,
    Aggregation,
    Applicability,
    Calibration,
    Chain,
    ExplanationSpec,
    InputSpec,
    Int8Figures,
    Label,
    Outline,
    OutOfDistribution,
    Outputs,
    Precision,
    PrecisionName,
    PredictionSet,
    TrainingData,
)
from models.rules import FP32, HEAD, INT8, SCHEMA, problems

__all__ = [
    "FP32",
    "HEAD",
    "INT8",
    "MANIFEST_NAME",
    "Aggregation",
    "Applicability",
    "Calibration",
    "Chai",
    "Chain",
    "ExplanationSpec",
    "InputSpec",
    "Int8Figures",
    "KeyMetric",
    "Label",
    "Manifest",
    "OutOfDistribution",
    "Outline",
    "Outputs",
    "Precision",
    "PrecisionName",
    "PredictionSet",
    "SourceAttributes",
    "TrainingData",
    "parse_manifest",
    "read_manifest",
]

MANIFEST_NAME = "model.toml"


@dataclass(frozen=True)
class Manifest:
    """A parsed and checked `model.toml`.

    A classification has `aggregation` and `out_of_distribution`, findings and one negative. A
    segmentation has `outline` and one structure, and perhaps `out_of_distribution`.
    """

    schema: int
    id: str
    version: str
    title: str
    task: Literal["classification", "segmentation"]
    stage: Literal["research"]
    licence: str
    developer: str
    intended_use: str
    not_for: tuple[str, ...]
    limits: tuple[str, ...]
    data: tuple[TrainingData, ...]
    files: Mapping[str, str]
    applies_to: Applicability
    input: InputSpec
    outputs: Outputs
    labels: tuple[Label, ...]
    calibration: Calibration
    precision: Precision
    explanation: ExplanationSpec
    attributes: SourceAttributes
    chai: Chai
    chain: Chain | None = None
    out_of_distribution: OutOfDistribution | None = None
    aggregation: Aggregation = EACH_SLICE
    prediction_set: PredictionSet | None = None
    outline: Outline | None = None

    @property
    def negative(self) -> int:
        """The index of a classification's negative label."""
        return next(i for i, label in enumerate(self.labels) if label.role == "negative")

    @property
    def findings(self) -> tuple[int, ...]:
        """The indices of the labels that are findings; none in a segmentation."""
        return tuple(i for i, label in enumerate(self.labels) if label.role == "finding")

    @property
    def structure(self) -> Label:
        """What a segmentation outlines: its one label."""
        return next(label for label in self.labels if label.role == "structure")

    @property
    def ood_limit(self) -> float:
        """The `ood_score` up to which a slice is like the data; infinite without such a score."""
        return self.out_of_distribution.threshold if self.out_of_distribution else math.inf


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/model.toml`.

    Raises ManifestError with a sentence that names the file, the line and the key.
    """
    file = f"{folder.name}/{MANIFEST_NAME}"
    try:
        text = (folder / MANIFEST_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"The manifest {file} cannot be read.") from error
    return parse_manifest(text, file)


def parse_manifest(text: str, file: str = MANIFEST_NAME) -> Manifest:
    """Parse and check the text of a manifest; `file` is what errors call it. Raises ManifestError.

    The first thing that is wrong is told: keys and types, then what the keys say together.
    """
    table = schema.parse_toml(text, file)
    if table.get("schema") != SCHEMA:  # told first: another version has other keys
        problem = schema.wrong(("schema",), f"is not {SCHEMA}, the only version read here.")
        raise schema.located(problem, text, file)
    manifest = schema.read_toml(Manifest, text, file)
    for problem in problems(manifest):
        raise schema.located(problem, text, file)
    return manifest
