"""Deadlines, attempts and the circuit breaker, with a clock that stands still until told."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from cds_service.clients.errors import (
    CircuitOpen,
    NotFound,
    ServerError,
    Throttled,
    TimedOut,
    Unreachable,
)
from cds_service.clients.policy import Attempts, Breaker, Deadline, HttpPolicy


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def longest(low: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    "wrong",
    [{"deadline_s": 0}, {"connect_s": -1}, {"bytes_cap": 0}, {"attempts": 0}, {"backoff_s": -1}],
)
def test_an_incomplete_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        HttpPolicy(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_policy_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        HttpPolicy().attempts = 9  # type: ignore[misc]  # the point of the test


def test_waits_double_up_to_their_cap() -> None:
    clock = Clock()
    policy = HttpPolicy(attempts=6, backoff_s=1, backoff_cap_s=5, deadline_s=100)
    attempts = Attempts(policy, Deadline(100, clock), clock.sleep, longest)
    for _ in range(5):
        attempts.again(ServerError("x"))
    assert clock.waits == [1, 2, 4, 5, 5]
    with pytest.raises(ServerError):
        attempts.again(ServerError("x"))


def test_no_wait_goes_beyond_the_deadline() -> None:
    clock = Clock()
    attempts = Attempts(HttpPolicy(), Deadline(3, clock), clock.sleep, longest)
    with pytest.raises(Throttled):
        attempts.again(Throttled("x", retry_after_s=10))
    assert clock.waits == []


def test_what_does_not_pass_is_not_tried_again() -> None:
    clock = Clock()
    attempts = Attempts(HttpPolicy(), Deadline(30, clock), clock.sleep)
    with pytest.raises(NotFound):
        attempts.again(NotFound("x"))


def test_a_breaker_counts_failures_in_a_row_only() -> None:
    clock = Clock()
    breaker = Breaker(limit=3, rest_s=10, clock=clock)
    for outcome in (ServerError("x"), Unreachable("x"), None, TimedOut("x"), NotFound("x")):
        breaker.note(outcome)
    breaker.check("the peer")
    for _ in range(3):
        breaker.note(ServerError("x"))
    with pytest.raises(CircuitOpen):
        breaker.check("the peer")


def test_after_its_rest_one_call_goes_through_and_decides() -> None:
    clock = Clock()
    breaker = Breaker(limit=1, rest_s=10, clock=clock)
    breaker.note(ServerError("x"))
    clock.now += 11
    breaker.check("the peer")
    with pytest.raises(CircuitOpen):
        breaker.check("the peer")  # the first one is still under way
    breaker.note(None)
    breaker.check("the peer")
