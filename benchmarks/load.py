"""An open-loop generator: calls are due at a fixed rate, whether earlier ones are answered or not.

``python -m benchmarks.load FILE``, where FILE is a JSON object with `port`, `rate` (calls a
second) and `calls`, each a whole HTTP/1.1 request as text. It prints a JSON object with
`latencies_ms`, from the moment a call was *due* to the end of its answer, and `errors`. A process
of its own, so that what measures does not wait for what is measured.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 48
PATIENCE_S = 10.0


@dataclass
class Found:
    """What one connection measured."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0


class Connection(threading.Thread):
    """Sends what it takes from the queue over one kept connection."""

    def __init__(self, port: int, due: queue.SimpleQueue[tuple[float, bytes] | None]) -> None:
        super().__init__(daemon=True)
        self._port, self._due, self.found = port, due, Found()
        self._socket = self._open()

    def run(self) -> None:
        """Until the queue says that there is no more."""
        try:
            self._take()
        finally:
            self._socket.close()

    def _take(self) -> None:
        while (call := self._due.get()) is not None:
            due_s, request = call
            try:
                self._socket.sendall(request)
                status = self._answer()
            except OSError:
                status = 0
                self._socket.close()
                self._socket = self._open()
            self.found.latencies_ms.append((time.monotonic() - due_s) * 1e3)
            self.found.errors += status != 200

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _answer(self) -> int:
        """Read one answer to its last byte; its status."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._part()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            int(line[15:])
            for line in head.split(b"\r\n")
            if line[:15].lower() == b"content-length:"
        )
        missing = length - len(body)
        while missing > 0:
            missing -= len(self._part())
        return int(head[9:12])

    def _part(self) -> bytes:
        part = self._socket.recv(65_536)
        if not part:
            raise ConnectionError
        return part


def fire(port: int, rate: float, calls: list[bytes], connections: int = CONNECTIONS) -> Found:
    """Send every call when it is due and wait for the answers."""
    due: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
    threads = [Connection(port, due) for _ in range(connections)]
    for thread in threads:
        thread.start()
    begin = time.monotonic() + 0.05
    for number, call in enumerate(calls):
        at = begin + number / rate
        time.sleep(max(0.0, at - time.monotonic()))
        due.put((at, call))
    for _ in threads:
        due.put(None)
    whole = Found()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
        whole.latencies_ms += thread.found.latencies_ms
        whole.errors += thread.found.errors
    whole.errors += len(calls) - len(whole.latencies_ms)
    return whole


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    print(
        json.dumps(vars(fire(asked["port"], asked["rate"], [c.encode() for c in asked["calls"]])))
    )
