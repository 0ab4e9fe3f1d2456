"""Finding work that lost its way, and queueing it again.

Three losses are healed. A worker died: its lease runs out, or the job it had popped stays in the
intermediate list. Redis lost RQ's keys: an open record has no live job. Redis lost our record: the
worker rebuilds it from the sealed order in the job. Whoever queues a job again must first win a
compare-and-set on its record, so that two reconcilers never queue it twice.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import cast

from rq.exceptions import NoSuchJobError

from cds_service.queue.connection import text_of
from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.errors import StaleRecord, TamperedPayload, redis_reached
from cds_service.queue.job import PipelineJob
from cds_service.queue.records import LOOK_AGAIN_S
from cds_service.queue.state import State, StudyRecord

log = logging.getLogger(__name__)

POPPED = "cds:popped"
"""When each job of an intermediate list was first seen there without a lease (Redis TIME)."""

SWEEPER = "cds:sweeper"
"""Held for one interval by the worker that sweeps; it always ends by itself."""


def sweep(dispatcher: Dispatcher, stuck_s: float, interval_s: float) -> Counter[str]:
    """Find jobs whose worker is gone and queue them again; one worker in each interval.

    Args:
        dispatcher: the queue.
        stuck_s: a popped job without lease for so long is lost.
        interval_s: no other worker sweeps for so long.

    Returns:
        What was found and done, for metrics.
    """
    if not _my_turn(dispatcher, interval_s):
        return Counter()
    lost = [*_expired(dispatcher), *_stuck(dispatcher, stuck_s)]
    report_lost(dispatcher, lost)
    return reconcile(dispatcher)


def report_lost(dispatcher: Dispatcher, job_ids: Iterable[str]) -> None:
    """Make the records of these jobs due now; forget jobs that nobody waits for."""
    for job_id in job_ids:
        log.warning("a job lost its worker", extra={"job": job_id})
        dispatcher.records.count("lost")
        try:
            with redis_reached():
                job = PipelineJob.fetch(job_id, connection=dispatcher.transport.connection)
            study = dispatcher.opened(job.payload).blank.id
        except NoSuchJobError:
            continue
        except (TamperedPayload, ValueError, TypeError):
            dispatcher.records.count("tampered")
            dispatcher.transport.drop(job_id)
            continue
        record = dispatcher.records.get(study)
        if record is not None and (record.ended or record.job_id != job_id):
            dispatcher.transport.drop(job_id)
        elif record is not None:
            dispatcher.records.look_again({study: 0})
        else:
            _rebuild(dispatcher, job.payload)


def reconcile(dispatcher: Dispatcher, everything: bool = False) -> Counter[str]:
    """Queue open records again that have no live job; end those that had all their attempts.

    Args:
        dispatcher: the queue.
        everything: look at all open records, as a worker does when it starts, not only at those
            whose time to be looked at has come.
    """
    done: Counter[str] = Counter()
    studies = dispatcher.records.open_records(due_only=not everything)
    if not studies:
        return done
    live = dispatcher.transport.whereabouts().live  # before the records, so that these are newer
    now_ms = dispatcher.records.now_ms()
    later: dict[str, float] = {}
    for study, record in zip(studies, dispatcher.records.get_many(studies), strict=True):
        if record is None or record.ended:
            dispatcher.records.forget(study)
        elif record.not_before_ms > now_ms:
            later[study] = (record.not_before_ms - now_ms) / 1000
            done["waiting"] += 1
        elif record.job_id in live:
            later[study] = LOOK_AGAIN_S * _jitter()
            done["live"] += 1
        else:
            done[_revive(dispatcher, record)] += 1
    dispatcher.records.look_again(later)
    return done


def _revive(dispatcher: Dispatcher, record: StudyRecord) -> str:
    """Queue an open record without a live job again, or end it; the word for what was done."""
    try:
        if record.attempts < dispatcher.policy.attempts:
            return _queue_again(dispatcher, record)
        dispatcher.records.fail(record, record.error_kind or "attempts")
    except StaleRecord:
        return "overtaken"
    dispatcher.records.count("dead")
    return "dead"


def _queue_again(dispatcher: Dispatcher, record: StudyRecord) -> str:
    """The first time at the front, since it has waited already; later at the end, in case the
    study itself is what kills workers."""
    innocent = record.attempts <= 1 and not record.error_kind
    try:
        dispatcher.enqueue_again(record, at_front=innocent)
    except TamperedPayload:
        dispatcher.records.advance(record, State.FAILED, error_kind="tampered")
        dispatcher.records.count("tampered")
        return "tampered"
    log.info("queued again", extra={"study": record.id, "attempt": record.attempts})
    return "queued"


def _rebuild(dispatcher: Dispatcher, payload: str) -> None:
    blank = dispatcher.opened(payload).blank
    dispatcher.records.create_or_get(blank)
    dispatcher.records.look_again({blank.id: 0})


def _my_turn(dispatcher: Dispatcher, interval_s: float) -> bool:
    connection = dispatcher.transport.connection
    with redis_reached():
        if connection.set(SWEEPER, "1", nx=True, px=max(1, int(interval_s * 1000))):
            return True
        if connection.pttl(SWEEPER) == -1:  # nobody of us leaves it without an end
            connection.delete(SWEEPER)
    return False


def _expired(dispatcher: Dispatcher) -> list[str]:
    """Jobs whose lease has run out, taken from the registry by whoever removes them first."""
    connection = dispatcher.transport.connection
    lost: list[str] = []
    with redis_reached():
        for queue in dispatcher.transport.queues.values():
            leases = queue.started_job_registry.key
            for member in connection.zrangebyscore(leases, "-inf", time.time()):
                if connection.zrem(leases, cast("bytes", member)):
                    lost.append(_job_id(member))
    return lost


def _stuck(dispatcher: Dispatcher, stuck_s: float) -> list[str]:
    """Jobs that were popped but got no lease in time."""
    connection, transport = dispatcher.transport.connection, dispatcher.transport
    with redis_reached():
        transport.discard_junk()
        where = transport.whereabouts()
        unleased = where.popped - where.running
        known = {_job_id(member) for member in connection.zrange(POPPED, 0, -1)}
        if known - unleased:
            connection.zrem(POPPED, *(known - unleased))
        if not unleased:
            return []
        now_ms = dispatcher.records.now_ms()
        connection.zadd(POPPED, dict.fromkeys(unleased, now_ms), nx=True)
        latest = now_ms - int(stuck_s * 1000)
        overdue = [_job_id(m) for m in connection.zrangebyscore(POPPED, "-inf", latest)]
        return [job_id for job_id in overdue if _take_out(dispatcher, job_id)]


def _take_out(dispatcher: Dispatcher, job_id: str) -> bool:
    connection = dispatcher.transport.connection
    keys = [queue.intermediate_queue_key for queue in dispatcher.transport.queues.values()]
    return sum(int(connection.lrem(key, 0, job_id)) for key in keys) > 0


def _job_id(member: object) -> str:
    return text_of(member).split(":")[0]


def _jitter() -> float:
    """Between 0.8 and 1.2, so that workers started together do not look together."""
    return random.uniform(0.8, 1.2)  # noqa: S311  # spreads load, guards nothing
