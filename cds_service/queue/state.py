"""The life of a study: one frozen record, and the table of its steps.

::

    received -> fetching -> inferring -> writing -> final
                                                 -> abstained   (also from any earlier step)
                                                 -> failed      (also from any earlier step)

An ended record only starts again through a restart: the study grew, the models changed, or a
failure is retried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from cds_service.queue.errors import IllegalTransition, TamperedPayload


class State(StrEnum):
    """Where a study is."""

    RECEIVED = "received"
    FETCHING = "fetching"
    INFERRING = "inferring"
    WRITING = "writing"
    FINAL = "final"
    ABSTAINED = "abstained"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in ENDED


class Priority(StrEnum):
    """Which queue a study waits in, most urgent first."""

    STAT = "stat"
    ROUTINE = "routine"
    BACKFILL = "backfill"

    def before(self, other: Priority) -> bool:
        """Whether this is more urgent."""
        order = list(Priority)
        return order.index(self) < order.index(other)


ENDED = frozenset({State.FINAL, State.ABSTAINED, State.FAILED})

STEPS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.RECEIVED, State.FETCHING, State.ABSTAINED, State.FAILED}),
    State.FETCHING: frozenset({State.FETCHING, State.INFERRING, State.ABSTAINED, State.FAILED}),
    State.INFERRING: frozenset({State.INFERRING, State.WRITING, State.ABSTAINED, State.FAILED}),
    State.WRITING: frozenset({State.WRITING, *ENDED}),
    State.FINAL: frozenset(),
    State.ABSTAINED: frozenset(),
    State.FAILED: frozenset(),
}
"""From each state the states that may follow; the same state means more is known about it."""


def took_ms(reached: Mapping[State, int], now_ms: int) -> dict[State, int]:
    """How long each step that was reached took, or has taken until now; an end takes no time.

    `reached` is when each was reached and `now_ms` the time of the same clock, ms.
    """
    steps = sorted(reached.items(), key=lambda step: step[1])
    ends_ms = [*(at_ms for _, at_ms in steps[1:]), now_ms]
    return {
        state: max(0, end_ms - at_ms)
        for (state, at_ms), end_ms in zip(steps, ends_ms, strict=False)  # no step has no end
        if not state.ended
    }


def check_step(before: State, after: State) -> None:
    """Raise IllegalTransition unless the table has this step."""
    if after not in STEPS[before]:
        raise IllegalTransition(f"a study cannot go from {before} to {after}")


@dataclass(frozen=True)
class StudyRecord:
    """Everything that is known about one study's analysis; no personal data.

    While a record is open, `summary`, `report_id`, `explanation_id` and `instance_digest` are
    those of the previous analysis, if there was one.
    """

    id: str
    """Opaque id of the study (`Sealer.study_key`)."""

    state: State = State.RECEIVED
    priority: Priority = Priority.ROUTINE
    attempts: int = 0
    """Attempts begun at this content."""

    job_id: str = ""
    content_key: str = ""
    """Names the content that was ordered; another one means that the study grew."""

    models: str = ""
    """Version of the set of models."""

    sealed: str = field(default="", repr=False)
    """The order, sealed, so that a lost job can be queued again."""

    error_kind: str = ""
    """Kind of the last failure; kept while an attempt follows it."""

    outcome: str = ""
    """The caller's word for the result."""

    summary: Mapping[str, Any] = field(default_factory=dict)
    """What a card needs, given by the caller."""

    report_id: str = ""
    explanation_id: str = ""
    instance_digest: str = ""
    worker: str = ""
    """Who began the last attempt."""

    not_before_ms: int = 0
    """The next attempt waits until then (Redis TIME)."""

    created_ms: int = 0
    updated_ms: int = 0
    """Redis TIME in milliseconds, so that every machine agrees."""

    revision: int = 0
    """Goes up with each write; what compare-and-set compares."""

    @property
    def ended(self) -> bool:
        """Whether the analysis is over, well or not."""
        return self.state.ended

    def same_attempt(self, other: StudyRecord) -> bool:
        """Whether both speak of the same attempt at the same content."""
        return (self.job_id, self.attempts) == (other.job_id, other.attempts)


CLOCKED = frozenset({"not_before_ms", "created_ms", "updated_ms", "revision"})
"""Fields that Redis sets itself; the MAC cannot cover them."""

_INTS = frozenset({"attempts"}) | CLOCKED


def to_fields(record: StudyRecord) -> dict[str, str]:
    """The record as hash fields, without those that Redis sets."""
    texts = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in CLOCKED}
    texts["summary"] = json.dumps(record.summary, separators=(",", ":"), allow_nan=False)
    return {name: str(value) for name, value in texts.items()}


def signed_text(texts: Mapping[str, str]) -> bytes:
    """What the MAC of a record covers: every field but those that Redis sets."""
    return json.dumps(sorted((k, v) for k, v in texts.items() if k not in CLOCKED)).encode()


def from_fields(texts: Mapping[str, str]) -> StudyRecord:
    """The record of a hash whose MAC was checked.

    Raises:
        TamperedPayload: a field is missing or malformed all the same.
    """
    try:
        values: dict[str, Any] = {f.name: texts[f.name] for f in fields(StudyRecord)}
        values |= {name: int(values[name]) for name in _INTS}
        values["state"] = State(values["state"])
        values["priority"] = Priority(values["priority"])
        values["summary"] = json.loads(values["summary"])
    except (KeyError, ValueError):
        raise TamperedPayload("a study record in Redis has not our form") from None
    return StudyRecord(**values)
