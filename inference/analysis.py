"""What an analysis says: frozen values that leave this package, and nothing else does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from models.contract import Coding, FloatArray, ImageSlice, Reason

__all__ = [
    "Analysis",
    "Explanation",
    "GateResult",
    "HeatMap",
    "LabelProbability",
    "Measurement",
    "ModelResult",
    "ModelUse",
    "Outcome",
    "Reason",
    "SeriesImages",
    "SeriesUse",
    "SliceOutline",
    "SliceResult",
    "StudyIdentity",
]


_LEAST_STORED, _MOST_STORED = 0.01, 0.99

HeatMap = npt.NDArray[np.float16] | npt.NDArray[np.float32]
"""(rows, columns) of a model's cells, 0 to 1."""


class Outcome(StrEnum):
    """The five things that may be said; they are never mixed up.

    `NO_FINDING` is said only if it was computed and every gate held. `MEASURED` says that
    structures were outlined and measured, and nothing of disease.
    """

    FINDING = "finding"
    INDETERMINATE = "indeterminate"
    MEASURED = "measured"
    NO_FINDING = "no-finding"
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

    @property
    def stored(self) -> float:
        """The probability as a record may hold it: 0.01 to 0.99, thousandths, never rounded up.

        No model knows 0 or 1, and a number rounded up could leave the band that the card says.
        """
        bounded = min(max(_LEAST_STORED, float(self.probability)), _MOST_STORED)
        # a float32 lies up to 3e-8 below the decimal that it was made of
        return math.floor(bounded * 1000 + 1e-4) / 1000


@dataclass(frozen=True)
class SliceResult:
    """One slice as the model saw it; `number` counts from 1 in anatomical order.

    `probabilities` are empty in a segmentation; `ood_score` is ``None`` where the model has no such
    score, or was not run on the slice. `problem` is a code of why the image may decide nothing
    (see `inference.gates.quality`), ``None`` for a usable one.
    """

    number: int
    sop_instance_uid: str
    frame: int
    probabilities: tuple[float, ...]
    ood_score: float | None
    in_distribution: bool
    problem: str | None = None


@dataclass(frozen=True)
class SliceOutline:
    """What a segmentation model outlined on one slice; `slice_number` counts from 1.

    `mask` is bool (rows, columns) of the source image. Each of `contours` is float32 (points, 2),
    (column, row) in the source image's pixels, closed (the first point follows the last), along the
    edges of pixels: the centre of the first pixel is (0, 0), so its corner is (-0.5, -0.5). An
    outer edge and the edge of a hole are contours of their own, of opposite direction.
    `area_fraction` is of the image; `area_mm2` is ``None`` when the spacing is not known.
    `mean_probability` is the mean of the pixels within.
    """

    slice_number: int
    sop_instance_uid: str
    frame: int
    mask: npt.NDArray[np.bool_]
    contours: tuple[FloatArray, ...]
    area_fraction: float
    area_mm2: float | None
    mean_probability: float


@dataclass(frozen=True)
class Measurement:
    """One number that was measured on one slice; `unit` is a UCUM code ("mm2", "%").

    `method` says how, in words; `coding` names the structure that was measured, if it has a code.
    """

    key: str
    display: str
    value: float
    unit: str
    coding: Coding | None
    method: str
    slice_number: int


@dataclass(frozen=True)
class Explanation:
    """Why: the map of the deciding slice, and its renderings.

    `method` is how the map was made. "cam": the class activation map. "cells": how much the label's
    score falls without each cell of the last feature map. "occlusion": how much its probability
    falls with each part of the image blanked. "outline": each pixel's probability of belonging to
    what was outlined.
    `heatmap` is float32 (rows, columns) of the model's cells, 0 to 1, for `label_key`.
    `deletion_drop` is how much the label's probability falls when the strongest fifth of the cells
    is blanked (Petsiuk et al. 2018): near zero means that the map explains little; ``None`` for an
    outline.
    The three PNGs have equal size: `image_png` the windowed slice with orientation marks,
    `overlay_png` the heat-map (and the contours) alone (RGBA), `figure_png` both with legend and
    caption.
    `others` are the maps of the other slices by slice number, where the model makes one of every
    slice that it reads: by the same method, for the same label, on the same scale.
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
    others: Mapping[int, HeatMap] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class SeriesUse:
    """What became of one series of the study, read and analysed or left out, and why."""

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
    `slices_used` are numbers of the slices in the deciding window; for a segmentation, of those
    that it was run on.
    `prediction_set` are the keys of the labels that the model cannot tell apart at the coverage
    its manifest states, the most probable first; empty when the manifest states none.
    `task` is "classification" or "segmentation". `structure` is what a segmentation outlines, in
    words. A segmentation has no `probabilities`. `outlines` are the slices on which something was
    outlined. `follows` is the id of the model whose answer this one was run on, or empty.
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
    prediction_set: tuple[str, ...] = ()
    task: str = "classification"
    structure: str = ""
    outlines: tuple[SliceOutline, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    follows: str = ""

    @property
    def reasons(self) -> tuple[GateResult, ...]:
        """The gates that did not hold."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True)
class SeriesImages:
    """The images of one analysed series, in anatomical order: as many as may be held for the eye.

    `numbers` are those of the slices, from 1; of `total` slices that were read. The slice that
    decides an answer is always among them.
    """

    series_uid: str
    slices: tuple[ImageSlice, ...]
    numbers: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Analysis:
    """Everything that was learnt of one study.

    `instance_digest` is the SHA-256 over the sorted (SOP Instance UID, SHA-256 of bytes) of every
    instance read: two analyses with the same digest saw the same images.
    `steps_ms` says how long each step took, wall-clock; overlapping steps overlap.
    `images` are those of every series that was answered.
    """

    identity: StudyIdentity
    instance_digest: str
    outcome: Outcome
    results: tuple[ModelResult, ...]
    series: tuple[SeriesUse, ...]
    models_not_run: tuple[ModelUse, ...]
    steps_ms: Mapping[str, float]
    images: tuple[SeriesImages, ...] = ()
