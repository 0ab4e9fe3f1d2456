"""Inside the child: load the models once, then run one job after the other.

The parent speaks JSON lines over a socket. Nothing that a job raises gets out: it is told to the
parent as a kind and whether to try again. Sessions are made here, after the fork, because ONNX
Runtime's threads do not survive one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import random
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from cds_service.logs import where
from cds_service.queue.state import StudyRecord, from_fields
from cds_service.settings import forget_secrets

log = logging.getLogger(__name__)

ALARM_AGAIN_S = 5.0
"""A time-out that was swallowed by a destructor comes again."""

PR_SET_PDEATHSIG = 1

SWITCH_S = 0.0002
"""Between threads that want the interpreter; its default of 5 ms is most of a slice's inference,
and the thread that receives images would wait for it again and again."""

_KIND = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True)
class JobContext:
    """What a job has beside its order."""

    record: StudyRecord
    """As the attempt began; what the first `StudyRecords.advance` takes."""

    folder: Path
    """Mode 700, empty; emptied after the job whatever happens."""

    deadline: float
    """`time.monotonic()` at which the attempt is interrupted."""

    last_attempt: bool
    """Whether a failure now is the end."""


JobFunction = Callable[[dict[str, Any], JobContext], None]


class JobTimeout(BaseException):
    """The time of the attempt is over; no ``except Exception`` of a job may swallow it."""


def serve(
    channel: socket.socket,
    lifeline: int,
    function: JobFunction,
    warm_up: Callable[[], object],
    folder: Path,
    memory_bytes: int,
    nice: int = 0,
) -> NoReturn:
    """Be the child until the parent closes the channel or is gone."""
    try:
        _settle_in(lifeline, folder, memory_bytes, nice)
        warm_up()
    except BaseException as error:  # noqa: BLE001  # the parent must hear of it, whatever it is
        _tell(channel, {"ready": False, "kind": kind_of(error), "error": type(error).__name__})
        _leave(70)
    _tell(channel, {"ready": True})
    with channel.makefile("r", encoding="utf-8") as orders:
        for line in orders:
            _tell(channel, run_once(json.loads(line), function, folder))
    _leave(0)


def run_once(message: Mapping[str, Any], function: JobFunction, folder: Path) -> dict[str, Any]:
    """Run one job and say how it went; the one place that catches everything.

    Returns:
        ``outcome`` done, stale or error; of an error ``kind`` and ``retryable``; ``spoilt`` if the
        child should be replaced; ``rss_bytes``.
    """
    timeout_s = float(message["timeout_s"])
    job = JobContext(
        record=from_fields(message["record"]),
        folder=folder,
        deadline=time.monotonic() + timeout_s,
        last_attempt=bool(message["last_attempt"]),
    )
    try:
        with _alarm(timeout_s):
            function(message["order"], job)
        answer: dict[str, Any] = {"outcome": "done"}
    except BaseException as error:  # noqa: BLE001  # decoders raise PanicException, a BaseException
        answer = _failure(error)
        said = {"kind": answer["kind"], "where": f"{type(error).__name__} {where(error)}"}
        log.warning("a job failed", extra={"study": job.record.id, **said})
    return {**answer, "rss_bytes": rss_bytes()}


def kind_of(error: BaseException) -> str:
    """The kind that an error says it is, or a general one; never its text."""
    if isinstance(error, JobTimeout):
        return "timeout"
    if isinstance(error, MemoryError):
        return "memory"
    kind = getattr(error, "kind", "")
    return kind if isinstance(kind, str) and _KIND.fullmatch(kind) else "internal"


def _failure(error: BaseException) -> dict[str, Any]:
    """An error that does not say whether it is permanent is tried again; attempts are counted."""
    kind = kind_of(error)
    retryable = getattr(error, "retryable", not isinstance(error, MemoryError))
    ordinary = isinstance(error, Exception) and not isinstance(error, MemoryError)
    return {
        "outcome": "stale" if kind == "stale" else "error",
        "kind": kind,
        "retryable": bool(retryable),
        "spoilt": not ordinary,
    }


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise JobTimeout

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_AGAIN_S)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _settle_in(lifeline: int, folder: Path, memory_bytes: int, nice: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when the child may go
    _die_with_parent(lifeline)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)  # a core file would hold patient data
    forget_secrets()
    tempfile.tempdir = str(folder)
    random.seed()
    os.nice(nice)
    sys.setswitchinterval(SWITCH_S)


def _die_with_parent(lifeline: int) -> None:
    """Two ways, since a thread cannot run while native code holds the interpreter's lock."""

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(75)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _limit(what: int, soft: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(what, (soft, hard))


def rss_bytes(pid: int | str = "self") -> int:
    """Memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()


def _tell(channel: socket.socket, answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the parent is gone; so are we, soon
        channel.sendall(json.dumps(answer).encode() + b"\n")


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
