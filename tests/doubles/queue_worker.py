"""Start, kill and await workers of `tests.doubles.queue_jobs` from a test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from cds_service.queue import QueueUnavailable

ROOT = Path(__file__).resolve().parents[2]
SHARED_S = 60.0
"""How long what takes a moment may take on a machine where others compute, too."""


class WorkerProcess:
    """One worker process with its log."""

    def __init__(self, url: str, folder: Path, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "worker.log"
        arguments = json.dumps({"url": url, "folder": str(folder / "work"), **options})
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.doubles.queue_jobs", arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Of the parent."""
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Process ids of the warm child, if there is one."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in path.read_text().split()]
        return []

    def kill(self, child: bool = True, parent: bool = True) -> None:
        """kill -9 of either or both."""
        victims = [*(self.children if child else []), *([self.pid] if parent else [])]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if parent:
            self._process.wait()

    def terminate(self, within_s: float = SHARED_S) -> int:
        """SIGTERM, and the exit status."""
        self._process.terminate()
        return self._process.wait(within_s)

    def terminate_twice(self) -> None:
        """SIGTERM, and again after more than a second."""
        self._process.terminate()
        time.sleep(1.3)
        self._process.terminate()

    def wait(self, within_s: float = SHARED_S) -> int:
        """The exit status."""
        return self._process.wait(within_s)

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
            self.kill()


def eventually(
    condition: Callable[[], Any], within_s: float, log: Callable[[], str] = str
) -> float:
    """Wait for a condition; how long it took. Fails with the log if it never holds.

    `within_s` is what it takes at most on a machine of one's own. A queue that does not answer in
    time is asked again.
    """
    begun, patience_s = time.monotonic(), max(within_s, SHARED_S)
    while not _holds(condition):
        waited = time.monotonic() - begun
        assert waited < patience_s, f"not within {patience_s} s\n{log()[-6000:]}"
        time.sleep(0.02)
    return time.monotonic() - begun


def _holds(condition: Callable[[], Any]) -> bool:
    with contextlib.suppress(QueueUnavailable, RedisError):
        return bool(condition())
    return False
