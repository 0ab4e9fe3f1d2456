"""Whether a popped job is ours, and still wanted."""

from __future__ import annotations

import logging

from rq import Queue
from rq.exceptions import NoSuchJobError

from cds_service.queue.enqueue import Dispatcher, OpenedOrder
from cds_service.queue.errors import TamperedPayload, redis_reached
from cds_service.queue.job import PipelineJob
from cds_service.queue.state import StudyRecord

log = logging.getLogger(__name__)

Accepted = tuple[PipelineJob, OpenedOrder, StudyRecord]


def accept(dispatcher: Dispatcher, queue: Queue, job_id: str) -> Accepted | None:
    """The job, its order and its record; None if there is nothing to do for it.

    A job that is not ours is counted and removed. A record that Redis lost is rebuilt from the
    sealed order. Raises QueueUnavailable.
    """
    try:
        with redis_reached():
            job = PipelineJob.fetch(job_id, connection=dispatcher.transport.connection)
        opened = dispatcher.opened(job.payload)
        if opened.blank.job_id != job_id:
            raise TamperedPayload("a payload lies under another job's id")
    except NoSuchJobError:
        dispatcher.transport.drop(job_id)
        return None
    except (TamperedPayload, ValueError, TypeError):
        log.error("a job was not ours and was removed")
        dispatcher.records.count("tampered")
        dispatcher.transport.drop(job_id)
        return None
    job.origin = queue.name
    job.timeout = dispatcher.policy.job_timeout_s
    record = dispatcher.records.get(opened.blank.id)
    if record is None:
        record, _ = dispatcher.records.create_or_get(opened.blank)
    return (job, opened, record) if _wanted(dispatcher, queue, job_id, record) else None


def _wanted(dispatcher: Dispatcher, queue: Queue, job_id: str, record: StudyRecord) -> bool:
    """Whether there is still something to do, and nobody is doing it."""
    transport = dispatcher.transport
    if record.ended or record.job_id != job_id:
        transport.drop(job_id)
        return False
    if job_id in transport.running():
        with redis_reached():
            transport.connection.lrem(queue.intermediate_queue_key, 0, job_id)
        return False
    if record.attempts >= dispatcher.policy.attempts:
        dispatcher.records.fail(record, record.error_kind or "attempts")
        dispatcher.records.count("dead")
        transport.drop(job_id)
        return False
    return True
