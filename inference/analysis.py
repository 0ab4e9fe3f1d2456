"""What an analysis says: frozen values that leave this package, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.contract import Coding, FloatArray, Reason

__all__ = [
    "Analysis",
    "Explanation",
    "GateResult",
    "LabelProbability",
    "ModelResult",
    "ModelUse",
    "Outcome",
    "Reason",
    "SeriesUse",
    "SliceResult",
    "StudyIdentity",
]


class Outcome(StrEnum):
    """The four things that may be said; they are never mixed up.

    `NO_FINDING` is said only if it was computed and every gate held.
    """

    FINDING = "finding"
    NO_FINDING = "no-finding"
    INDETERMINATE = "indeterminate"
    NOT_ANALYSED = "not-analysed"


@dataclass(frozen=True)
class StudyIdentity:
    """Whose study this is, as every instance read agrees (PS3.3 C.7.1.1, C.7.2.1). PHI."""

    study_uid: str
    patient_id: str = ""
    patient_id_issuer: str = ""
    accession_number: str = ""


@dataclass(frozen=True)
class GateResult:
    """One safety gate's judgement. `value` and `limit` are what was compared, when numbers were."""

    gate: str
    passed: bool
    kind: str
    sentence: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class LabelProbability:
    """The calibrated probability of one label, with the threshold at which it is stated."""

    key: str
    display: str
    probability: float
    threshold: float
    negative: bool
    coding: Coding | None = None


@dataclass(frozen=True)
class SliceResult:
    """One slice as the model saw it; `number` counts from 1 in anatomical order."""

    number: int
    sop_instance_uid: str
    frame: int
    probabilities: tuple[float, ...]
    ood_score: float
    in_distribution: bool


@dataclass(frozen=True)
class Explanation:
    """Why: the class activation map of the deciding slice, and its renderings.

    `heatmap` is float32 (rows, columns) of the model's cells, 0 to 1, for `label_key`.
    `deletion_drop` is how much the label's probability falls when the strongest fifth of the cells
    is blanked (Petsiuk et al. 2018): near zero means that the map explains little.
    The three PNGs have equal size: `image_png` the windowed slice with orientation marks,
    `overlay_png` the heat-map alone (RGBA), `figure_png` both with legend and caption.
    """

    method: str
    layer: str
    label_key: str
    model_sha256: str
    slice_number: int
    sop_instance_uid: str
    frame: int
    heatmap: FloatArray
    deletion_drop: float | None
    image_png: bytes
    overlay_png: bytes
    figure_png: bytes


@dataclass(frozen=True)
class SeriesUse:
    """What became of one series of the study: read and analysed, or left out, and why."""

    series_uid: str
    series_number: int | None
    modality: str | None
    used: bool
    instances: int | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class ModelUse:
    """A model that was not run, and why (for at least one series, or for the study)."""

    model_id: str
    model_version: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class ModelResult:
    """One model's answer on one series.

    `finding` is the label stated, ``None`` unless `outcome` is `FINDING`.
    `slices_used` are numbers of the slices in the deciding window.
    """

    model_id: str
    model_version: str
    model_title: str
    model_sha256: str
    precision: str
    precision_reason: str
    series_uid: str
    outcome: Outcome
    finding: LabelProbability | None
    probabilities: tuple[LabelProbability, ...]
    gates: tuple[GateResult, ...]
    slices: tuple[SliceResult, ...]
    slices_used: tuple[int, ...]
    deciding_slice: int | None
    explanation: Explanation | None

    @property
    def reasons(self) -> tuple[GateResult, ...]:
        """The gates that did not hold."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True)
class Analysis:
    """Everything that was learnt of one study.

    `instance_digest` is the SHA-256 over the sorted (SOP Instance UID, SHA-256 of bytes) of every
    instance read: two analyses with the same digest saw the same images.
    `steps_ms` says how long each step took, wall-clock; overlapping steps overlap.
    """

    identity: StudyIdentity
    instance_digest: str
    outcome: Outcome
    results: tuple[ModelResult, ...]
    series: tuple[SeriesUse, ...]
    models_not_run: tuple[ModelUse, ...]
    steps_ms: Mapping[str, float]
