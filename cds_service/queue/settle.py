"""What becomes of a study after an attempt: ended, tried again later, or given up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rq import Queue
from rq.executions import Execution
from rq.job import JobStatus

from cds_service.queue.errors import StaleRecord, redis_reached
from cds_service.queue.job import PipelineJob
from cds_service.queue.state import StudyRecord

if TYPE_CHECKING:
    from cds_service.queue.worker import StudyWorker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended.

    `outcome`: done; error (with kind); stale (somebody else has the study); lost (the worker was
    told to leave at once).
    """

    outcome: str
    kind: str = ""
    retryable: bool = False
    spoilt: bool = False
    rss_bytes: int = 0

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Verdict:
        """What the child said."""
        return cls(
            outcome=str(answer["outcome"]),
            kind=str(answer.get("kind", "")),
            retryable=bool(answer.get("retryable", False)),
            spoilt=bool(answer.get("spoilt", False)),
            rss_bytes=int(answer.get("rss_bytes", 0)),
        )


def settle(
    worker: StudyWorker,
    verdict: Verdict,
    queue: Queue,
    job: PipelineJob,
    execution: Execution,
    record: StudyRecord,
) -> None:
    """Move the record, then take the job out of RQ. Safe to repeat.

    The record comes first: if we are killed in between, the lease runs out and the sweeper finds
    a record that has ended, or that waits for its next attempt.
    """
    current = worker.records.get(record.id)
    failed_kind = ""
    if current is None:
        worker.records.create_or_get(worker.dispatcher.opened(job.payload).blank)
    elif current.same_attempt(record) and not current.ended:
        try:
            failed_kind = _decide(worker, verdict, current)
        except StaleRecord:
            log.info("a newer attempt has the study", extra={"study": record.id})
    elif current.same_attempt(record) and current.error_kind and verdict.outcome != "done":
        failed_kind = current.error_kind
    _take_out(worker, queue, job, execution, failed_kind)


def _decide(worker: StudyWorker, verdict: Verdict, current: StudyRecord) -> str:
    """The kind of a final failure, else empty."""
    records, attempts = worker.records, worker.dispatcher.policy.attempts
    if verdict.outcome in ("stale", "lost"):
        records.postpone(current, 0, current.error_kind)
        return ""
    kind = verdict.kind if verdict.outcome == "error" else "unfinished"
    said = {"study": current.id, "attempt": current.attempts, "kind": kind}
    records.count(kind if kind in ("crashed", "timeout") else "errors")
    if verdict.retryable and current.attempts < attempts:
        records.postpone(current, worker.policy.backoff_of(current.attempts), kind)
        log.info("another attempt follows", extra=said)
        return ""
    records.fail(current, kind)
    records.count("dead")
    log.warning("a study was given up", extra=said)
    return kind


def _take_out(
    worker: StudyWorker, queue: Queue, job: PipelineJob, execution: Execution, failed_kind: str
) -> None:
    """Let go of the job: gone after success or for a later attempt, shown by RQ after failure.

    A lease that was lost meanwhile means that the job belongs to somebody else already.
    """
    with redis_reached():
        leases = queue.started_job_registry.key
        ours = worker.connection.zscore(leases, execution.composite_key) is not None
        with worker.connection.pipeline() as pipeline:
            execution.delete(job=job, pipeline=pipeline)
            if ours and failed_kind:
                job.set_status(JobStatus.FAILED, pipeline=pipeline)
                queue.failed_job_registry.add(
                    job, ttl=job.failure_ttl, exc_string=failed_kind, pipeline=pipeline
                )
            elif ours:
                pipeline.delete(job.key)
            if failed_kind:
                worker.increment_failed_job_count(pipeline)
            else:
                worker.increment_successful_job_count(pipeline)
            pipeline.execute()
