"""From a study's record to what its status page says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from cds_service.queue.state import State, StudyRecord, took_ms
from cds_service.summary import StudySummary

STEPS = (
    (State.RECEIVED, "Waiting for a worker"),
    (State.FETCHING, "Fetching the images"),
    (State.INFERRING, "Analysing them"),
    (State.WRITING, "Keeping the result"),
)

_NO_RESULT = "There is no AI result. That says nothing about the images; please read them as usual."
_EARLIER = (
    "The study or the models had changed since the earlier result; that one stays on the study's "
    "card, and is outdated. That the new analysis failed says nothing about the images; please "
    "read them as usual."
)


@dataclass(frozen=True)
class Step:
    """One step: `state` is done, now, next or failed; `took` is how long, in words."""

    name: str
    state: str
    took: str


@dataclass(frozen=True)
class Progress:
    """The whole of it; `href` leads to the result, where there is one."""

    title: str
    sentences: tuple[str, ...]
    steps: tuple[Step, ...]
    ended: bool
    href: str = ""

    @property
    def key(self) -> str:
        """Changes when there is something new to say, beside the time that passes."""
        return "/".join([self.title, *(step.state for step in self.steps)])

    def leading_to(self, href: str) -> Progress:
        """The same with the address of the result."""
        return replace(self, href=href)


def progress_of(record: StudyRecord, reached: Mapping[State, int], now_ms: int) -> Progress:
    """What is known of an analysis; the times are those of one clock, in ms."""
    title, *sentences = _said(record)
    return Progress(title, tuple(sentences), _steps(record, reached, now_ms), record.ended)


def _said(record: StudyRecord) -> list[str]:
    if record.state is State.FAILED:
        said = _EARLIER if record.explanation_id else _NO_RESULT
        return ["The analysis could not be completed", said]
    if record.ended and record.explanation_id:
        return ["The analysis is done"]
    if record.ended:
        return ["The study was not analysed", *_why(record), _NO_RESULT]
    if record.state is State.RECEIVED:
        waiting = "The analysis waits for its turn"
        return [waiting, *(["An attempt before this one failed."] if record.error_kind else [])]
    return ["The analysis is running"]


def _why(record: StudyRecord) -> list[str]:
    try:
        reasons = StudySummary.from_json(record.summary).not_analysed
    except ValidationError:  # written by another version of scanhook, or nothing
        return []
    return [reason.sentence for reason in reasons]


def _steps(record: StudyRecord, reached: Mapping[State, int], now_ms: int) -> tuple[Step, ...]:
    """Each step with its time; of what has ended, those that were reached."""
    took = took_ms(reached, now_ms)
    last = max(took, key=list(State).index, default=None)

    def word(state: State) -> str:
        if record.state is State.FAILED and state is last:
            return "failed"
        return "now" if record.state is state else "done"

    return tuple(
        Step(name, word(state), duration(took[state])) if state in took else Step(name, "next", "")
        for state, name in STEPS
        if state in took or not record.ended
    )


def duration(ms: int) -> str:
    """How long something took, for people."""
    if ms < 950:
        return f"{max(0, ms)}\u00a0ms"
    if ms < 59_500:
        return f"{ms / 1000:.1f}\u00a0s" if ms < 9_950 else f"{ms / 1000:.0f}\u00a0s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes}\u00a0min {seconds}\u00a0s"
