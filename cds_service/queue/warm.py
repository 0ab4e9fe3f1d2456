"""The parent's hold on its one warm child: start, ask, hear, end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cds_service.queue.child import JobFunction, serve

PART_BYTES = 65_536


class ChildGone(Exception):
    """The child ended by itself; `how` is its signal or exit status in words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class WarmUpFailed(Exception):
    """The child could not load what jobs need; `kind` says why."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass
class _Process:
    pid: int
    channel: socket.socket
    lifeline: int
    started: float
    ready: bool = False
    jobs: int = 0
    heard: bytes = b""


class WarmChild:
    """One long-lived child process; a crash costs one job and one warm-up.

    Args:
        function: runs one job; called in the child only.
        warm_up: loads the models; called in the child only, once in its life.
        folder: working directory of the child.
        memory_bytes: its address space.
        warm_up_timeout_s: time to get ready.
        kept: file descriptors of the parent that the child closes.
        nice: how far the child stands back for other processes (0 to 19).
    """

    def __init__(
        self,
        function: JobFunction,
        warm_up: Callable[[], object],
        folder: Path,
        memory_bytes: int,
        warm_up_timeout_s: float,
        kept: tuple[int, ...] = (),
        nice: int = 0,
    ) -> None:
        self._function, self._warm_up = function, warm_up
        self._folder, self._memory_bytes = folder, memory_bytes
        self._warm_up_timeout_s = warm_up_timeout_s
        self._kept = kept
        self._nice = nice
        self._process: _Process | None = None

    @property
    def pid(self) -> int:
        """Process id, 0 if there is none."""
        return self._process.pid if self._process else 0

    @property
    def jobs(self) -> int:
        """Jobs that this child has been given."""
        return self._process.jobs if self._process else 0

    def ready(self, seconds: float) -> bool:
        """Whether the child waits for a job; starts it if there is none.

        Raises:
            WarmUpFailed: it said that it cannot, took too long, or died of it.
        """
        if self._process is None:
            self._process = self._start()
        process = self._process
        try:
            answer = self.hear(0 if process.ready else seconds)
        except ChildGone as gone:
            if process.ready:
                return False  # died while idle; the next call starts another one
            raise WarmUpFailed(gone.how) from None
        if answer is not None:
            process.ready = bool(answer["ready"])
            if not process.ready:
                self.end()
                raise WarmUpFailed(str(answer["kind"]))
        elif not process.ready and time.monotonic() - process.started > self._warm_up_timeout_s:
            self.end()
            raise WarmUpFailed("timeout")
        return process.ready

    def give(self, message: Mapping[str, Any]) -> None:
        """Hand a job over. Raises ChildGone."""
        if self._process is None:
            raise ChildGone("not started")
        self._process.jobs += 1
        try:
            self._process.channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise ChildGone(self._bury()) from None

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next answer, or None if none came in this time. Raises ChildGone."""
        process = self._process
        if process is None:
            raise ChildGone("not started")
        until = time.monotonic() + seconds
        while b"\n" not in process.heard:
            left = max(0.0, until - time.monotonic())
            if not select.select([process.channel], [], [], left)[0]:
                return None
            part = self._receive(process)
            process.heard += part
        line, _, process.heard = process.heard.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Kill the child, if there is one, and everything it was doing."""
        if self._process is not None:
            self._bury()

    def _receive(self, process: _Process) -> bytes:
        try:
            part = process.channel.recv(PART_BYTES)
        except OSError:
            part = b""
        if not part:
            raise ChildGone(self._bury())
        return part

    def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        watched, lifeline = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for descriptor in (lifeline, *self._kept):
                os.close(descriptor)
            serve(
                theirs,
                watched,
                self._function,
                self._warm_up,
                self._folder,
                self._memory_bytes,
                self._nice,
            )
        theirs.close()
        os.close(watched)
        return _Process(pid, ours, lifeline, started=time.monotonic())

    def _bury(self) -> str:
        """Make sure that the process is dead and reaped; how it ended, in words."""
        process, self._process = self._process, None
        if process is None:
            return "not started"
        process.channel.close()
        status = _reap(process.pid)
        os.close(process.lifeline)
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        return f"exit {os.waitstatus_to_exitcode(status)}"


def _reap(pid: int) -> int:
    """Wait a moment for a child that is ending by itself, so that its own signal is seen."""
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
