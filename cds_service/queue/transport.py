"""RQ's lists, used so that no job is ever in none of them.

A job waits in ``rq:queue:<priority>``, is moved by LMOVE into ``...:intermediate``, and is held in
``rq:wip:<priority>`` with a lease while it runs. RQ itself pops several queues with BLPOP, which
loses the job if the worker is killed at that moment; here each step is one atomic move. A list of
tokens (``cds:bell``) wakes an idle worker, so that it need not block on any one queue.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached
from cds_service.queue.job import PipelineJob
from cds_service.queue.policy import DispatchPolicy
from cds_service.queue.records import is_id
from cds_service.queue.state import Priority, StudyRecord
from cds_service.queue.turns import BELL, Turns

# KEYS from-list to-list job-hash ; ARGV job-id to-name
_PROMOTE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], 'origin', ARGV[2])
return 1
"""


@dataclass(frozen=True)
class Whereabouts:
    """Every job that is somewhere, all looked up at the same instant."""

    waiting: frozenset[str]
    popped: frozenset[str]
    running: frozenset[str]
    """With a lease that has not run out."""

    @property
    def live(self) -> frozenset[str]:
        """Jobs that will come to an end without anybody's help."""
        return self.waiting | self.popped | self.running


class Transport:
    """Puts jobs into RQ and finds them again.

    Args:
        connection: of the web or of the worker.
        policy: time-outs and lifetimes of jobs.
    """

    def __init__(self, connection: Redis, policy: DispatchPolicy) -> None:
        self.connection = connection
        self._policy = policy
        self._promote = connection.register_script(_PROMOTE)
        self.turns = Turns(connection)
        self.queues = {
            priority: Queue(
                str(priority),
                connection=connection,
                job_class=PipelineJob,
                serializer=JSONSerializer,
            )
            for priority in Priority
        }

    def push(self, record: StudyRecord, tenant: str, at_front: bool = False) -> bool:
        """Queue the record's job under its one id, in its tenant's turn or before all others;
        False if a job of that id exists."""
        queue = self.queues[record.priority]
        job = PipelineJob.of(
            record.job_id,
            record.sealed,
            self.connection,
            self._policy.job_timeout_s,
            self._policy.failure_ttl_s,
        )
        with redis_reached(), self.connection.pipeline(transaction=False) as unsent:
            try:
                # RQ would list the queue in a round trip of its own: `turns` does that beside
                queue.enqueue_job(job, pipeline=unsent, at_front=at_front, unique=True)
            except DuplicateJobError:
                return False
            if not at_front:
                self.turns.join(queue, job.id, tenant)
            else:
                self.turns.go_first(queue, job.id)
        return True

    def promote(self, record: StudyRecord, tenant: str, priority: Priority) -> bool:
        """Move a waiting job to another queue in one step, then to its tenant's turn there; False
        if it does not wait."""
        source, target = self.queues[record.priority], self.queues[priority]
        with redis_reached():
            keys = [source.key, target.key, PipelineJob.key_for(record.job_id)]
            moved = bool(self._promote(keys=keys, args=[record.job_id, target.name]))
            if moved:
                self.turns.join(target, record.job_id, tenant)
            return moved

    def drop(self, job_id: str) -> None:
        """Remove a job that waits or has ended; one that runs keeps its lease and ends stale."""
        with redis_reached(), self.connection.pipeline() as pipeline:
            for queue in self.queues.values():
                pipeline.lrem(queue.key, 0, job_id)
                pipeline.lrem(queue.intermediate_queue_key, 0, job_id)
                pipeline.zrem(queue.failed_job_registry.key, job_id)
            pipeline.delete(PipelineJob.key_for(job_id))
            pipeline.execute()

    def waiting(self) -> dict[Priority, int]:
        """How many jobs wait in each queue."""
        with redis_reached(), self.connection.pipeline(transaction=False) as pipeline:
            for queue in self.queues.values():
                pipeline.llen(queue.key)
            return dict(zip(Priority, pipeline.execute(), strict=True))

    def ahead_of(self, record: StudyRecord) -> int | None:
        """How many studies wait in front of this one; None if it does not wait."""
        with redis_reached(), self.connection.pipeline(transaction=False) as pipeline:
            for queue in self.queues.values():
                pipeline.llen(queue.key)
            pipeline.lpos(self.queues[record.priority].key, record.job_id)
            *lengths, position = pipeline.execute()
        if position is None:
            return None
        more_urgent = list(Priority).index(record.priority)
        return int(sum(lengths[:more_urgent])) + int(position)

    def whereabouts(self) -> Whereabouts:
        """All jobs that wait, are popped or run, in one transaction."""
        with redis_reached(), self.connection.pipeline(transaction=True) as pipeline:
            for queue in self.queues.values():
                pipeline.lrange(queue.key, 0, -1)
                pipeline.lrange(queue.intermediate_queue_key, 0, -1)
                pipeline.zrangebyscore(_leases(queue), time.time(), "+inf")
            rows = pipeline.execute()
        return Whereabouts(
            waiting=_ids(rows[0::3]), popped=_ids(rows[1::3]), running=_ids(rows[2::3])
        )

    def running(self) -> frozenset[str]:
        """Jobs with a lease that has not run out."""
        with redis_reached(), self.connection.pipeline(transaction=False) as pipeline:
            for queue in self.queues.values():
                pipeline.zrangebyscore(_leases(queue), time.time(), "+inf")
            return _ids(pipeline.execute())

    def pop(self, order: Iterable[Priority]) -> tuple[Queue, str] | None:
        """Move the next job id into its queue's intermediate list; None if nothing waits."""
        for priority in order:
            queue = self.queues[priority]
            moved = self.connection.lmove(queue.key, queue.intermediate_queue_key)
            if moved is not None and is_id(moved):
                return queue, text_of(moved)
            if moved is not None:
                self.connection.lrem(queue.intermediate_queue_key, 0, cast("str", moved))
        return None

    def discard_junk(self) -> None:
        """Remove from the intermediate lists what can be no job id."""
        for queue in self.queues.values():
            for member in self.connection.lrange(queue.intermediate_queue_key, 0, -1):
                if not is_id(member):
                    self.connection.lrem(queue.intermediate_queue_key, 0, cast("str", member))

    def wait(self, seconds: float) -> None:
        """Sleep until the bell rings, at most so long."""
        self.connection.blpop([BELL], timeout=seconds)


def pick_order(pick: int, every: int) -> tuple[Priority, ...]:
    """Which queues to look into for the pick-th job: each `every`-th time routine goes first, each
    `every` * `every`-th time backfill, so that neither starves."""
    stat, routine, backfill = Priority
    if pick and pick % (every * every) == 0:
        return (backfill, stat, routine)
    if pick and pick % every == 0:
        return (routine, stat, backfill)
    return (stat, routine, backfill)


def _leases(queue: Queue) -> str:
    return str(StartedJobRegistry(queue=queue).key)


def _ids(rows: Iterable[Iterable[bytes]]) -> frozenset[str]:
    """Job ids of lists, and of leases (``job:execution``)."""
    return frozenset(text_of(member).split(":")[0] for row in rows for member in row)
