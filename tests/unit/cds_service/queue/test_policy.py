"""The numbers of the queue."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cds_service.queue.policy import WorkerPolicy
from cds_service.queue.state import Priority
from cds_service.queue.worker import pick_order


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 1), (2, 5), (3, 5), (9, 5)])
def test_the_last_wait_holds_for_all_later_attempts(attempt: int, wait_s: float) -> None:
    assert WorkerPolicy(Path(), backoff_s=(1, 5)).backoff_of(attempt) == wait_s


def test_without_waits_an_attempt_follows_at_once() -> None:
    assert WorkerPolicy(Path(), backoff_s=()).backoff_of(1) == 0


def test_a_lease_outlives_several_heartbeats() -> None:
    policy = WorkerPolicy(Path())
    assert policy.lease_s >= 3 * policy.beat_s


def test_every_priority_is_first_sometimes_and_stat_mostly() -> None:
    first = Counter(pick_order(pick, 8)[0] for pick in range(1, 6401))
    assert first[Priority.STAT] == 5600
    assert first[Priority.ROUTINE] == 700
    assert first[Priority.BACKFILL] == 100


@pytest.mark.parametrize("pick", [0, 1, 7, 8, 63, 64])
def test_every_pick_looks_into_all_queues(pick: int) -> None:
    assert sorted(pick_order(pick, 8)) == sorted(Priority)
