"""One model's answer as its part of the page prints it: a value for each section of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from cds_service.explanation import (
    ModelNotes,
    PageGate,
    PageLabel,
    PagePicture,
    PageResult,
)
from cds_service.slices import ResultEntry, SeriesEntry, SliceIndex
from cds_service.viewer import wording
from cds_service.viewer.recalled import is_recalled
from cds_service.viewer.strip import StripView, clamped, ordered, strip_of
from fhir_mapping.wording import in_sentence

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
class AnswerView:
    """What the model says: a word, a sentence, the checks that did not hold, and what it could be
    or why that is `withheld`."""

    word: str
    sentence: str
    failed: tuple[GateView, ...]
    could_be: str
    coverage: str
    withheld: str


@dataclass(frozen=True)
class ChancesView:
    """The probabilities, and how they are to be read."""

    labels: tuple[LabelView, ...]
    threshold_meaning: str
    window: str
    calibration: str


@dataclass(frozen=True)
class ImagesView:
    """What is seen: a `picture`, or the `plain` image, or why there is neither; the strip of scores
    and how many of the slices can be scrolled to."""

    picture: PictureView | None
    plain: PlainView | None
    no_picture: str
    thinned: str
    strip: StripView | None

    @property
    def seen(self) -> bool:
        """Whether there is anything to look at."""
        return self.picture is not None or self.plain is not None


@dataclass(frozen=True)
class ModelView:
    """Which model it was; `card` is the path of its card, `files` are its forms: words and path."""

    precision: str
    notes: ModelNotes
    card: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ResultView:
    """One model's answer, section by section; `value` is what was kept of it."""

    index: int
    value: PageResult
    series: str
    answer: AnswerView
    measurements: tuple[MeasurementView, ...]
    chances: ChancesView
    images: ImagesView
    gates: tuple[GateView, ...]
    unusable: str
    model: ModelView


def result_view(index: int, result: PageResult, slices: SliceIndex | None) -> ResultView:
    """PageResult -> ResultView; `slices` are the images that the page can scroll through."""
    gates = tuple(_gate(gate) for gate in result.gates)
    return ResultView(
        index=index,
        value=result,
        series=wording.series_name(result.series_number, result.modality),
        answer=_answer(result, gates),
        measurements=_measurements(result),
        chances=_chances(result),
        images=_images(result, *_kept(index, result, slices)),
        gates=gates,
        unusable=wording.unusable(result.slices),
        model=_model(result),
    )


def _answer(result: PageResult, gates: tuple[GateView, ...]) -> AnswerView:
    return AnswerView(
        word=wording.word(result),
        sentence=wording.answer(result),
        failed=tuple(gate for gate in gates if not gate.passed),
        could_be=wording.could_be(result),
        coverage=wording.coverage(result.notes) if result.possible else "",
        withheld=wording.withheld(result),
    )


def _measurements(result: PageResult) -> tuple[MeasurementView, ...]:
    return tuple(
        MeasurementView(
            display=measured.display,
            size=wording.size(measured.value, measured.unit),
            where=wording.measured_on(measured.slice_number, len(result.slices)),
            method=measured.method,
        )
        for measured in result.measurements
    )


def _chances(result: PageResult) -> ChancesView:
    return ChancesView(
        labels=tuple(_label(label, result) for label in ordered(result)),
        threshold_meaning=wording.threshold_meaning(result.labels),
        window=wording.window(result),
        calibration=wording.calibration(result.notes.calibration if result.notes else None),
    )


def _kept(
    index: int, result: PageResult, slices: SliceIndex | None
) -> tuple[ResultEntry | None, SeriesEntry | None]:
    """What there is to scroll through for a result; nothing of one that was recalled."""
    shown = slices.results if slices and not is_recalled(result) else ()
    kept = shown[index] if index < len(shown) else None
    return kept, slices.series[kept.series] if slices and kept else None


def _images(result: PageResult, kept: ResultEntry | None, series: SeriesEntry | None) -> ImagesView:
    return ImagesView(
        picture=_picture(result, result.picture) if result.picture else None,
        plain=_plain(result, kept) if kept and not result.picture else None,
        no_picture="" if result.picture or not result.slices else wording.no_picture(result),
        thinned=_thinned(series) if series else "",
        strip=strip_of(result),
    )


def _thinned(series: SeriesEntry) -> str:
    return wording.thinned(len(series.slices), series.total, reduced=series.reduced)


def _model(result: PageResult) -> ModelView:
    notes = result.notes or ModelNotes()
    return ModelView(
        precision=wording.precision(result.precision),
        notes=notes,
        card="/".join(map(_segment, (result.model_id, result.model_version))),
        files=tuple(
            (wording.card_file(name), _segment(name)) for name in notes.files if name in _LINKED
        ),
    )


def _segment(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="", errors="replace")


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
