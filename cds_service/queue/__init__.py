"""Studies on their way: the records that are the truth, and RQ that carries the jobs.

::

    web      Dispatcher.submit(order)  ->  StudyRecord (received)  ->  RQ job, sealed
    worker   run_worker(dispatcher, function, warm_up, policy)
                 pops without loss  ->  one warm child runs function(order, job)
                 function moves the record: fetching -> inferring -> writing -> final
    anybody  reconcile: open records whose job is gone are queued again

At least once, safe to run twice: a job's id and every effect are named by content.
"""

from cds_service.queue.child import JobContext, JobFunction
from cds_service.queue.connection import refuse_unsafe, web_connection, worker_connection
from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.errors import (
    IllegalTransition,
    PayloadTooLarge,
    QueueError,
    QueueFull,
    QueueUnavailable,
    StaleRecord,
    TamperedPayload,
    UnsafeRedis,
    WorkerUnfit,
)
from cds_service.queue.listing import JobRow, WorkerRow, dead_letters, jobs, workers
from cds_service.queue.payload import Sealer, job_key
from cds_service.queue.policy import DispatchPolicy, WorkerPolicy
from cds_service.queue.records import StudyRecords
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.queue.worker import run_worker

__all__ = [
    "DispatchPolicy",
    "Dispatcher",
    "IllegalTransition",
    "JobContext",
    "JobFunction",
    "JobRow",
    "PayloadTooLarge",
    "Priority",
    "QueueError",
    "QueueFull",
    "QueueUnavailable",
    "Sealer",
    "StaleRecord",
    "State",
    "StudyRecord",
    "StudyRecords",
    "TamperedPayload",
    "UnsafeRedis",
    "WorkerPolicy",
    "WorkerRow",
    "WorkerUnfit",
    "dead_letters",
    "job_key",
    "jobs",
    "refuse_unsafe",
    "run_worker",
    "web_connection",
    "worker_connection",
    "workers",
]
