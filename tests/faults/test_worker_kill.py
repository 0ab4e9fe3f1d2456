"""Workers and their children are killed: no study is lost, none has two results."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import Dispatcher, State, StudyRecord
from tests.doubles.queue_jobs import dispatcher_for
from tests.doubles.queue_worker import ROOT, WorkerProcess, eventually

pytestmark = [pytest.mark.faults, pytest.mark.peer]


@pytest.fixture
def connection(valkey_server: Any) -> Iterator[Redis]:
    """A connection to an empty server."""
    client = Redis(unix_socket_path=str(valkey_server.socket))
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def dispatcher(connection: Redis) -> Dispatcher:
    """The queue."""
    return dispatcher_for(connection)


@pytest.fixture
def worker(valkey_server: Any, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts worker processes that end with the test; the same name has the same folder."""
    started: list[WorkerProcess] = []

    def start(name: str = "w", **options: Any) -> WorkerProcess:
        url = f"unix://{valkey_server.socket}"
        started.append(WorkerProcess(url, tmp_path / name, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def submit(dispatcher: Dispatcher, name: str, **order: Any) -> StudyRecord:
    """Order the study of that name."""
    return dispatcher.submit({"name": name, **order}, f"study{name}", "c1", "m1")


def state_of(dispatcher: Dispatcher, record: StudyRecord) -> StudyRecord:
    """Its record now."""
    now = dispatcher.records.get(record.id)
    assert now is not None
    return now


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_and_nothing_has_two_results_over_four_kills(
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[..., WorkerProcess],
    seed: int,
) -> None:
    """200 jobs, two workers, kill -9 of the child, the parent or both at random moments."""
    chance = random.Random(seed)  # noqa: S311  # the same kills each time
    jobs = 200
    records = [
        submit(dispatcher, str(number), sleep_s=chance.choice([0, 0.005, 0.05]))
        for number in range(jobs)
    ]
    processes = [worker("w0"), worker("w1")]
    eventually(lambda: connection.llen("test:done") > 3, 30, processes[0].text)
    for what in ("both", "parent", "child", "both"):
        time.sleep(chance.uniform(0.1, 0.5))
        victim = chance.randrange(2)
        process = processes[victim]
        process.kill(child=what != "parent", parent=what != "child")
        if what != "child":
            processes[victim] = worker(f"w{victim}")
    begun = time.monotonic()
    eventually(
        lambda: connection.zcard("cds:open") == 0,
        45,
        lambda: processes[0].text() + processes[1].text(),
    )
    recovered_s = time.monotonic() - begun
    states = [state_of(dispatcher, record).state for record in records]
    assert states == [State.FINAL] * jobs
    assert len(connection.keys("test:result:*")) == jobs
    runs = [int(count) for count in connection.hvals("test:runs")]
    assert len(runs) == jobs
    assert sum(count > 1 for count in runs) <= 4  # at most one for each kill
    assert recovered_s < 40
    eventually(lambda: not connection.keys("rq:job:*"), 10)


def test_a_job_popped_by_a_worker_that_dies_at_that_moment_is_done(
    valkey_server: Any,
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[..., WorkerProcess],
) -> None:
    record = submit(dispatcher, "a")
    code = (
        "import os, sys; from redis import Redis; from cds_service.queue.state import Priority;"
        "from tests.doubles.queue_jobs import dispatcher_for;"
        "d = dispatcher_for(Redis(unix_socket_path=sys.argv[1]));"
        "assert d.transport.pop(list(Priority)); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(valkey_server.socket)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert connection.llen("rq:queue:routine") == 0
    process = worker()
    eventually(lambda: state_of(dispatcher, record).state is State.FINAL, 60, process.text)


@pytest.mark.parametrize("do", ["abort", "segfault"])
def test_a_study_that_kills_its_child_each_time_ends_and_the_next_one_runs(
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[..., WorkerProcess],
    do: str,
) -> None:
    process = worker()
    poison, healthy = submit(dispatcher, "poison", do=do), submit(dispatcher, "healthy")
    took_s = eventually(
        lambda: state_of(dispatcher, healthy).state is State.FINAL, 60, process.text
    )
    assert took_s < 40  # start of the worker included
    eventually(lambda: state_of(dispatcher, poison).ended, 60, process.text)
    end = state_of(dispatcher, poison)
    assert (end.state, end.error_kind, end.attempts) == (State.FAILED, "crashed", 3)
    assert dispatcher.records.counts()["crashed"] == 3
    after = submit(dispatcher, "after")
    took_s = eventually(lambda: state_of(dispatcher, after).state is State.FINAL, 60, process.text)
    assert took_s < 30
    assert connection.lrange("test:started", 0, -1).count(b"poison") == 3


def test_a_crash_that_does_not_repeat_costs_one_attempt(
    dispatcher: Dispatcher, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher, "a", do="segfault", until_attempt=2)
    eventually(lambda: state_of(dispatcher, record).ended, 60, process.text)
    end = state_of(dispatcher, record)
    assert (end.state, end.attempts) == (State.FINAL, 2)


@pytest.mark.parametrize("do", ["hang", "hang in native code"])
def test_a_job_that_hangs_is_ended_and_tried_again(
    dispatcher: Dispatcher, worker: Callable[..., WorkerProcess], do: str
) -> None:
    process = worker(dispatch={"job_timeout_s": 1})
    record = submit(dispatcher, "a", do=do, until_attempt=2)
    eventually(lambda: state_of(dispatcher, record).ended, 20, process.text)
    end = state_of(dispatcher, record)
    assert (end.state, end.attempts) == (State.FINAL, 2)
    assert dispatcher.records.counts()["timeout"] == 1


def test_an_idle_child_that_dies_is_replaced_before_the_next_job(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    eventually(lambda: connection.llen("test:warmed") == 1, 20, process.text)
    process.kill(parent=False)
    record = submit(dispatcher, "a")
    eventually(lambda: state_of(dispatcher, record).ended, 60, process.text)
    assert state_of(dispatcher, record).state is State.FINAL


def test_the_child_does_not_outlive_its_parent(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    submit(dispatcher, "a", do="hang")
    eventually(lambda: connection.llen("test:started") == 1, 20, process.text)
    (child,) = process.children
    process.kill(child=False)
    eventually(lambda: not Path(f"/proc/{child}/cmdline").exists() or is_zombie(child), 3)


def is_zombie(pid: int) -> bool:
    """Dead, and only not yet collected by init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_that_comes_back_takes_up_what_it_was_doing_at_once(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(policy={"lease_s": 600})
    record = submit(dispatcher, "a", do="hang", until_attempt=2)
    eventually(lambda: connection.llen("test:started") == 1, 20, process.text)
    eventually(lambda: list((process.folder / "work" / "worker-0").iterdir()), 5)
    process.kill()
    again = worker(policy={"lease_s": 600})
    eventually(lambda: state_of(dispatcher, record).ended, 15, again.text)
    assert state_of(dispatcher, record).state is State.FINAL
    eventually(lambda: not list((again.folder / "work" / "worker-0").iterdir()), 5)


def test_another_worker_takes_over_when_the_lease_runs_out(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker("w0")
    record = submit(dispatcher, "a", do="hang", until_attempt=2)
    eventually(lambda: connection.llen("test:started") == 1, 20, process.text)
    other = worker("w1")
    process.kill()
    eventually(lambda: state_of(dispatcher, record).ended, 20, other.text)
    assert state_of(dispatcher, record).attempts == 2


def test_locks_that_dead_sweepers_left_hold_nobody_up(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    """RQ's own lock lasts 15 minutes; ours never lasts, even if somebody sets it by hand."""
    for queue in ("stat", "routine", "backfill"):
        connection.set(f"rq:clean_registries:{queue}", 1, ex=899)
    connection.set("cds:sweeper", "1")
    record = submit(dispatcher, "a")
    assert dispatcher.transport.pop(list(dispatcher.transport.queues)) is not None
    process = worker()
    eventually(lambda: state_of(dispatcher, record).ended, 20, process.text)


def test_a_second_signal_ends_the_worker_and_the_job_is_done_by_the_next(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher, "a", do="hang", until_attempt=2)
    eventually(lambda: connection.llen("test:started") == 1, 20, process.text)
    process.terminate_twice()
    assert process.wait() == 0
    again = worker()
    eventually(lambda: state_of(dispatcher, record).ended, 15, again.text)
    assert state_of(dispatcher, record).state is State.FINAL


def test_a_worker_whose_models_cannot_be_loaded_ends_and_takes_no_job(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(warm_up_fails=True)
    record = submit(dispatcher, "a")
    assert process.wait() != 0
    assert "could not be loaded" in process.text()
    assert state_of(dispatcher, record).attempts == 0
    assert connection.llen("rq:queue:routine") == 1
