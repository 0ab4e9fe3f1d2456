"""What the command line and the readiness check show: studies, dead letters, workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from redis import Redis

from cds_service.queue.errors import redis_reached
from cds_service.queue.records import ENDED, FAILED, StudyRecords
from cds_service.queue.state import StudyRecord

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


@dataclass(frozen=True)
class WorkerRow:
    """One worker and how long ago it was heard."""

    name: str
    state: str
    heard_s: float

    @property
    def host(self) -> str:
        """The machine or container that it runs on: the first part of its name (`WorkFolder`)."""
        return self.name.rsplit("-", 2)[0]


def jobs(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Open studies, those first that wait longest for news, then ended ones, newest first."""
    ids = records.open_records(due_only=False, limit=limit)
    ids += records.listed(ENDED, limit - len(ids)) if len(ids) < limit else []
    return _rows(records, ids)


def dead_letters(records: StudyRecords, limit: int = 1000) -> list[JobRow]:
    """Studies that ended as failed, newest first; `Dispatcher.requeue` tries one again."""
    return _rows(records, records.listed(FAILED, limit))


def workers(connection: Redis, now_s: float) -> list[WorkerRow]:
    """The workers that Redis knows, freshest first; `now_s` is the time of day (epoch)."""
    with redis_reached():
        names = sorted(connection.smembers(WORKERS))
        with connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(_text(name), "last_heartbeat", "state")
            found = pipeline.execute()
    rows = [
        WorkerRow(_text(name).removeprefix("rq:worker:"), _text(state or b"?"), heard_s)
        for name, (heard, state) in zip(names, found, strict=True)
        if (heard_s := _age_s(heard, now_s)) is not None
    ]
    return sorted(rows, key=lambda row: row.heard_s)


def live_hosts(connection: Redis, now_s: float) -> frozenset[str]:
    """The machines whose worker was heard of in the last `LIVE_S` seconds."""
    return frozenset(row.host for row in workers(connection, now_s) if row.heard_s < LIVE_S)


def _age_s(heard: object, now_s: float) -> float | None:
    """Seconds since a heartbeat; None for none, or one that RQ did not write."""
    try:
        return now_s - datetime.fromisoformat(_text(heard)).timestamp()
    except ValueError:
        return None


def _rows(records: StudyRecords, ids: list[str]) -> list[JobRow]:
    now_ms = records.now_ms()
    return [_row(record, now_ms) for record in records.get_many(ids) if record is not None]


def _row(record: StudyRecord, now_ms: int) -> JobRow:
    return JobRow(
        study=record.id,
        state=str(record.state),
        priority=str(record.priority),
        attempts=record.attempts,
        error_kind=record.error_kind,
        age_s=(now_ms - record.created_ms) / 1000,
        quiet_s=(now_ms - record.updated_ms) / 1000,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
