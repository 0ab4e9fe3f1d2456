"""What an explanation page says: frozen values, complete in themselves, nothing about a person.

A page is kept for weeks and opened without the study at hand, so everything it shows is copied
here: model data, coded labels, numbers, our own sentences, series numbers and modalities, slice
numbers. No name, identifier, UID or date of the patient's has a field to stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from pydantic import BaseModel, ConfigDict, Field

from fhir_mapping import wording
from fhir_mapping.codes import MODALITY
from inference.analysis import (
    Analysis,
    Explanation,
    GateResult,
    LabelProbability,
    Measurement,
    ModelResult,
    Outcome,
    Reason,
)
from models.manifest import Manifest

_SHA256 = r"^[0-9a-f]{64}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class CalibrationNotes(_Frozen):
    """How scores became probabilities; `ece` is what calibration error (0 to 1) remains on test."""

    method: str
    temperature: float
    ece: float


class ModelNotes(_Frozen):
    """What a person must know of a model to read its answer: all of it from the manifest.

    `assesses` are the findings it knows, in words; `not_for` and `limits` are sentences. `coverage`
    is the share of cases (0 to 1) in which its prediction set holds the true label, as stated and
    as measured on test. `files` are the names of those that the card's page serves.
    """

    stage: str = "research"
    intended_use: str = ""
    assesses: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    calibration: CalibrationNotes | None = None
    data: tuple[str, ...] = ()
    developer: str = ""
    licence: str = ""
    coverage: tuple[float, float] | None = None
    files: tuple[str, ...] = ()


def notes_of(manifest: Manifest, files: Sequence[str] = ()) -> ModelNotes:
    """What the page shows of a manifest; `files` are those that the card's page serves."""
    sets = manifest.prediction_set
    return ModelNotes(
        stage=manifest.stage,
        intended_use=manifest.intended_use,
        assesses=tuple(label.display for label in manifest.labels if label.role != "negative"),
        not_for=manifest.not_for,
        limits=manifest.limits,
        calibration=CalibrationNotes(
            method=manifest.calibration.method,
            temperature=manifest.calibration.temperature,
            ece=manifest.calibration.ece_test,
        ),
        data=tuple(data.name for data in manifest.data),
        developer=manifest.developer,
        licence=manifest.licence,
        coverage=(sets.coverage, sets.coverage_test) if sets else None,
        files=tuple(files),
    )


class PageReason(_Frozen):
    """Why something was not said or not done."""

    kind: str
    sentence: str


class PageLabel(_Frozen):
    """One label with its calibrated probability and the threshold at which it is stated."""

    key: str
    display: str
    probability: float
    threshold: float
    negative: bool = False


class PageGate(_Frozen):
    """One safety check: `value` and `limit` are what was compared, when numbers were."""

    gate: str
    passed: bool
    kind: str
    sentence: str
    value: float | None = None
    limit: float | None = None


class PageMeasurement(_Frozen):
    """One number that was measured on one slice; `unit` is a UCUM code, `method` in words."""

    key: str
    display: str
    value: float
    unit: str
    method: str
    slice_number: int


class PageOutline(_Frozen):
    """What was outlined on one slice: its part of the image (0 to 1), its size if it is known."""

    slice_number: int
    area_fraction: float
    area_mm2: float | None
    mean_probability: float


class PageSlice(_Frozen):
    """One slice, numbered from 1: probabilities in the order of the result's labels.

    `problem` is a code of why it may decide nothing, ``None`` for a usable one.
    """

    number: int
    probabilities: tuple[float, ...]
    in_distribution: bool
    problem: str | None = None


class PagePicture(_Frozen):
    """The three renderings of the deciding slice, by SHA-256 of their bytes, and their method.

    `width` and `height` are those of `image` in pixels, 0 if it does not say.
    """

    method: str
    layer: str
    label_key: str
    model_sha256: str
    slice_number: int
    deletion_drop: float | None
    image: str = Field(pattern=_SHA256)
    overlay: str = Field(pattern=_SHA256)
    figure: str = Field(pattern=_SHA256)
    width: int = 0
    height: int = 0


class PageResult(_Frozen):
    """One model's answer on one series, as the page shows it.

    `possible` are the labels that a model which abstained cannot tell apart. A segmentation has a
    `structure`, `outlines` and `measurements`; `follows` is the id of the model whose answer it was
    run on.
    """

    model_id: str
    model_version: str
    model_title: str
    model_sha256: str
    precision: str
    precision_reason: str
    series_number: int | None
    modality: str | None
    outcome: Outcome
    finding: PageLabel | None
    labels: tuple[PageLabel, ...]
    gates: tuple[PageGate, ...]
    slices: tuple[PageSlice, ...]
    slices_used: tuple[int, ...]
    deciding_slice: int | None
    picture: PagePicture | None
    notes: ModelNotes | None
    possible: tuple[PageLabel, ...] = ()
    task: str = "classification"
    structure: str = ""
    outlines: tuple[PageOutline, ...] = ()
    measurements: tuple[PageMeasurement, ...] = ()
    follows: str = ""


class PageSeries(_Frozen):
    """One series of the study: analysed (and why this one) or left out, and why."""

    number: int | None
    modality: str | None
    used: bool
    instances: int | None
    reasons: tuple[PageReason, ...] = ()


class PageModel(_Frozen):
    """A model that was not run, and why."""

    model_id: str
    model_version: str
    reasons: tuple[PageReason, ...]


class ExplanationPage(_Frozen):
    """Everything one page shows; `analysed_ms` is milliseconds since 1970, UTC.

    `instance_digest` names the set of images that was read, so that a later page can be compared.
    """

    outcome: Outcome
    analysed_ms: int
    instance_digest: str
    results: tuple[PageResult, ...] = ()
    series: tuple[PageSeries, ...] = ()
    models_not_run: tuple[PageModel, ...] = ()


class ReaderAnswer(_Frozen):
    """What a reader answered on the page: `verdict` is agree or disagree, `reason` a code."""

    verdict: str
    reason: str
    comment: str
    at_ms: int

    def repeats(self, other: ReaderAnswer) -> bool:
        """Whether it says the same, whenever it was said."""
        return self.model_copy(update={"at_ms": other.at_ms}) == other


def page_of(
    analysis: Analysis, analysed_ms: int, notes: Mapping[str, ModelNotes]
) -> ExplanationPage:
    """Analysis -> ExplanationPage; `notes` are by model id, and may be missing for a model."""
    return ExplanationPage(
        outcome=analysis.outcome,
        analysed_ms=analysed_ms,
        instance_digest=analysis.instance_digest,
        results=tuple(_result(analysis, r, notes.get(r.model_id)) for r in analysis.results),
        series=tuple(
            PageSeries(
                number=series.series_number,
                modality=modality_of(series.modality),
                used=series.used,
                instances=series.instances,
                reasons=_reasons(series.reasons),
            )
            for series in analysis.series
        ),
        models_not_run=tuple(
            PageModel(
                model_id=use.model_id,
                model_version=use.model_version,
                reasons=_reasons(use.reasons),
            )
            for use in analysis.models_not_run
        ),
    )


def pictures_of(analysis: Analysis) -> dict[str, bytes]:
    """The PNGs of all explanations of `analysis`, by the SHA-256 of their bytes (hex)."""
    explanations = [r.explanation for r in analysis.results if r.explanation is not None]
    pictures = [p for e in explanations for p in (e.image_png, e.overlay_png, e.figure_png)]
    return {sha256(picture).hexdigest(): picture for picture in pictures}


def _result(analysis: Analysis, result: ModelResult, notes: ModelNotes | None) -> PageResult:
    series = next((s for s in analysis.series if s.series_uid == result.series_uid), None)
    return PageResult(
        model_id=result.model_id,
        model_version=result.model_version,
        model_title=result.model_title,
        model_sha256=result.model_sha256,
        precision=result.precision,
        precision_reason=result.precision_reason,
        series_number=series.series_number if series else None,
        modality=modality_of(series.modality) if series else None,
        outcome=result.outcome,
        finding=_label(result.finding) if result.finding else None,
        labels=tuple(_label(label) for label in result.probabilities),
        gates=tuple(_gate(gate) for gate in result.gates),
        slices=tuple(
            PageSlice(
                number=scored.number,
                probabilities=tuple(round(float(p), 4) for p in scored.probabilities),
                in_distribution=scored.in_distribution,
                problem=scored.problem,
            )
            for scored in result.slices
        ),
        slices_used=result.slices_used,
        deciding_slice=result.deciding_slice,
        picture=_picture(result.explanation) if result.explanation else None,
        notes=notes,
        possible=tuple(_label(label) for label in wording.possible(result)),
        task=result.task,
        structure=result.structure,
        outlines=tuple(
            PageOutline(
                slice_number=outline.slice_number,
                area_fraction=round(outline.area_fraction, 5),
                area_mm2=outline.area_mm2,
                mean_probability=round(outline.mean_probability, 4),
            )
            for outline in result.outlines
        ),
        measurements=tuple(_measurement(each) for each in result.measurements),
        follows=result.follows,
    )


def _measurement(measured: Measurement) -> PageMeasurement:
    return PageMeasurement(
        key=measured.key,
        display=measured.display,
        value=measured.value,
        unit=measured.unit,
        method=measured.method,
        slice_number=measured.slice_number,
    )


def modality_of(stated: str | None) -> str | None:
    """The code, if it is one of DICOM's: what else stands there may be anybody's name."""
    return stated if stated and MODALITY.fullmatch(stated) else None


def _label(label: LabelProbability) -> PageLabel:
    return PageLabel(
        key=label.key,
        display=label.display,
        probability=round(float(label.probability), 4),
        threshold=float(label.threshold),
        negative=label.negative,
    )


def _gate(gate: GateResult) -> PageGate:
    return PageGate(
        gate=gate.gate,
        passed=gate.passed,
        kind=gate.kind,
        sentence=gate.sentence,
        value=gate.value,
        limit=gate.limit,
    )


def _picture(explanation: Explanation) -> PagePicture:
    width, height = png_size(explanation.image_png)
    return PagePicture(
        method=explanation.method,
        layer=explanation.layer,
        label_key=explanation.label_key,
        model_sha256=explanation.model_sha256,
        slice_number=explanation.slice_number,
        deletion_drop=explanation.deletion_drop,
        image=sha256(explanation.image_png).hexdigest(),
        overlay=sha256(explanation.overlay_png).hexdigest(),
        figure=sha256(explanation.figure_png).hexdigest(),
        width=width,
        height=height,
    )


def png_size(png: bytes) -> tuple[int, int]:
    """(width, height) of a PNG: IHDR is always the first chunk (ISO 15948, 11.2.2)."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR" or len(png) < 24:
        return 0, 0
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _reasons(reasons: Sequence[Reason]) -> tuple[PageReason, ...]:
    return tuple(PageReason(kind=r.kind, sentence=r.sentence) for r in reasons)
