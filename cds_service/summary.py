"""What the record keeps of an analysis: enough for a card, nothing about a person.

The study's record lies in Redis, so no name, identifier, date or free text of the patient's may
stand here: model names, coded labels, numbers, and sentences of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from pydantic import BaseModel, ConfigDict

from fhir_mapping import wording
from fhir_mapping.wording import listed
from inference.analysis import (
    Analysis,
    LabelProbability,
    Measurement,
    ModelResult,
    Outcome,
    Reason,
)
from inference.outcomes import left_without, study_outcome

NOT_SERVED = "not-served"
"""Kind of the reason of a model that failed its reference cases (see `inference.serving`)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReasonSummary(_Frozen):
    """Why something was not said or not done."""

    kind: str
    sentence: str


class LabelSummary(_Frozen):
    """One label with its calibrated probability and the threshold at which it is stated."""

    key: str
    display: str
    probability: float
    threshold: float
    negative: bool = False


class MeasurementSummary(_Frozen):
    """One number that was measured on one slice; `unit` is a UCUM code."""

    key: str
    display: str
    value: float
    unit: str
    slice_number: int


class ResultSummary(_Frozen):
    """One model's answer on one series. Slices are numbered from 1 in anatomical order.

    `possible` are the labels that a model which abstained cannot tell apart. A segmentation has a
    `structure` and, of what it `outlined` (the number of slices), `measurements`; `follows` is the
    id of the model whose answer it was run on.
    """

    model_id: str
    model_version: str
    model_title: str
    model_sha256: str
    precision: str
    outcome: Outcome
    finding: LabelSummary | None
    probabilities: tuple[LabelSummary, ...]
    reasons: tuple[ReasonSummary, ...]
    slices: int
    slices_used: tuple[int, ...]
    deciding_slice: int | None
    possible: tuple[LabelSummary, ...] = ()
    task: str = "classification"
    structure: str = ""
    outlined: int = 0
    measurements: tuple[MeasurementSummary, ...] = ()
    follows: str = ""


class StudySummary(_Frozen):
    """The whole study: `not_analysed` answers "why did nothing run"."""

    outcome: Outcome
    results: tuple[ResultSummary, ...] = ()
    not_analysed: tuple[ReasonSummary, ...] = ()
    series: int = 0
    series_used: int = 0
    images: int = 0
    analysed_ms: int = 0
    steps_ms: Mapping[str, float] = {}

    @property
    def finding(self) -> ResultSummary | None:
        """The result whose finding has the highest probability, if any result states one."""
        return most_probable(self.results)

    def of_models(self, ids: Set[str]) -> StudySummary:
        """What is left when only these models are in use."""
        return self._left(lambda result: result.model_id not in ids)

    def without(self, recalled: Iterable[ResultSummary]) -> StudySummary:
        """What is left when these answers were recalled."""
        gone = [(r.model_id, r.model_version) for r in recalled]
        return self._left(lambda result: (result.model_id, result.model_version) in gone)

    def _left(self, gone: Callable[[ResultSummary], bool]) -> StudySummary:
        kept = left_without(self.results, gone)
        if len(kept) == len(self.results):
            return self
        return self.model_copy(update={"results": kept, "outcome": study_outcome(kept)})

    def outlines_of(self, result: ResultSummary) -> tuple[ResultSummary, ...]:
        """The outlines that were made because of this result."""
        return tuple(
            r
            for r in self.results
            if r.follows == result.model_id and r.outcome is Outcome.MEASURED and r.measurements
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for the record."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StudySummary:
        """The inverse of `to_json`."""
        return cls.model_validate(value)


def most_probable(results: Iterable[ResultSummary]) -> ResultSummary | None:
    """The result whose finding has the highest probability, if any of them states one."""
    stated = [r for r in results if r.finding is not None]
    return max(stated, key=lambda r: r.finding.probability if r.finding else 0, default=None)


def summarise(analysis: Analysis, analysed_ms: int) -> StudySummary:
    """Analysis -> StudySummary; `analysed_ms` is the time of the analysis, ms since 1970."""
    return StudySummary(
        outcome=analysis.outcome,
        results=tuple(_result(result) for result in analysis.results),
        not_analysed=_not_analysed(analysis),
        series=len(analysis.series),
        series_used=sum(series.used for series in analysis.series),
        # two models that read one series read the same images
        images=sum({r.series_uid: len(r.slices) for r in analysis.results}.values()),
        analysed_ms=analysed_ms,
        steps_ms={step: round(ms, 1) for step, ms in analysis.steps_ms.items()},
    )


def _not_analysed(analysis: Analysis) -> tuple[ReasonSummary, ...]:
    models: dict[Reason, list[str]] = {}
    for use in analysis.models_not_run:
        for reason in use.reasons:
            models.setdefault(reason, []).append(f"{use.model_id} {use.model_version}")
    reasons = [_told(reason, listed(names, "and")) for reason, names in models.items()]
    if not analysis.results:
        of_series = [r for series in analysis.series if not series.used for r in series.reasons]
        reasons += [reason for reason in of_series if reason not in models]
    return _reasons(list(dict.fromkeys(reasons)))


def _told(reason: Reason, models: str) -> Reason:
    """Why models were not run, for a clinician: what exactly a self-test said is for others."""
    if reason.kind == NOT_SERVED:
        return Reason(reason.kind, f"Not analysed: the model {models} failed its self-test.")
    return Reason(reason.kind, f"{models}: {reason.sentence}")


def _reasons(reasons: Sequence[Reason]) -> tuple[ReasonSummary, ...]:
    return tuple(ReasonSummary(kind=r.kind, sentence=r.sentence) for r in reasons)


def _label(label: LabelProbability) -> LabelSummary:
    return LabelSummary(
        key=label.key,
        display=label.display,
        probability=round(label.probability, 4),
        threshold=label.threshold,
        negative=label.negative,
    )


def _result(result: ModelResult) -> ResultSummary:
    return ResultSummary(
        model_id=result.model_id,
        model_version=result.model_version,
        model_title=result.model_title,
        model_sha256=result.model_sha256,
        precision=result.precision,
        outcome=result.outcome,
        finding=_label(result.finding) if result.finding else None,
        probabilities=tuple(_label(label) for label in result.probabilities),
        reasons=_reasons([Reason(gate.kind, gate.sentence) for gate in result.reasons]),
        slices=len(result.slices),
        slices_used=result.slices_used,
        deciding_slice=result.deciding_slice,
        possible=tuple(_label(label) for label in wording.possible(result)),
        task=result.task,
        structure=result.structure,
        outlined=len(result.outlines),
        measurements=tuple(_measurement(each) for each in result.measurements),
        follows=result.follows,
    )


def _measurement(measured: Measurement) -> MeasurementSummary:
    return MeasurementSummary(
        key=measured.key,
        display=measured.display,
        value=wording.rounded(measured.value, measured.unit),
        unit=measured.unit,
        slice_number=measured.slice_number,
    )
