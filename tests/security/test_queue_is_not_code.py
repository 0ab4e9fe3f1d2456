"""Whoever can write to Redis can run nothing, read nothing, and show nothing on a card.

RQ imports functions and callbacks by the names in a job's hash, unpickles its data, and calls its
webhooks. Each of these is tried against a real worker.
"""

from __future__ import annotations

import http.server
import json
import pickle
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import Dispatcher, State, StudyRecord, jobs
from cds_service.queue.job import FUNCTION_NAME, PipelineJob
from tests.doubles.queue_jobs import dispatcher_for
from tests.doubles.queue_worker import ROOT, WorkerProcess, eventually

pytestmark = pytest.mark.peer

CREATED = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def connection(valkey_server: Any) -> Iterator[Redis]:
    """What the attacker has, too."""
    client = Redis(unix_socket_path=str(valkey_server.socket))
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def dispatcher(connection: Redis) -> Dispatcher:
    """The queue."""
    return dispatcher_for(connection)


@pytest.fixture
def worker(valkey_server: Any, tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts a worker that ends with the test."""
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        started.append(WorkerProcess(f"unix://{valkey_server.socket}", tmp_path / "w"))
        return started[-1]

    yield start
    for each in started:
        each.close()


def submit(dispatcher: Dispatcher, name: str = "a", **order: Any) -> StudyRecord:
    """Order the study of that name."""
    return dispatcher.submit({"name": name, **order}, f"study{name}", "c1", "m1")


class Gadget:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self.path}",)


def touching(path: Path) -> list[str]:
    """Arguments of os.system that would show that it was called."""
    return [f"touch {path}"]


def data(*parts: Any) -> bytes:
    """RQ's compressed (function, instance, args, kwargs)."""
    return zlib.compress(json.dumps(parts).encode())


def crafted(kind: str, mark: Path, payload: str, port: int) -> dict[str, Any]:
    """A job's hash as an attacker would write it."""
    call = data("os.system", None, touching(mark), {})
    sealed = data(FUNCTION_NAME, None, [payload], {})
    hook = {"url": f"http://127.0.0.1:{port}/", "method": "GET", "headers": {}, "timeout": 1}
    fields: dict[str, Any] = {
        "json call": {"data": call},
        "method of an instance": {"data": data("system", "os", touching(mark), {})},
        "pickle": {"data": zlib.compress(pickle.dumps(Gadget(mark)))},
        "pickle not compressed": {"data": pickle.dumps(Gadget(mark))},
        "pickle in meta": {"data": sealed, "meta": pickle.dumps(Gadget(mark))},
        "pickle in result": {"data": sealed, "result": pickle.dumps(Gadget(mark))},
        "success callback": {"data": sealed, "success_callback_name": "os.system"},
        "failure callback": {"data": call, "failure_callback_name": "os.system"},
        "stopped callback": {"data": sealed, "stopped_callback_name": "os.system"},
        "webhook": {
            "data": sealed,
            "webhooks": json.dumps(
                [{**hook, "job_status": "finished"}, {**hook, "job_status": "failed"}]
            ),
        },
        "another payload": {"data": data(FUNCTION_NAME, None, ['{"v":1}'], {})},
        "retries": {"data": call, "retries_left": "5"},
        "repeats": {"data": sealed, "repeats_left": "5", "repeat_intervals": "[1]"},
        "dependency": {"data": sealed, "dependency_ids": '["x"]'},
        "rate limit": {"data": sealed, "rate_limit_key": "x", "rate_limit_concurrency": "1"},
        "bomb": {"data": zlib.compress(b"0" * 50_000_000, 9)},
        "malformed": {"data": sealed, "timeout": "soon"},
    }[kind]
    return {"origin": "routine", "status": "queued", "created_at": CREATED, **fields}


KINDS = [
    *("json call", "method of an instance", "pickle", "pickle not compressed"),
    *("pickle in meta", "pickle in result", "success callback", "failure callback"),
    *("stopped callback", "webhook", "another payload", "retries", "repeats", "dependency"),
    *("rate limit", "bomb", "malformed"),
]


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A web server that notes who calls."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, calls
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_crafted_job_is_run_and_each_is_counted(
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[[], WorkerProcess],
    listener: tuple[int, list[str]],
    tmp_path: Path,
) -> None:
    port, calls = listener
    genuine = dispatcher.opened(submit(dispatcher, "victim").sealed).blank
    dispatcher.transport.drop(genuine.job_id)
    connection.delete("cds:study:studyvictim", "cds:open")
    marks = tmp_path / "marks"
    marks.mkdir()
    for number, kind in enumerate(KINDS):
        fields = crafted(kind, marks / kind.replace(" ", "-"), genuine.sealed, port)
        connection.hset(f"rq:job:job{number}", mapping=fields)
        connection.rpush("rq:queue:routine", f"job{number}")
    process = worker()
    last = submit(dispatcher, "last")
    eventually(lambda: ended(dispatcher, last), 20, process.text)
    assert list(marks.iterdir()) == []
    assert calls == []
    assert connection.lrange("test:started", 0, -1) == [b"last"]
    assert dispatcher.records.counts()["tampered"] == len(KINDS)
    assert connection.keys("rq:job:job*") == []
    assert connection.lrange("rq:queue:routine:intermediate", 0, -1) == []


def ended(dispatcher: Dispatcher, record: StudyRecord) -> bool:
    """Whether it ended well."""
    now = dispatcher.records.get(record.id)
    return now is not None and now.state is State.FINAL


def test_the_same_crafted_jobs_do_run_under_plain_rq(
    connection: Redis, valkey_server: Any, tmp_path: Path
) -> None:
    """The attacks are real: without PipelineJob the first one works."""
    mark = tmp_path / "mark"
    connection.hset("rq:job:j", mapping=crafted("json call", mark, "", 1))
    connection.rpush("rq:queue:routine", "j")
    code = (
        "import sys; from redis import Redis; from rq import Queue, SimpleWorker;"
        "c = Redis(unix_socket_path=sys.argv[1]);"
        "SimpleWorker([Queue('routine', connection=c, serializer='json')], connection=c,"
        " serializer='json').work(burst=True, logging_level='ERROR')"
    )
    command = [sys.executable, "-c", code, str(valkey_server.socket)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=30)
    assert mark.exists()


def test_garbage_in_the_lists_stops_nobody(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[[], WorkerProcess]
) -> None:
    for garbage in (b"\xff\xfe", b"", b"a:b", b"../../x", b"x" * 100_000, b"absent"):
        connection.rpush("rq:queue:routine", garbage)
        connection.rpush("rq:queue:stat:intermediate", garbage)
        connection.zadd("rq:wip:routine", {garbage: 1})
        connection.zadd("cds:open", {garbage: 1})
    process = worker()
    record = submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    eventually(lambda: connection.llen("rq:queue:stat:intermediate") == 0, 10, process.text)
    assert [row.study for row in jobs(dispatcher.records)] == [record.id]


def test_a_payload_under_another_id_is_refused(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[[], WorkerProcess]
) -> None:
    """A seal is no licence to run the same order under many ids."""
    record = submit(dispatcher)
    for number in range(5):
        job = PipelineJob.of(f"copy{number}", record.sealed, connection, 60, 60)
        dispatcher.transport.queues[record.priority].enqueue_job(job)
    process = worker()
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    eventually(lambda: dispatcher.records.counts().get("tampered") == 5, 10, process.text)
    assert connection.llen("test:started") == 1


@pytest.mark.parametrize("field", ["sealed", "state", "summary", "report_id"])
def test_a_forged_record_is_not_believed_and_the_study_is_done_again(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[[], WorkerProcess], field: str
) -> None:
    record = submit(dispatcher)
    connection.hset(f"cds:study:{record.id}", field, '{"finding": "none"}')
    assert dispatcher.records.get(record.id) is None
    process = worker()
    submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    assert dispatcher.records.counts()["tampered"] >= 1


def test_a_command_on_rqs_channel_does_nothing(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[[], WorkerProcess]
) -> None:
    process = worker()
    eventually(lambda: connection.smembers("rq:workers"), 20, process.text)
    (key,) = connection.smembers("rq:workers")
    name = key.decode().removeprefix("rq:worker:")
    for command in ("shutdown", "kill-horse"):
        connection.publish(f"rq:pubsub:{name}", json.dumps({"command": command}))
    record = submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)


def test_the_child_has_no_secret_in_its_environment(
    valkey_server: Any, connection: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SCANHOOK_SITE_SECRETS", "ARCHIVE_PASSWORD", "EHR_TOKEN"):
        monkeypatch.setenv(name, "a planted secret")
    process = WorkerProcess(f"unix://{valkey_server.socket}", tmp_path / "w")
    try:
        dispatcher = dispatcher_for(connection)
        record = submit(dispatcher, show_environment=True)
        eventually(lambda: ended(dispatcher, record), 20, process.text)
        names = {name.decode() for name in connection.smembers("test:environment")}
        assert "PATH" in names
        assert not {name for name in names if "SECRET" in name or "TOKEN" in name}
        assert not {name for name in names if "PASSWORD" in name or "SCANHOOK" in name}
    finally:
        process.close()
