"""Redis freezes, is killed, or is not there: an order is kept or refused, never half accepted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cds_service.queue import QueueUnavailable, State, web_connection
from tests.doubles.queue_jobs import dispatcher_for
from tests.doubles.queue_worker import WorkerProcess, eventually

pytestmark = [pytest.mark.faults, pytest.mark.peer]

PATIENCE_S, AT_MOST_S = 0.5, 5.0
"""What a hook may lose to a frozen Redis, and what it may where the machine is busy."""


@pytest.fixture(params=["valkey_factory", "redis_factory"])
def server(request: pytest.FixtureRequest) -> Any:
    """A fresh one of each of the two servers."""
    return request.getfixturevalue(request.param)()


@pytest.fixture
def worker(server: Any, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker on this server."""
    process = WorkerProcess(server.url, tmp_path / "w")
    yield process
    process.close()


def submit(dispatcher: Any, name: str, **order: Any) -> Any:
    """Order the study of that name."""
    return dispatcher.submit({"name": name, **order}, f"study{name}", "c1", "m1")


def accepted_in_the_end(dispatcher: Any, name: str, **order: Any) -> Any:
    """Order the study as often as a chart is opened until the queue has time for it."""
    found: list[Any] = []
    eventually(lambda: found.append(submit(dispatcher, name, **order)) or found, 20)
    return found[0]


def unavailable_after_s(call: Callable[[], object]) -> float:
    """The call fails, as it should; how long that took."""
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        call()
    return time.monotonic() - begun


def quickly_unavailable(*calls: Callable[[], object]) -> None:
    """The calls fail before the EHR loses patience."""
    took_s = [unavailable_after_s(call) for call in calls]
    assert min(took_s) < PATIENCE_S
    assert max(took_s) < AT_MOST_S


def test_a_frozen_redis_costs_a_hook_less_than_half_a_second(server: Any) -> None:
    dispatcher = dispatcher_for(web_connection(server.url))
    record = accepted_in_the_end(dispatcher, "a")
    server.process.send(signal.SIGSTOP)
    quickly_unavailable(*[partial(submit, dispatcher, f"frozen{number}") for number in range(5)])
    quickly_unavailable(*[partial(dispatcher.records.get, record.id)] * 5)
    server.process.send(signal.SIGCONT)
    assert dispatcher.records.get(record.id) == record
    assert accepted_in_the_end(dispatcher, "b").state is State.RECEIVED


def test_an_absent_redis_is_told_at_once(server: Any) -> None:
    dispatcher = dispatcher_for(web_connection(server.url))
    server.process.kill()
    quickly_unavailable(*[partial(submit, dispatcher, "a")] * 3)
    server.process.start()
    assert accepted_in_the_end(dispatcher, "a").state is State.RECEIVED


def test_nothing_that_was_accepted_is_lost_when_redis_is_killed(
    server: Any, worker: WorkerProcess
) -> None:
    """Three kills of Redis among the orders; web and worker go on without a restart."""
    dispatcher = dispatcher_for(web_connection(server.url))
    accepted = []
    for number in range(120):
        if number % 40 == 20:
            server.process.kill()
            with pytest.raises(QueueUnavailable):
                submit(dispatcher, f"refused{number}")
            server.process.start()
        accepted.append(accepted_in_the_end(dispatcher, str(number)))
    eventually(
        lambda: all(
            record is not None and record.state is State.FINAL
            for record in dispatcher.records.get_many([each.id for each in accepted])
        ),
        180,  # longer than a child may take to warm up, in case the first one does not
        worker.text,
    )
    assert worker.terminate() == 0


def test_a_job_that_runs_while_redis_restarts_is_settled(
    server: Any, worker: WorkerProcess
) -> None:
    connection = web_connection(server.url)
    dispatcher = dispatcher_for(connection)
    record = accepted_in_the_end(dispatcher, "a", pause_before_end_s=2)
    eventually(lambda: connection.llen("test:started") == 1, 60, worker.text)
    server.process.kill()
    time.sleep(0.3)
    server.process.start()

    def final() -> bool:
        now = dispatcher.records.get(record.id)
        return now is not None and now.state is State.FINAL

    eventually(final, 60, worker.text)


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(server: Any, tmp_path: Path) -> None:
    server.process.kill()
    process = WorkerProcess(server.url, tmp_path / "early")
    try:
        eventually(lambda: "not there yet" in process.text(), 60, process.text)
        server.process.start()
        dispatcher = dispatcher_for(web_connection(server.url))
        record = accepted_in_the_end(dispatcher, "a")
        eventually(lambda: (dispatcher.records.get(record.id) or record).ended, 60, process.text)
    finally:
        process.close()


def test_a_worker_can_be_stopped_while_redis_is_away(server: Any, worker: WorkerProcess) -> None:
    eventually(lambda: "is there" in worker.text(), 60, worker.text)
    server.process.kill()
    assert worker.terminate() == 0


def test_a_worker_can_be_stopped_while_a_result_waits_for_redis(
    server: Any, worker: WorkerProcess, tmp_path: Path
) -> None:
    """One signal is enough; the study is done by whoever comes next."""
    connection = web_connection(server.url)
    dispatcher = dispatcher_for(connection)
    record = accepted_in_the_end(dispatcher, "a", pause_before_end_s=1)
    eventually(lambda: connection.llen("test:started") == 1, 60, worker.text)
    server.process.kill()
    eventually(lambda: "a result waits for Redis" in worker.text(), 60, worker.text)
    assert worker.terminate() == 0
    assert "Traceback" not in worker.text()
    server.process.start()
    following = WorkerProcess(server.url, tmp_path / "following")
    try:
        eventually(lambda: (dispatcher.records.get(record.id) or record).ended, 60, following.text)
    finally:
        following.close()


def test_a_redis_without_memory_refuses_and_keeps_what_it_has(server: Any) -> None:
    connection = web_connection(server.url)
    dispatcher = dispatcher_for(connection)
    record = accepted_in_the_end(dispatcher, "a")
    connection.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(QueueUnavailable):
            submit(dispatcher, "b")
        assert dispatcher.records.get(record.id) == record
    finally:
        connection.config_set("maxmemory", "0")
    assert accepted_in_the_end(dispatcher, "b").state is State.RECEIVED


def test_a_redis_that_can_no_longer_write_its_file_refuses(server: Any) -> None:
    """A replica, which answers READONLY, stands for every server that takes no writes."""
    connection = web_connection(server.url)
    dispatcher = dispatcher_for(connection)
    connection.replicaof("127.0.0.1", "1")
    with pytest.raises(QueueUnavailable):
        submit(dispatcher, "a")
    connection.replicaof("NO", "ONE")
    assert accepted_in_the_end(dispatcher, "a").state is State.RECEIVED
