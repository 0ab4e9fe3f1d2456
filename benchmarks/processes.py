"""Processes of a benchmark: started on free loopback ports, ended by their pid."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0


class NotStarted(RuntimeError):
    """A process ended or did not answer in time; its last words are in the message."""


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """One process with a log; a context manager that ends it."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command, self.log = [str(part) for part in command], log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self.process is None:
            raise NotStarted("the process is not running")
        return self.process.pid

    def start(self, ready: Callable[[], bool]) -> Program:
        """Start it and wait until `ready` says so."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if ready():
                    return self
            time.sleep(0.02)
        self.end()
        raise NotStarted(f"{self.command[1:4]}: {self.words()}")

    def words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def end(self) -> None:
        """End it in good order, or by force after 5 s."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def script(name: str, *arguments: object) -> list[str]:
    """The command that runs a program installed beside this interpreter."""
    return [sys.executable, str(Path(sys.executable).with_name(name)), *map(str, arguments)]


def children(pid: int) -> list[int]:
    """The process ids of the children of a process (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def memory_mib(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process in MiB; PSS shares out what several processes map (Linux)."""
    facts = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        facts[name] = int(value.split()[0]) / 1024
    return facts["Rss"], facts["Pss"]
