"""The server itself: real sockets, slow and rude clients."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from waitress import wasyncore

from cds_service.web import server
from tests.doubles.hooking import PATIENT_VIEW, Site, patient_view, settings


@pytest.fixture
def at() -> Site:
    return Site(settings(web={"port": 0, "threads": 4}, hook={"body_bytes": 100_000}))


@pytest.fixture
def port(at: Site) -> Iterator[int]:
    running = server(at.app, at.settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    yield running.effective_port
    running.task_dispatcher.shutdown()
    running.trigger.pull_trigger(lambda: wasyncore.close_all(running._map))
    thread.join(5)


def post(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", PATIENT_VIEW, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def signed(at: Site) -> dict[str, str]:
    return at.ehr.bearer(PATIENT_VIEW) | {"Content-Type": "application/json"}


BODY = json.dumps(patient_view()).encode()


def test_a_call_over_a_socket_is_answered_and_says_nothing_of_the_server(
    at: Site, port: int
) -> None:
    status, headers, body = post(port, BODY, signed(at))
    assert status == 200
    assert json.loads(body)["cards"]
    assert "Server" not in headers


def test_too_large_a_body_is_413_whatever_its_size(at: Site, port: int) -> None:
    status, headers, body = post(port, b" " * 120_000, signed(at))
    assert (status, headers["Content-Type"]) == (413, "application/json")
    assert json.loads(body)["resourceType"] == "OperationOutcome"
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as rude:
        rude.sendall(
            b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n"
        )
        assert b" 413 " in rude.recv(4096)


@pytest.mark.parametrize(
    "rude",
    [
        b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_never_reaches_a_service(
    rude: bytes, port: int
) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
        connection.sendall(rude)
        answer = connection.recv(4096)
    assert answer[9:10] in (b"4", b"5")
    assert b"Traceback" not in answer


def test_slow_clients_do_not_keep_others_waiting(at: Site, port: int) -> None:
    with ExitStack() as slow:
        for _ in range(60):
            connection = socket.create_connection(("127.0.0.1", port), 10)
            slow.callback(connection.close)
            connection.sendall(
                b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n"
            )
        started = time.perf_counter()
        assert post(port, BODY, signed(at))[0] == 200
        assert time.perf_counter() - started < 2
