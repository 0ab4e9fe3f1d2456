"""A worker process whose jobs do what their orders say: work, fail, crash, hang.

Use: ``python -m tests.doubles.queue_jobs '{"url": ..., "folder": ..., "policy": {...}}'``.
What a job did is counted in Redis under ``test:``, so that a test sees every run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from cds_service import logs
from cds_service.queue import (
    Dispatcher,
    DispatchPolicy,
    JobContext,
    Sealer,
    State,
    StudyRecords,
    WorkerPolicy,
    run_worker,
    worker_connection,
)

SECRET = b"a site secret that only tests know"
QUICK: dict[str, Any] = {
    "beat_s": 1,
    "lease_s": 4,
    "stuck_s": 1,
    "sweep_s": 0.5,
    "grace_s": 1,
    "farewell_s": 1,
    "backoff_s": [0.2, 0.4],
    "memory_bytes": 4 << 30,
}
"""Times short enough for a test, in the proportions of the real ones."""


class Permanent(Exception):
    """Says that it will fail again."""

    kind = "undecodable"
    retryable = False


class Passing(Exception):
    """Says that it may go well another time."""

    kind = "upstream"
    retryable = True


class Panic(BaseException):
    """What a decoder written in Rust raises."""


def dispatcher_for(connection: Redis, **policy: Any) -> Dispatcher:
    """A dispatcher with the secret of the tests."""
    sealer = Sealer(SECRET)
    records = StudyRecords(connection, sealer)
    return Dispatcher(connection, sealer, records, DispatchPolicy(**policy))


@dataclass
class Jobs:
    """The job function, over a connection of its own."""

    redis: Redis
    records: StudyRecords
    leave_open: bool = False

    def __call__(self, order: dict[str, Any], job: JobContext) -> None:
        """Do what ``order["do"]`` names, then take the study to its end."""
        name = order["name"]
        self.redis.rpush("test:started", name)
        if order.get("show_environment"):
            self.redis.sadd("test:environment", *os.environ)  # noqa: TID251  # what is left of it
        if self.leave_open:
            return
        record = self.records.advance(job.record, State.FETCHING)
        (job.folder / "pixels").write_bytes(b"of a patient")
        if order.get("until_attempt", 99) > record.attempts:
            self._misbehave(order)
        time.sleep(order.get("sleep_s", 0))
        record = self.records.advance(record, State.INFERRING)
        record = self.records.advance(record, State.WRITING)
        time.sleep(order.get("pause_before_end_s", 0))
        self.redis.hincrby("test:runs", name, 1)
        self.redis.set(f"test:result:{record.job_id}", name, nx=True)
        self.records.advance(record, State.FINAL, outcome="done", summary={"pid": os.getpid()})
        self.redis.rpush("test:done", name)

    def _misbehave(self, order: dict[str, Any]) -> None:
        match order.get("do", "work"):
            case "abort":
                os.abort()
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "permanent":
                raise Permanent("of DOE^JANE")
            case "passing":
                raise Passing("of DOE^JANE")
            case "panic":
                raise Panic("of DOE^JANE")
            case "exit":
                sys.exit(0)
            case "hang":
                time.sleep(600)
            case "hang in native code":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                time.sleep(600)
            case "memory":
                bytearray(1 << 40)


def main() -> int:
    """Run one worker as the command line says."""
    options = json.loads(sys.argv[1])
    logs.configure()
    connection = worker_connection(options["url"])
    dispatcher = dispatcher_for(connection, **options.get("dispatch", {}))
    jobs = Jobs(connection, dispatcher.records, options.get("leave_open", False))
    policy = {**QUICK, **options.get("policy", {})}
    policy["backoff_s"] = tuple(policy["backoff_s"])

    def warm_up() -> None:
        connection.rpush("test:warmed", os.getpid())
        if options.get("warm_up_fails"):
            raise Permanent("no models")

    def upkeep() -> None:
        if options.get("tells_of_upkeep"):
            connection.rpush("test:upkeep", os.getpid())

    worker_policy = WorkerPolicy(folder=Path(options["folder"]), **policy)
    return run_worker(dispatcher, jobs, warm_up, worker_policy, upkeep)


if __name__ == "__main__":
    sys.exit(main())
