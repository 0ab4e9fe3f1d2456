"""Start a few processes together, and leave none behind."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from cds_service.errors import ServiceError

_PR_SET_PDEATHSIG = 1


class DidNotStart(ServiceError):
    """A process ended or stayed silent when it should have been ready."""

    kind = "did-not-start"


class Company:
    """Processes that live and die together.

    Each has a session of its own, so that Ctrl-C reaches only us; we then end them in the reverse
    order of their start: first whoever takes work, last whoever keeps it. Should we be killed, the
    kernel ends them (Linux).

    Args:
        log_dir: one file of output for each process.
        patience_s: how long a process may take to end before it is killed.
    """

    def __init__(self, log_dir: Path, patience_s: float = 8.0) -> None:
        self._log_dir = log_dir
        self._patience_s = patience_s
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Company:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start one more; its output goes to ``<log_dir>/<name>.log``."""
        with (self._log_dir / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  the commands are our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        self._processes.append((name, process))
        return process

    def wait_until(self, ready: Callable[[], bool], name: str, within_s: float) -> None:
        """Return when `ready` says so.

        Raises:
            DidNotStart: it took too long, or one of the processes has ended.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise DidNotStart(f"{name} was not ready in {within_s:g} s; see {self._log_dir}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise DidNotStart if one of the processes has ended by itself."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise DidNotStart(f"{name} ended by itself; see {self._log_dir / name}.log")

    def end(self) -> None:
        """End them all, gently, then not; returns when none is left."""
        while self._processes:
            _, process = self._processes.pop()
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self._patience_s)
            if process.poll() is None:
                process.kill()
                process.wait()


def _end_with_parent() -> None:
    """In the child: be ended when the parent is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether an HTTP server on loopback answers 2xx there."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  loopback, our own
            status: int = answer.status
            return 200 <= status < 300
    except (urllib.error.URLError, OSError):
        return False
