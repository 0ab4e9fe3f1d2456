"""From what was kept to what a template prints, for the whole page (see `result` for an answer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cds_service.cards import OVERRIDE_REASONS
from cds_service.explanation import (
    ExplanationPage,
    PageReason,
    PageSeries,
    ReaderAnswer,
)
from cds_service.slices import SliceIndex
from cds_service.viewer import wording
from cds_service.viewer.feedback import COMMENT_CHARACTERS
from cds_service.viewer.result import ResultView, result_view
from inference.analysis import Outcome


@dataclass(frozen=True)
class SeriesView:
    """One series, analysed or left out."""

    name: str
    images: str
    reasons: tuple[PageReason, ...]


@dataclass(frozen=True)
class ReaderView:
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
    answers: tuple[ReaderView, ...]
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
        results=tuple(result_view(i, result, slices) for i, result in enumerate(page.results)),
        series_used=tuple(_series(s) for s in page.series if s.used),
        series_left_out=tuple(_series(s) for s in page.series if not s.used),
        models_not_run=tuple(
            (f"{use.model_id} {use.model_version}", use.reasons) for use in page.models_not_run
        ),
        answers=tuple(_answer(each) for each in answers or ()),
        reasons=tuple(OVERRIDE_REASONS.items()) if answers is not None else (),
        comment_characters=COMMENT_CHARACTERS,
    )


def _answer(answer: ReaderAnswer) -> ReaderView:
    machine, human = wording.moment(answer.at_ms)
    reason = OVERRIDE_REASONS.get(answer.reason, "")
    said = "Agrees" if answer.verdict == "agree" else f"Disagrees: {reason}"
    return ReaderView(said, answer.comment, machine, human)


def _series(series: PageSeries) -> SeriesView:
    return SeriesView(
        wording.series_name(series.number, series.modality), wording.images(series), series.reasons
    )
