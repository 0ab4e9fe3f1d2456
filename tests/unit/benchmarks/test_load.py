"""The generator counts from when a call was due, not from when it got its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.load import fire

CALL = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
EACH_S = 0.02


class OneAtATime(BaseHTTPRequestHandler):
    """Answers each call after 20 ms; with one thread, calls wait for each other."""

    def do_POST(self) -> None:
        time.sleep(EACH_S)
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), OneAtATime) as server:
        server.socket.listen(64)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def test_waiting_for_a_busy_server_is_counted(port: int) -> None:
    found = fire(port, 1000, [CALL] * 5, connections=5)
    assert len(found.latencies_ms) == 5
    assert max(found.latencies_ms) > 3 * EACH_S * 1e3


def test_an_answer_that_is_no_success_is_an_error(port: int) -> None:
    found = fire(port, 1000, [CALL.replace(b"POST /", b"POST /broken")], connections=1)
    assert found.errors == 1
