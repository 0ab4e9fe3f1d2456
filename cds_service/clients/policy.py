"""How long, how much and how often: complete frozen policies, and what counts them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cds_service.clients.errors import (
    CircuitOpen,
    ServerError,
    Throttled,
    TimedOut,
    Unreachable,
    UpstreamError,
)

Clock = Callable[[], float]
MIB = 1024 * 1024


@dataclass(frozen=True)
class HttpPolicy:
    """The bounds of one call. `deadline_s` holds for everything together, waits included."""

    deadline_s: float = 30.0
    """From the first connection attempt to the last byte of the last retry, in seconds."""

    connect_s: float = 3.0
    """For one TCP connection, in seconds."""

    silence_s: float = 10.0
    """The longest wait for the next byte, in seconds; then the attempt is given up."""

    bytes_cap: int = 8 * MIB
    """The largest answer, in bytes, counted after decompression while it streams."""

    rate_floor_bytes_per_s: float = 0.0
    """A body slower than this over more than `silence_s` is given up; 0 for no floor."""

    attempts: int = 6
    """Attempts of a call that may be repeated; others have one."""

    backoff_s: float = 0.25
    """Upper bound of the first wait; it doubles, and each wait is drawn from 0 to its bound."""

    backoff_cap_s: float = 5.0
    """Upper bound of any drawn wait."""

    retry_after_cap_s: float = 60.0
    """The longest Retry-After that is obeyed; for a longer one the call ends as Throttled."""

    def __post_init__(self) -> None:
        positive = (self.deadline_s, self.connect_s, self.silence_s, self.bytes_cap, self.attempts)
        others = (self.backoff_s, self.backoff_cap_s, self.retry_after_cap_s)
        if min(positive) <= 0 or min(others) < 0 or self.rate_floor_bytes_per_s < 0:
            raise ValueError("A policy needs positive deadlines, caps and attempts.")


HOOK_POLICY = HttpPolicy(deadline_s=0.4, connect_s=0.2, silence_s=0.4, attempts=1)
"""For the one read that a hook may do: it answers late or not at all."""


@dataclass(frozen=True)
class RetrievalPolicy:
    """The bounds of fetching one series."""

    deadline_s: float = 60.0
    """First byte to last in seconds, repeats and the consumer's own time included."""

    series_bytes: int = 4096 * MIB
    """All instances of a series together."""

    instance_bytes: int = 512 * MIB
    """One instance."""

    instances: int = 10_000
    """Instances that one series may list."""

    requests_in_flight: int = 1
    """1 streams the series in one request; more fetch single instances side by side."""

    attempts: int = 12
    """Rounds in a row that bring nothing new before the last error is raised."""


class Deadline:
    """A moment after which a call is over."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._at = clock() + seconds

    def remaining_s(self) -> float:
        """Seconds left; negative when it is over."""
        return self._at - self._clock()

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s() <= 0

    def error(self, peer: str) -> TimedOut:
        """What to raise when it is over."""
        return TimedOut(f"{peer} did not answer in time.", deadline_s=self.seconds)


@dataclass
class Attempts:
    """Counts the attempts of one call and waits between them."""

    policy: HttpPolicy
    deadline: Deadline
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[float, float], float] = random.uniform
    made: int = 0

    def again(self, error: UpstreamError) -> None:
        """Wait before the next attempt after `error`, or raise it if there shall be none."""
        self.made += 1
        if not error.retryable or self.made >= self.policy.attempts:
            raise error
        bound = min(self.policy.backoff_cap_s, self.policy.backoff_s * 2.0 ** (self.made - 1))
        wait_s = self.draw(0.0, bound)
        if isinstance(error, Throttled) and error.retry_after_s is not None:
            if error.retry_after_s > self.policy.retry_after_cap_s:
                raise error
            wait_s += error.retry_after_s
        if wait_s >= self.deadline.remaining_s():
            raise error
        self.sleep(wait_s)


@dataclass
class Breaker:
    """Leaves a peer alone for `rest_s` after `limit` failures in a row (of all threads together).

    Only failures of the peer itself count: no connection, no answer in time, 5xx. When the rest is
    over one call is let through; its outcome closes or opens the circuit again.
    """

    limit: int = 10
    rest_s: float = 15.0
    clock: Clock = time.monotonic
    _failures: int = 0
    _open_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self, peer: str) -> None:
        """Raise `CircuitOpen` if the peer is to be left alone."""
        with self._lock:
            if self._failures < self.limit:
                return
            now = self.clock()
            if now < self._open_until:
                raise CircuitOpen(f"{peer} failed {self._failures} times in a row; we wait.")
            self._open_until = now + self.rest_s

    def note(self, error: UpstreamError | None) -> None:
        """Count the outcome of an attempt."""
        if isinstance(error, CircuitOpen):
            return
        failed = isinstance(error, Unreachable | TimedOut | ServerError)
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures == self.limit:
                self._open_until = self.clock() + self.rest_s
