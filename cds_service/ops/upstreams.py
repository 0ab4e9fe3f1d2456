"""When an archive, FHIR server or key set last answered and last failed, as our own calls found it.

Nobody is asked for the sake of the page: whoever calls leaves word in ``cds:upstreams`` in Redis,
one field for the last answer of each upstream and one for its last failure. A hook's reading of the
chart leaves none, since it may cost a hook nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from redis import Redis

from cds_service.clients.errors import (
    CircuitOpen,
    Conflict,
    NotFound,
    Rejected,
    UpstreamError,
)
from cds_service.clients.policy import Breaker
from cds_service.queue.connection import text_of
from cds_service.queue.errors import QueueUnavailable, redis_reached

UPSTREAMS = "cds:upstreams"

AGAIN_S = 15.0
"""The same outcome is not told again sooner: a series is hundreds of calls."""

ANSWERS = (NotFound, Conflict, Rejected)
"""Errors that an upstream answers in good health: it was reached, and knew us."""


@dataclass(frozen=True, order=True)
class Upstream:
    """Somebody we depend on, by the name that the settings give it."""

    kind: Literal["archive", "fhir", "keys"]
    name: str

    @property
    def key(self) -> str:
        """As it stands in Redis; neither part may hold a colon."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Health:
    """Of one upstream: epoch seconds of the last answer and failure, 0 for never; why it failed."""

    upstream: Upstream
    well_s: int = 0
    failed_s: int = 0
    why: str = ""


class UpstreamBoard:
    """Reads and writes what is known. Raises QueueUnavailable when Redis does not answer."""

    def __init__(self, connection: Redis) -> None:
        self._redis = connection

    def tell(self, upstream: Upstream, at_s: float, why: str = "") -> None:
        """Note an answer, or a failure with its kind."""
        how = "failed" if why else "well"
        with redis_reached():
            self._redis.hset(UPSTREAMS, f"{upstream.key}:{how}", f"{int(at_s)} {why}".strip())

    def heard(self, upstreams: Iterable[Upstream]) -> tuple[Health, ...]:
        """What was noted of each of these."""
        with redis_reached():
            entries = self._redis.hgetall(UPSTREAMS)
        texts = {text_of(key): text_of(value) for key, value in entries.items()}
        return tuple(_health(upstream, texts) for upstream in upstreams)


def _health(upstream: Upstream, texts: dict[str, str]) -> Health:
    well_s, _ = _entry(texts.get(f"{upstream.key}:well", ""))
    failed_s, why = _entry(texts.get(f"{upstream.key}:failed", ""))
    return Health(upstream, well_s, failed_s, why)


def _entry(text: str) -> tuple[int, str]:
    at, _, why = text.partition(" ")
    return (int(at), why) if at.isascii() and at.isdigit() and len(at) < 16 else (0, "")


@dataclass
class Listening(Breaker):
    """A breaker that also leaves word of the outcomes, as seldom as it can.

    `board` is asked for when there is something to tell. A board that is away is told later.
    """

    upstream: Upstream = field(kw_only=True)
    board: Callable[[], UpstreamBoard] = field(kw_only=True)
    clock_s: Callable[[], float] = time.time
    _told: str | None = None
    _told_s: float = 0.0
    _telling: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, error: UpstreamError | None) -> None:
        """Count the outcome of an attempt, and tell it if it is news."""
        super().note(error)
        if isinstance(error, CircuitOpen):
            return  # nobody was asked
        why = error.kind if error is not None and not isinstance(error, ANSWERS) else ""
        if self._is_news(why):
            with suppress(QueueUnavailable):  # the next outcome is told
                self.board().tell(self.upstream, self.clock_s(), why)

    def _is_news(self, why: str) -> bool:
        now_s = self.clock()
        with self._telling:
            if self._told == why and now_s - self._told_s < AGAIN_S:
                return False
            self._told, self._told_s = why, now_s
            return True
