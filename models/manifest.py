"""What a model package says of itself: the schema of `model.toml`, key by key."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models import schema
from models.contract import Coding, Role
from models.errors import ManifestError

MANIFEST_NAME = "model.toml"


@dataclass(frozen=True)
class TrainingData:
    """One data set that went into the model, and on what terms it may be used."""

    name: str
    use: str
    terms: str
    citation: str


@dataclass(frozen=True)
class Applicability:
    """Which series the model may be given.

    A series that states no body part is accepted; `excluded_words` (each one or more words, lower
    case) are looked for as whole words in the series description and the image type.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    excluded_words: tuple[str, ...]
    min_rows: int
    min_columns: int
    samples_per_pixel: int


@dataclass(frozen=True)
class InputSpec:
    """What the graph takes at `name`: one grey plane of `rows` x `columns`, float32, 0 to 1.

    The slice's values between its two percentiles (0 to 100) are spread over 0 to 1.
    """

    name: str
    rows: int
    columns: int
    low_percentile: float
    high_percentile: float


@dataclass(frozen=True)
class Outputs:
    """The names of the graph's outputs by what they are for; N slices, L labels.

    `logits` float32 (N, L) before temperature; `feature_map` (N, C, h, w), whose mean over h and w
    is what the classifier sees; `class_weights` (L, C), so that a class activation map is
    `tensordot(class_weights, feature_map[n], 1)`; `ood_score` (N,), larger = less like the data.
    """

    logits: str
    feature_map: str
    class_weights: str
    ood_score: str


@dataclass(frozen=True)
class Label:
    """One answer. It is stated only from `threshold` (calibrated probability) upwards.

    A `negative` label has no code: that one model found nothing is not "normal".
    `coding_verified` is false when no licensed terminology browser has confirmed the code.
    """

    key: str
    display: str
    role: Role
    threshold: float
    coding: Coding | None = None
    coding_verified: bool = False


@dataclass(frozen=True)
class Calibration:
    """`probability = softmax(logits / temperature)`; `ece_test` is what error remains on test."""

    method: Literal["temperature scaling"]
    temperature: float
    ece_test: float


@dataclass(frozen=True)
class OutOfDistribution:
    """A slice whose `ood_score` is above `threshold` is unlike the training data."""

    method: str
    threshold: float
    chosen: str


@dataclass(frozen=True)
class Aggregation:
    """How slices make a series.

    The series' probabilities are the mean over those `window` neighbouring slices in which any
    finding is most probable. The negative may be stated only if at least
    `negative_min_in_distribution_fraction` of all slices are in distribution.
    """

    rule: Literal["neighbouring-slice mean"]
    window: int
    negative_min_in_distribution_fraction: float


@dataclass(frozen=True)
class ExplanationSpec:
    """How the package can be explained: class activation maps (Zhou et al. 2016) of `layer`."""

    method: Literal["cam"]
    layer: str


@dataclass(frozen=True)
class Manifest:
    """A parsed and checked `model.toml`."""

    schema: int
    id: str
    version: str
    title: str
    task: Literal["classification"]
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
    out_of_distribution: OutOfDistribution
    aggregation: Aggregation
    explanation: ExplanationSpec

    @property
    def negative(self) -> int:
        """The index of the negative label."""
        return next(i for i, label in enumerate(self.labels) if label.role == "negative")

    @property
    def findings(self) -> tuple[int, ...]:
        """The indices of the labels that are findings."""
        return tuple(i for i, label in enumerate(self.labels) if label.role == "finding")


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/model.toml`. Raises ManifestError with a sentence that names the key."""
    try:
        text = (folder / MANIFEST_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"The manifest of {folder.name!r} cannot be read.") from error
    return parse_manifest(text)


def parse_manifest(text: str) -> Manifest:
    """Parse and check the text of a manifest. Raises ManifestError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"The manifest is not TOML: {error}.") from error
    manifest = schema.read(Manifest, table)
    for sentence in itertools.chain(_wrong_values(manifest), _wrong_labels(manifest.labels)):
        raise ManifestError(sentence)
    return manifest


def _wrong_values(manifest: Manifest) -> Iterator[str]:
    spec = manifest.input
    if manifest.schema != 1:
        yield "The manifest's key 'schema' is not 1, the only version this program reads."
    if not manifest.id or not manifest.version:
        yield "The manifest's keys 'id' and 'version' must not be empty."
    if "fp32.onnx" not in manifest.files:
        yield "The manifest's key 'files' does not list 'fp32.onnx'."
    if any("/" in name or "\\" in name or name.startswith(".") for name in manifest.files):
        yield "The manifest's key 'files' names a file outside the package's folder."
    if not 0 <= spec.low_percentile < spec.high_percentile <= 100:
        yield "The manifest's key 'input' has percentiles that are not 0 <= low < high <= 100."
    if spec.rows < 1 or spec.columns < 1:
        yield "The manifest's key 'input' has no size."
    if not manifest.calibration.temperature > 0:
        yield "The manifest's key 'calibration.temperature' is not above 0."
    if manifest.aggregation.window < 1:
        yield "The manifest's key 'aggregation.window' is below 1."
    if not 0 <= manifest.aggregation.negative_min_in_distribution_fraction <= 1:
        yield "The manifest's key 'aggregation' has a fraction that is not between 0 and 1."


def _wrong_labels(labels: tuple[Label, ...]) -> Iterator[str]:
    if sum(label.role == "negative" for label in labels) != 1 or len(labels) < 2:
        yield "The manifest's key 'labels' must hold one negative label and at least one finding."
    if len({label.key for label in labels}) != len(labels):
        yield "The manifest's key 'labels' has a label twice."
    if any(not 0 < label.threshold <= 1 for label in labels):
        yield "The manifest's key 'labels' has a threshold that is not above 0 and at most 1."
    if any(label.coding and label.role == "negative" for label in labels):
        yield "The manifest's key 'labels' gives the negative label a code."
