"""The numbers of the queue."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.errors import WorkerUnfit
from cds_service.queue.payload import Sealer
from cds_service.queue.policy import WorkerPolicy
from cds_service.queue.records import StudyRecords
from cds_service.queue.state import Priority
from cds_service.queue.transport import pick_order
from cds_service.queue.worker import run_worker


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


def test_a_worker_does_not_start_beside_other_threads(tmp_path: Path) -> None:
    """The child is forked, and a lock that another thread holds would stay locked in it."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    nowhere = Redis(unix_socket_path="/nonexistent")
    sealer = Sealer(b"a secret of this test only")
    dispatcher = Dispatcher(nowhere, sealer, StudyRecords(nowhere, sealer))
    try:
        with pytest.raises(WorkerUnfit, match="threads"):
            run_worker(dispatcher, lambda _o, _j: None, lambda: None, WorkerPolicy(tmp_path))
    finally:
        done.set()
        other.join()
