"""Word is left of how calls went, seldom, and never in their way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from cds_service.clients.errors import (
    CircuitOpen,
    NotFound,
    Refused,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from cds_service.ops.upstreams import AGAIN_S, Listening, Upstream, UpstreamBoard
from cds_service.queue.errors import QueueUnavailable

PACS = Upstream("archive", "pacs")


@dataclass
class Board:
    """A board that says what it was told."""

    told: list[str] = field(default_factory=list)
    down: bool = False

    def tell(self, upstream: Upstream, at_s: float, why: str = "") -> None:
        if self.down:
            raise QueueUnavailable("Redis does not answer")
        self.told.append(why or "well")


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def listening(board: Board, clock: Clock) -> Listening:
    return Listening(upstream=PACS, board=lambda: cast(UpstreamBoard, board), clock=clock)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, ["well"]),
        (NotFound("x"), ["well"]),
        (Unreachable("x"), ["unreachable"]),
        (TimedOut("x"), ["timeout"]),
        (Refused("x"), ["refused"]),
        (CircuitOpen("x"), []),
    ],
)
def test_an_answer_is_health_and_a_failure_is_its_kind(
    error: UpstreamError | None, told: list[str]
) -> None:
    board = Board()
    listening(board, Clock()).note(error)
    assert board.told == told


def test_the_same_outcome_is_told_seldom_and_another_at_once() -> None:
    board, clock = Board(), Clock()
    breaker = listening(board, clock)
    for _ in range(100):
        breaker.note(None)
    breaker.note(Unreachable("x"))
    breaker.note(None)
    clock.now_s = AGAIN_S
    breaker.note(None)
    assert board.told == ["well", "unreachable", "well", "well"]


def test_it_is_still_a_breaker_and_a_board_that_is_away_fails_no_call() -> None:
    breaker = listening(Board(down=True), Clock())
    for _ in range(breaker.limit):
        breaker.note(Unreachable("x"))
    with pytest.raises(CircuitOpen):
        breaker.check("pacs")
