"""What the command line and the readiness check show: studies, dead letters, workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redis import Redis

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached
from cds_service.queue.records import ENDED, FAILED, StudyRecords, is_id
from cds_service.queue.state import State, StudyRecord, took_ms

WORKER_TELLS = ("study", "study_since_s", "rss_bytes")
"""What a worker of ours says beside what RQ's say: see `WorkerRow`."""

_TOLD = ("last_heartbeat", "state", *WORKER_TELLS)

WORKERS = "rq:workers"
"""Where RQ keeps the keys of workers."""

LIVE_S = 30.0
"""A worker that was silent for so long is not there."""


@dataclass(frozen=True)
class JobRow:
    """One study as the operator sees it: opaque, without patient."""

    study: str
    state: str
    priority: str
    attempts: int
    error_kind: str
    age_s: float
    """Since it was first ordered."""

    quiet_s: float
    """Since anything was last heard of it."""

    steps_s: Mapping[str, float] = field(default_factory=dict)
    """How long each step of the present attempt took, or has taken so far; waiting is received."""


@dataclass(frozen=True)
class WorkerRow:
    """One worker and how long ago it was heard."""

    name: str
    state: str
    heard_s: float
    study: str = ""
    """Opaque id of the study in its hands, empty for none."""

    since_s: float = 0.0
    """How long it has had that study."""

    rss_bytes: int = 0
    """Memory that it and its child hold; 0 if that is not known."""

    @property
    def live(self) -> bool:
        """Whether it was heard of in the last `LIVE_S` seconds."""
        return self.heard_s < LIVE_S

    @property
    def host(self) -> str:
        """The machine or container that it runs on: the first part of its name (`WorkFolder`)."""
        return self.name.rsplit("-", 2)[0]


def jobs(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Open studies, those first that wait longest for news, then ended ones, newest first."""
    under_way = open_jobs(records, limit)
    return under_way + ended_jobs(records, limit - len(under_way))


def open_jobs(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Studies that wait or run, those first that wait longest for news."""
    return _rows(records, records.open_records(due_only=False, limit=limit))


def ended_jobs(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Studies that have ended, well or not, newest first."""
    return _rows(records, records.listed(ENDED, limit) if limit > 0 else [])


def job(records: StudyRecords, study: str) -> JobRow | None:
    """One study; None if there is no record of it."""
    return next(iter(_rows(records, [study])), None)


def dead_letters(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Studies that ended as failed, newest first; `Dispatcher.requeue` tries one again."""
    return _rows(records, records.listed(FAILED, limit))


def workers(connection: Redis, now_s: float) -> list[WorkerRow]:
    """The workers that Redis knows, freshest first; `now_s` is the time of day (epoch)."""
    with redis_reached():
        names = sorted(connection.smembers(WORKERS))
        with connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(text_of(name), *_TOLD)
            found = pipeline.execute()
    rows = (_worker(text_of(name), told, now_s) for name, told in zip(names, found, strict=True))
    return sorted(filter(None, rows), key=lambda row: row.heard_s)


def live_hosts(connection: Redis, now_s: float) -> frozenset[str]:
    """The machines whose worker was heard of in the last `LIVE_S` seconds."""
    return frozenset(row.host for row in workers(connection, now_s) if row.live)


def _worker(key: str, told: Sequence[object], now_s: float) -> WorkerRow | None:
    """A worker as it was last heard; None for an entry without a heartbeat."""
    heard, state, study, since_s, rss_bytes = told
    heard_s = _age_s(heard, now_s)
    if heard_s is None:
        return None
    return WorkerRow(
        name=key.removeprefix("rq:worker:"),
        state=text_of(state or b"?"),
        heard_s=heard_s,
        study=text_of(study) if study and is_id(study) else "",
        since_s=max(0.0, now_s - _number(since_s)) if study else 0.0,
        rss_bytes=_number(rss_bytes),
    )


def _age_s(heard: object, now_s: float) -> float | None:
    """Seconds since a heartbeat; None for none, or one that RQ did not write."""
    try:
        return now_s - datetime.fromisoformat(text_of(heard)).timestamp()
    except ValueError:
        return None


def _rows(records: StudyRecords, ids: list[str]) -> list[JobRow]:
    if not ids:
        return []
    now_ms = records.now_ms()
    found = records.with_steps(ids)
    return [_row(record, reached, now_ms) for record, reached in found if record is not None]


def _row(record: StudyRecord, reached: Mapping[State, int], now_ms: int) -> JobRow:
    return JobRow(
        study=record.id,
        state=str(record.state),
        priority=str(record.priority),
        attempts=record.attempts,
        error_kind=record.error_kind,
        age_s=(now_ms - record.created_ms) / 1000,
        quiet_s=(now_ms - record.updated_ms) / 1000,
        steps_s={str(state): ms / 1000 for state, ms in took_ms(reached, now_ms).items()},
    )


def _number(value: object) -> int:
    """0 for what is no number."""
    text = text_of(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
