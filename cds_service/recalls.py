"""Which model versions were recalled here: cards and pages state nothing of theirs any more.

One JSON line for each recall in a file of the state folder, which workers and web share. It holds
no patient and no study; the operator's reason stands in the FHIR server's Provenance alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ALWAYS_MS = 2**53
"""Later than every analysis."""


@dataclass(frozen=True)
class Recalled:
    """One model version, and the analyses (ms since 1970, both ends included) that it is about.

    `tenants` are those it was recalled for; none is all.
    """

    model_id: str
    model_version: str
    from_ms: int = 0
    to_ms: int = ALWAYS_MS
    tenants: tuple[str, ...] = ()

    def covers(self, tenant: str, model_id: str, model_version: str, analysed_ms: int) -> bool:
        """Whether an answer of that model to that tenant at that time is recalled.

        Where it is not known whose it is (an empty `tenant`), it may be one of these.
        """
        here = not (tenant and self.tenants) or tenant in self.tenants
        same = (model_id, model_version) == (self.model_id, self.model_version)
        return here and same and self.from_ms <= analysed_ms <= self.to_ms


Concerned = Callable[[str, Iterable[tuple[str, str]], int], bool]
"""(tenant, models with versions, time of the analysis) -> whether it is recalled."""


def nothing_recalled(tenant: str, models: Iterable[tuple[str, str]], analysed_ms: int) -> bool:
    """Where nothing is ever recalled."""
    del tenant, models, analysed_ms
    return False


class Recalls:
    """The file of recalls. It is read again when it has changed; without one nothing is recalled.

    A line that cannot be read is left out of what is known, and never of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._known: tuple[Recalled, ...] = ()

    def add(self, recalled: Recalled) -> None:
        """Note a recall, durably; the same one again changes nothing.

        Raises:
            OSError: it could not be noted.
        """
        if recalled in self.known():
            return
        line = json.dumps(asdict(recalled)).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def known(self) -> tuple[Recalled, ...]:
        """Every recall. Raises nothing: a file that cannot be read says what it said before."""
        with self._lock, suppress(OSError):
            found = self._path.stat()
            state = (found.st_mtime_ns, found.st_size)
            if state != self._state:
                self._known = tuple(_read(self._path.read_text("utf-8", "replace").splitlines()))
                self._state = state
        return self._known

    def concern(self, tenant: str, models: Iterable[tuple[str, str]], analysed_ms: int) -> bool:
        """Whether an answer of one of these (model, version) at that time is recalled."""
        known = self.known()
        return any(each.covers(tenant, *model, analysed_ms) for model in models for each in known)


def _read(lines: Iterable[str]) -> Iterable[Recalled]:
    for line in lines:
        with suppress(ValueError, TypeError, RecursionError):
            found = Recalled(**json.loads(line))
            recalled = replace(found, tenants=tuple(found.tenants))
            if isinstance(recalled.from_ms, int) and isinstance(recalled.to_ms, int):
                yield recalled
