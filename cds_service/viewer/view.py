"""From what was kept to what a template prints: words, and coordinates of the drawings."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from cds_service.explanation import (
    ExplanationPage,
    ModelNotes,
    PageGate,
    PageLabel,
    PagePicture,
    PageReason,
    PageResult,
    PageSeries,
    PageSlice,
)
from cds_service.viewer import wording
from fhir_mapping.wording import in_sentence
from inference.analysis import Outcome

_TABLE_ROWS = 400

_LINKED = ("card.json", "card.xml")
"""The files of a model that a result's page links to; the rest are on the card's own page."""


@dataclass(frozen=True)
class LabelView:
    """One bar; `x` and `mark` are its end and the threshold, 0 to 100."""

    display: str
    percent: str
    threshold: str
    x: float
    mark: float
    negative: bool
    stated: bool


@dataclass(frozen=True)
class GateView:
    """One safety check; `numbers` is what was compared, if it was numbers."""

    title: str
    passed: bool
    sentence: str
    numbers: str


@dataclass(frozen=True)
class BarView:
    """One slice in the strip, in a drawing of 10 units a slice and 100 high."""

    number: int
    x: float
    y: float
    height: float
    percent: str
    used: bool
    deciding: bool
    strange: bool


@dataclass(frozen=True)
class StripView:
    """The scores of all slices for one label."""

    label: str
    summary: str
    width: int
    bars: tuple[BarView, ...]
    window: tuple[tuple[float, float], ...]
    first: int
    last: int
    tabulated: bool
    any_strange: bool


@dataclass(frozen=True)
class PictureView:
    """The picture of one result, with what must be known; `inside` is the label in a sentence."""

    value: PagePicture
    label: str
    inside: str
    position: str
    alternative: str
    method: str
    faithfulness: str
    caution: str
    outline: bool


@dataclass(frozen=True)
class MeasurementView:
    """One measured number: what, how much, where and how."""

    display: str
    size: str
    where: str
    method: str


@dataclass(frozen=True)
class ResultView:
    """One model's answer."""

    index: int
    value: PageResult
    series: str
    word: str
    answer: str
    could_be: str
    coverage: str
    measurements: tuple[MeasurementView, ...]
    labels: tuple[LabelView, ...]
    threshold_meaning: str
    calibration: str
    position: str
    window: str
    failed: tuple[GateView, ...]
    gates: tuple[GateView, ...]
    picture: PictureView | None
    no_picture: str
    strip: StripView | None
    precision: str
    notes: ModelNotes
    card: str
    card_files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SeriesView:
    """One series, analysed or left out."""

    name: str
    images: str
    reasons: tuple[PageReason, ...]


@dataclass(frozen=True)
class PageView:
    """The whole page."""

    outcome: Outcome
    headline: str
    lede: str
    when_machine: str
    when: str
    fingerprint: str
    research: bool
    results: tuple[ResultView, ...]
    series_used: tuple[SeriesView, ...]
    series_left_out: tuple[SeriesView, ...]
    models_not_run: tuple[tuple[str, tuple[PageReason, ...]], ...]


def view_of(page: ExplanationPage) -> PageView:
    """ExplanationPage -> PageView."""
    machine, human = wording.moment(page.analysed_ms)
    stages = {r.notes.stage for r in page.results if r.notes} or {"research"}
    return PageView(
        outcome=page.outcome,
        headline=wording.headline(page),
        lede=wording.lede(page),
        when_machine=machine,
        when=human,
        fingerprint=page.instance_digest[:12],
        research="research" in stages,
        results=tuple(_result(i, result) for i, result in enumerate(page.results)),
        series_used=tuple(_series(s) for s in page.series if s.used),
        series_left_out=tuple(_series(s) for s in page.series if not s.used),
        models_not_run=tuple(
            (f"{use.model_id} {use.model_version}", use.reasons) for use in page.models_not_run
        ),
    )


def _result(index: int, result: PageResult) -> ResultView:
    gates = tuple(_gate(gate) for gate in result.gates)
    shown = _label_of_interest(result)
    return ResultView(
        index=index,
        value=result,
        series=wording.series_name(result.series_number, result.modality),
        word=wording.OUTCOMES[result.outcome],
        answer=wording.answer(result),
        could_be=wording.could_be(result),
        coverage=wording.coverage(result.notes) if result.possible else "",
        measurements=tuple(
            MeasurementView(
                display=measured.display,
                size=wording.size(measured.value, measured.unit),
                where=wording.measured_on(measured.slice_number, len(result.slices)),
                method=measured.method,
            )
            for measured in result.measurements
        ),
        labels=tuple(_label(label, result) for label in _ordered(result)),
        threshold_meaning=wording.threshold_meaning(result.labels),
        calibration=wording.calibration(result.notes.calibration if result.notes else None),
        position=wording.position(result),
        window=wording.window(result),
        failed=tuple(gate for gate in gates if not gate.passed),
        gates=gates,
        picture=_picture(result, result.picture) if result.picture else None,
        no_picture="" if result.picture or not result.slices else wording.no_picture(result),
        strip=_strip(result, shown) if shown is not None and len(result.slices) > 1 else None,
        precision=wording.precision(result.precision),
        notes=result.notes or ModelNotes(),
        card=f"{quote(result.model_id, safe='')}/{quote(result.model_version, safe='')}",
        card_files=tuple(
            (wording.card_file(name), quote(name, safe=""))
            for name in (result.notes.files if result.notes else ())
            if name in _LINKED
        ),
    )


def _ordered(result: PageResult) -> list[PageLabel]:
    """Findings by probability, then what is no finding."""
    return sorted(result.labels, key=lambda label: (label.negative, -label.probability))


def _label(label: PageLabel, result: PageResult) -> LabelView:
    return LabelView(
        display=label.display,
        percent=wording.against(label.probability, label.threshold),
        threshold=wording.percent(label.threshold),
        x=_clamped(label.probability),
        mark=_clamped(label.threshold),
        negative=label.negative,
        stated=result.finding is not None and result.finding.key == label.key,
    )


def _gate(gate: PageGate) -> GateView:
    compared = gate.value is not None and gate.limit is not None
    numbers = f"measured {gate.value:.3g}, limit {gate.limit:.3g}" if compared else ""
    return GateView(wording.gate_title(gate.gate), gate.passed, gate.sentence, numbers)


def _picture(result: PageResult, picture: PagePicture) -> PictureView:
    label = next((x.display for x in result.labels if x.key == picture.label_key), result.structure)
    position = wording.position(result) or f"Slice {picture.slice_number}"
    return PictureView(
        value=picture,
        label=label,
        inside=in_sentence(label or "the structure"),
        position=position,
        alternative=f"{position}, grey image that the model's answer rests on",
        method=wording.method(picture),
        faithfulness=wording.faithfulness(picture.deletion_drop, picture.method),
        caution=wording.caution(result, picture.deletion_drop),
        outline=picture.method == wording.OUTLINE,
    )


def _label_of_interest(result: PageResult) -> int | None:
    """The label whose scores are drawn: the one explained, the one stated, or the likeliest one."""
    keys = [label.key for label in result.labels]
    wanted = [result.picture.label_key] if result.picture else []
    wanted += [result.finding.key] if result.finding else []
    wanted += [label.key for label in _ordered(result)]
    return next((keys.index(key) for key in wanted if key in keys), None)


def _strip(result: PageResult, label: int) -> StripView:
    bars = tuple(_bar(i, scored, label, result) for i, scored in enumerate(result.slices))
    highest = max(bars, key=lambda bar: bar.height)
    return StripView(
        label=result.labels[label].display,
        summary=f"Highest on slice {highest.number}: {highest.percent}.",
        width=10 * len(bars),
        bars=bars,
        window=tuple((bar.x, 10.0) for bar in bars if bar.used),
        first=bars[0].number,
        last=bars[-1].number,
        tabulated=len(bars) <= _TABLE_ROWS,
        any_strange=any(bar.strange for bar in bars),
    )


def _bar(index: int, scored: PageSlice, label: int, result: PageResult) -> BarView:
    known = label < len(scored.probabilities)
    height = max(1.0, _clamped(scored.probabilities[label])) if known else 0.0
    return BarView(
        number=scored.number,
        x=10.0 * index,
        y=100 - height,
        height=height,
        percent=wording.percent(scored.probabilities[label]) if known else "not scored",
        used=scored.number in result.slices_used,
        deciding=scored.number == result.deciding_slice,
        strange=not scored.in_distribution,
    )


def _series(series: PageSeries) -> SeriesView:
    return SeriesView(
        wording.series_name(series.number, series.modality), wording.images(series), series.reasons
    )


def _clamped(probability: float) -> float:
    """0 to 100 for a drawing, whatever a model may have said (NaN draws as 0)."""
    return round(100 * min(1.0, max(0.0, probability)), 2) if probability == probability else 0.0
