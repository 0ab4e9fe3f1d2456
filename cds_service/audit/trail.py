"""Where AuditEvents go. Nothing here raises, and nothing waits for a network.

A trail that cannot be written says so in the log, at most once a minute: an analysis is not held
up by its paperwork.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from fhir_mapping.audit_event import Audited, Interaction, audit_event

log = logging.getLogger(__name__)

Resource = dict[str, Any]

WAITING_AT_MOST = 5_000
"""Events that wait for the server; above it they go to the file."""

COMPLAIN_EVERY_S = 60.0
FLUSH_S = 5.0
"""How long the end of a process waits for what is under way."""


class Trail(Protocol):
    """Keeps AuditEvents."""

    def keep(self, event: Resource) -> None:
        """Keep one; never raises and never waits for a network."""


@dataclass(frozen=True)
class Watcher:
    """Makes an AuditEvent of each interaction with one server."""

    trail: Trail
    who: Audited
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __call__(self, interaction: Interaction) -> None:
        """Keep it; a mistake of our own is logged and holds nothing up."""
        try:
            self.trail.keep(audit_event(interaction, self.who, self.now()))
        except Exception as error:  # noqa: BLE001  paperwork never ends an analysis
            log.error("an audit event was lost", extra={"kind": type(error).__name__})


class FileTrail:
    """JSON lines in a file of mode 600 that several processes append to.

    Above `file_bytes` it becomes ``NAME.1``, and so on up to `files`; the oldest goes.
    """

    def __init__(
        self, path: Path, file_bytes: int, files: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._file_bytes, self._files = path, file_bytes, files
        self._clock = clock
        self._complained_s = -COMPLAIN_EVERY_S
        self._lock = threading.Lock()

    def keep(self, event: Resource) -> None:
        """Append one line."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                now_s = self._clock()
                if now_s - self._complained_s >= COMPLAIN_EVERY_S:
                    self._complained_s = now_s
                    log.error("the audit file cannot be written", extra={"kind": error.strerror})

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        guard = os.open(self._path.with_name(f"{self._path.name}.lock"), flags, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            self._rotate(len(line))
            file = os.open(self._path, flags, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        finally:
            os.close(guard)

    def _rotate(self, more: int) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + more <= self._file_bytes:
                return
            for number in range(self._files - 1, 0, -1):
                older = self._path.with_name(f"{self._path.name}.{number}")
                newer = self._path.with_name(f"{self._path.name}.{number - 1}")
                with suppress(FileNotFoundError):
                    (newer if number > 1 else self._path).replace(older)
            self._path.unlink(missing_ok=True)  # where one file is all


class ServerTrail:
    """Creates AuditEvents on the FHIR server from a thread of its own; what fails goes to a file.

    The thread begins with the first event, so that it is there after a fork, too. A process that is
    killed loses what was still waiting.
    """

    def __init__(self, open_server: Callable[[], FhirServer], otherwise: Trail) -> None:
        self._open_server = open_server
        self._otherwise = otherwise
        self._waiting: queue.Queue[Resource] = queue.Queue(WAITING_AT_MOST)
        self._owner = 0
        self._lock = threading.Lock()

    def keep(self, event: Resource) -> None:
        """Hand one to the thread, or to the file if too many wait."""
        self._begin()
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._otherwise.keep(event)

    def flush(self, within_s: float = FLUSH_S) -> None:
        """Wait until nothing waits any more, at most so long."""
        until_s = time.monotonic() + within_s
        while self._waiting.unfinished_tasks and time.monotonic() < until_s:
            time.sleep(0.01)

    def _begin(self) -> None:
        with self._lock:
            if self._owner == os.getpid():
                return
            self._owner = os.getpid()
            self._waiting = queue.Queue(WAITING_AT_MOST)
            threading.Thread(target=self._work, args=(self._waiting,), daemon=True).start()
            atexit.register(self.flush)

    def _work(self, waiting: queue.Queue[Resource]) -> None:
        server: FhirServer | None = None
        while True:
            event = waiting.get()
            try:
                server = server or self._open_server()
                server.write(
                    {"resource": event, "request": {"method": "POST", "url": "AuditEvent"}}
                )
            except UpstreamError:
                self._otherwise.keep(event)
            except Exception as error:  # noqa: BLE001  the thread must go on
                log.error("an audit event was not sent", extra={"kind": type(error).__name__})
                self._otherwise.keep(event)
            finally:
                waiting.task_done()
