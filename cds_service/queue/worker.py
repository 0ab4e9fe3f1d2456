"""The worker: pops without loss, hands each job to its warm child, and settles what came of it.

An RQ worker in the registry (``rq info`` shows it), with its own loop: RQ's leaves at the first
lost connection, runs code that jobs name, and does not find its own dead. Attempts are counted in
our record, so that neither a crash nor a kill -9 can make a study run for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError
from rq import Queue
from rq.executions import Execution
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import BaseWorker
from rq.worker_registration import clean_worker_registry, register

from cds_service.queue.accept import accept
from cds_service.queue.child import JobFunction, rss_bytes
from cds_service.queue.enqueue import Dispatcher, OpenedOrder
from cds_service.queue.errors import (
    QueueUnavailable,
    StaleRecord,
    WorkerUnfit,
)
from cds_service.queue.folder import WorkFolder
from cds_service.queue.job import PipelineJob
from cds_service.queue.listing import WORKER_TELLS
from cds_service.queue.policy import WorkerPolicy
from cds_service.queue.reconcile import reconcile, report_lost, sweep
from cds_service.queue.records import OPEN
from cds_service.queue.settle import Verdict, settle
from cds_service.queue.shares import trim_owners
from cds_service.queue.state import CLOCKED, StudyRecord, to_fields
from cds_service.queue.stop import Stop, Stopped
from cds_service.queue.transport import pick_order
from cds_service.queue.warm import ChildGone, WarmChild, WarmUpFailed

log = logging.getLogger(__name__)

WORKER_TTL_S = 20
TIDY_S = 30.0
"""Between looks for entries of RQ's registries that have had their time."""

REST_S = 1.0
"""Between tries to reach Redis."""

WARM_UPS = 3
"""A child that cannot get ready so often in a row ends the worker: its supervisor should know."""

NO_REDIS = (RedisError, QueueUnavailable, OSError)


def run_worker(
    dispatcher: Dispatcher,
    function: JobFunction,
    warm_up: Callable[[], object],
    policy: WorkerPolicy,
    upkeep: Callable[[], object] = lambda: None,
) -> int:
    """Work until SIGTERM or SIGINT; a job under way is finished first.

    Call it in the main thread of a process without other threads: the child is forked from it.

    Args:
        dispatcher: the queue, on a `worker_connection`.
        function: called in the child as ``function(order, job)`` for each job; moves the record.
        warm_up: called in the child once, before its first job: load the models here.
        policy: times and limits.
        upkeep: called in the parent every `TIDY_S`, whether there is work or not: short, and
            without a thread.

    Returns:
        Exit status: 0 after a wanted end.

    Raises:
        WorkerUnfit: wrong place to start, or the models cannot be loaded.
    """
    if threading.active_count() > 1:
        raise WorkerUnfit("the worker must be started in a process without other threads")
    folder = WorkFolder(policy.folder)
    child = WarmChild(
        function,
        warm_up,
        folder.path,
        policy.memory_bytes,
        policy.warm_up_timeout_s,
        kept=(folder.lock,),
        nice=policy.nice,
    )
    try:
        worker = StudyWorker.arrive(dispatcher, child, folder, policy)
        worker.upkeep = upkeep
        worker.run()
    except Stopped:
        pass
    finally:
        child.end()
        folder.close()
    return 0


class StudyWorker(BaseWorker):  # type: ignore[misc]  # rq is read without types
    """One worker with one warm child. Start it with `run_worker`."""

    job_class = PipelineJob

    def __init__(
        self,
        dispatcher: Dispatcher,
        child: WarmChild,
        folder: WorkFolder,
        policy: WorkerPolicy,
        stop: Stop,
    ) -> None:
        super().__init__(
            list(dispatcher.transport.queues.values()),
            name=folder.name,
            connection=dispatcher.transport.connection,
            job_class=PipelineJob,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            job_monitoring_interval=max(1, int(policy.beat_s)),
            log_job_description=False,
        )
        self.dispatcher, self.child, self.folder, self.policy = dispatcher, child, folder, policy
        self.records, self.transport = dispatcher.records, dispatcher.transport
        self._stop = stop
        self._picks = self._failed_warm_ups = 0
        self._beat_at = self._sweep_at = self._tidy_at = 0.0
        self._state = "starting"
        self._study, self._since_s = "", 0.0
        self.upkeep: Callable[[], object] = lambda: None

    @classmethod
    def arrive(
        cls, dispatcher: Dispatcher, child: WarmChild, folder: WorkFolder, policy: WorkerPolicy
    ) -> StudyWorker:
        """Wait for Redis, then take the name and the jobs of the worker that was here before."""
        stop = Stop()
        while not stop:
            try:
                worker = cls(dispatcher, child, folder, policy, stop)
                worker.birth_date = worker.last_heartbeat = now()
                worker.announce()
                worker.reclaim()
                reconcile(dispatcher, everything=True)
            except NO_REDIS as error:
                log.warning("Redis is not there yet", extra=_why(error))
                time.sleep(REST_S)
            else:
                log.info("the worker is there", extra={"worker": worker.name})
                return worker
        raise Stopped

    def run(self) -> None:
        """The loop: one turn is one job, or one short sleep."""
        while not self._stop:
            try:
                self._turn()
            except NO_REDIS as error:
                log.warning("Redis is out of reach", extra=_why(error))
                time.sleep(REST_S)
        try:
            self.register_death()
        except NO_REDIS:
            log.warning("Redis was out of reach at the end")

    def get_heartbeat_ttl(self, job: PipelineJob, working_time: float = 0.0) -> int:
        """Seconds that a lease lasts; RQ adds a minute, which would be the time to recovery."""
        return self.policy.lease_s

    def announce(self) -> None:
        """Say that this worker is alive, even to a Redis that forgot it."""
        self.last_heartbeat = now()
        with self.connection.pipeline() as pipeline:
            said = {**self.serialize(), "state": self._state, **self._told()}
            pipeline.hset(self.key, mapping=said)
            pipeline.hdel(self.key, "death")
            pipeline.expire(self.key, WORKER_TTL_S + 60)
            register(self, pipeline)
            pipeline.execute()
        self._beat_at = time.monotonic() + self.policy.beat_s

    def _told(self) -> dict[str, str | int]:
        """For `listing.WorkerRow`: the study in hand, since when, and the memory that is held."""
        held = rss_bytes() + (rss_bytes(self.child.pid) if self.child.pid else 0)
        values = (self._study, int(self._since_s), held)
        return dict(zip(WORKER_TELLS, values, strict=True))

    def reclaim(self) -> None:
        """Queue again what the worker of this name was doing; our lock says that it is dead."""
        lost = []
        for member in self.connection.smembers(self.executions_key):
            execution = Execution.from_composite_key(member.decode(), self.connection)
            with self.connection.pipeline() as pipeline:
                for queue in self.queues:
                    pipeline.zrem(queue.started_job_registry.key, member)
                pipeline.delete(execution.key)
                held = any(pipeline.execute()[: len(self.queues)])
            if held:
                lost.append(execution.job_id)
        report_lost(self.dispatcher, lost)
        self.connection.delete(self.executions_key)

    def _turn(self) -> None:
        self._upkeep()
        if not self._child_ready():
            return
        found = self.transport.pop(pick_order(self._picks, self.policy.lower_first_every))
        if found is None:
            self.transport.wait(self.policy.wait_s)
            return
        self._picks += 1
        queue, job_id = found
        try:
            self._run(queue, job_id)
        finally:
            self.folder.empty()
            self._state, self._study = "idle", ""
            self._beat_at = 0.0  # so that nobody sees a study in its hands that it has let go

    def _upkeep(self) -> None:
        """Heartbeat and sweep when their time has come; also while a job runs."""
        moment = time.monotonic()
        if moment >= self._beat_at:
            self.announce()
        if moment >= self._sweep_at:
            self._sweep_at = moment + self.policy.sweep_s
            sweep(self.dispatcher, self.policy.stuck_s, self.policy.sweep_s * 0.9)
        if moment >= self._tidy_at:
            self._tidy_at = moment + TIDY_S
            trim_owners(self.connection, OPEN)
            for queue in self.queues:
                queue.failed_job_registry.cleanup()
                clean_worker_registry(queue)
            self.upkeep()

    def _child_ready(self) -> bool:
        try:
            ready = self.child.ready(0.2)
        except WarmUpFailed as error:
            self._failed_warm_ups += 1
            log.error("the models could not be loaded", extra={"kind": error.kind})
            if self._failed_warm_ups >= WARM_UPS:
                raise WorkerUnfit(f"the models could not be loaded ({error.kind})") from None
            time.sleep(REST_S)
            return False
        if ready:
            self._failed_warm_ups = 0
        return ready

    def _run(self, queue: Queue, job_id: str) -> None:
        """One job, from the intermediate list to its end."""
        accepted = accept(self.dispatcher, queue, job_id)
        if accepted is None:
            return
        job, opened, record = accepted
        self._state, self._study, self._since_s = "busy", record.id, time.time()
        execution = self._lease(queue, job)
        try:
            record = self.records.begin(record, self.name)
        except StaleRecord:
            verdict = Verdict("stale")
        else:
            verdict = self._watch(job, execution, opened, record)
        self._settle(verdict, queue, job, execution, record)
        self._replace_child_if_worn(verdict)

    def _lease(self, queue: Queue, job: PipelineJob) -> Execution:
        """Move the job from popped to running, for as long as we are heard."""
        with self.connection.pipeline() as pipeline:
            execution = Execution.create(
                job, self.policy.lease_s, pipeline=pipeline, worker_name=self.name
            )
            job.prepare_for_execution(self.name, pipeline=pipeline)
            pipeline.hset(self.key, mapping={"state": self._state, **self._told()})
            pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
            pipeline.execute()
        return execution

    def _watch(
        self, job: PipelineJob, execution: Execution, opened: OpenedOrder, record: StudyRecord
    ) -> Verdict:
        """Let the child run the job; beat meanwhile; end it when it does not end itself."""
        until = time.monotonic() + job.timeout + self.policy.grace_s
        beat_at = time.monotonic() + self.policy.beat_s
        try:
            self.child.give(self._message(opened, record))
            while True:
                answer = self.child.hear(min(0.5, self.policy.beat_s))
                if answer is not None:
                    return Verdict.of(answer)
                if self._stop and self._stop.cold:
                    self.child.end()
                    return Verdict("lost")
                if time.monotonic() > until:
                    self.child.end()
                    return Verdict("error", "timeout", retryable=True)
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + self.policy.beat_s
                    self._beat_while_busy(job, execution)
        except ChildGone as gone:
            log.error("the child ended in the middle of a job", extra={"kind": gone.how})
            return Verdict("error", "crashed", retryable=True)

    def _beat_while_busy(self, job: PipelineJob, execution: Execution) -> None:
        """A Redis that is away for a moment does not end a job."""
        try:
            self.maintain_heartbeats(job, execution)
            self._upkeep()
        except NO_REDIS as error:
            log.warning("no heartbeat", extra=_why(error))

    def _message(self, opened: OpenedOrder, record: StudyRecord) -> dict[str, Any]:
        clocked = {name: str(getattr(record, name)) for name in CLOCKED}
        return {
            "order": opened.order,
            "record": {**to_fields(record), **clocked},
            "timeout_s": self.dispatcher.policy.job_timeout_s,
            "last_attempt": record.attempts >= self.dispatcher.policy.attempts,
        }

    def _settle(
        self,
        verdict: Verdict,
        queue: Queue,
        job: PipelineJob,
        execution: Execution,
        record: StudyRecord,
    ) -> None:
        """Settle, as often as Redis needs; a verdict is not lost because Redis restarts."""
        since = time.monotonic()
        while True:
            try:
                settle(self, verdict, queue, job, execution, record)
                return
            except NO_REDIS as error:
                log.warning("a result waits for Redis", extra=_why(error))
                if self._stop.given_up(since, self.policy.farewell_s):
                    return
                time.sleep(REST_S)

    def _replace_child_if_worn(self, verdict: Verdict) -> None:
        worn = self.child.jobs >= self.policy.jobs_per_child
        if verdict.spoilt or worn or verdict.rss_bytes > self.policy.rss_bytes:
            self.child.end()


def _why(error: BaseException) -> dict[str, str]:
    """The class of an error for the log; its text may hold an address or a password."""
    return {"kind": type(error.__cause__ or error).__name__}
