"""From what was kept to what a template prints: words, and coordinates of the drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cds_service.cards import OVERRIDE_REASONS
from cds_service.explanation import (
    ExplanationPage,
    ModelNotes,
    PageGate,
    PageLabel,
    PagePicture,
    PageReason,
    PageResult,
    PageSeries,
    ReaderAnswer,
)
from cds_service.slices import ResultEntry, SliceIndex
from cds_service.viewer import wording
from cds_service.viewer.feedback import COMMENT_CHARACTERS
from cds_service.viewer.recalled import is_recalled
from cds_service.viewer.strip import StripView, clamped, ordered, strip_of
from fhir_mapping.wording import in_sentence
from inference.analysis import Outcome

_LINKED = ("card.json", "card.xml")
"""The files of a model that a result's page links to; the rest are on the card's own page."""


@dataclass(frozen=True)
class LabelView:
    """One bar, 0 to 100: the band of the probability is from `low` to `high`; `mark` is the
    threshold."""

    display: str
    band: str
    threshold: str
    low: float
    high: float
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
class PlainView:
    """The image that an answer rests on, where nothing was drawn over it."""

    width: int
    height: int
    alternative: str


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
    withheld: str
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
    plain: PlainView | None
    no_picture: str
    thinned: str
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
class AnswerView:
    """What one reader answered."""

    said: str
    comment: str
    when_machine: str
    when: str


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
    answers: tuple[AnswerView, ...]
    reasons: tuple[tuple[str, str], ...]
    comment_characters: int


def view_of(
    page: ExplanationPage,
    slices: SliceIndex | None = None,
    answers: Sequence[ReaderAnswer] | None = None,
) -> PageView:
    """ExplanationPage -> PageView.

    `slices` are the images that it can scroll through; `answers` what readers said of it, ``None``
    where nobody is asked.
    """
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
        results=tuple(_result(i, result, slices) for i, result in enumerate(page.results)),
        series_used=tuple(_series(s) for s in page.series if s.used),
        series_left_out=tuple(_series(s) for s in page.series if not s.used),
        models_not_run=tuple(
            (f"{use.model_id} {use.model_version}", use.reasons) for use in page.models_not_run
        ),
        answers=tuple(_answer(each) for each in answers or ()),
        reasons=tuple(OVERRIDE_REASONS.items()) if answers is not None else (),
        comment_characters=COMMENT_CHARACTERS,
    )


def _answer(answer: ReaderAnswer) -> AnswerView:
    machine, human = wording.moment(answer.at_ms)
    reason = OVERRIDE_REASONS.get(answer.reason, "")
    said = "Agrees" if answer.verdict == "agree" else f"Disagrees: {reason}"
    return AnswerView(said, answer.comment, machine, human)


def _result(index: int, result: PageResult, slices: SliceIndex | None) -> ResultView:
    gates = tuple(_gate(gate) for gate in result.gates)
    shown = slices.results if slices and not is_recalled(result) else ()
    kept = shown[index] if index < len(shown) else None
    series = slices.series[kept.series] if slices and kept else None
    return ResultView(
        index=index,
        value=result,
        series=wording.series_name(result.series_number, result.modality),
        word=wording.word(result),
        answer=wording.answer(result),
        could_be=wording.could_be(result),
        withheld=wording.withheld(result),
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
        labels=tuple(_label(label, result) for label in ordered(result)),
        threshold_meaning=wording.threshold_meaning(result.labels),
        calibration=wording.calibration(result.notes.calibration if result.notes else None),
        position=wording.position(result),
        window=wording.window(result),
        failed=tuple(gate for gate in gates if not gate.passed),
        gates=gates,
        picture=_picture(result, result.picture) if result.picture else None,
        plain=_plain(result, kept) if kept and not result.picture else None,
        no_picture="" if result.picture or not result.slices else wording.no_picture(result),
        thinned=wording.thinned(len(series.slices), series.total) if series else "",
        strip=strip_of(result),
        precision=wording.precision(result.precision),
        notes=result.notes or ModelNotes(),
        card="/".join(
            quote(part, safe="", errors="replace")
            for part in (result.model_id, result.model_version)
        ),
        card_files=tuple(
            (wording.card_file(name), quote(name, safe="", errors="replace"))
            for name in (result.notes.files if result.notes else ())
            if name in _LINKED
        ),
    )


def _label(label: PageLabel, result: PageResult) -> LabelView:
    low, high = wording.band_ends(label.probability)
    return LabelView(
        display=label.display,
        band=wording.band(label.probability),
        threshold=wording.stated_from(label.probability, label.threshold),
        low=low,
        high=high,
        mark=clamped(label.threshold),
        negative=label.negative,
        stated=result.finding is not None and result.finding.key == label.key,
    )


def _gate(gate: PageGate) -> GateView:
    compared = gate.value is not None and gate.limit is not None
    numbers = f"measured {gate.value:.3g}, limit {gate.limit:.3g}" if compared else ""
    return GateView(wording.gate_title(gate.gate), gate.passed, gate.sentence, numbers)


def _plain(result: PageResult, kept: ResultEntry) -> PlainView:
    width, height = kept.key_size
    return PlainView(width, height, f"{wording.position(result) or 'An image'}, in grey")


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


def _series(series: PageSeries) -> SeriesView:
    return SeriesView(
        wording.series_name(series.number, series.modality), wording.images(series), series.reasons
    )
