"""Tenants take turns in the queue, in a real Valkey and in a real Redis."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import Dispatcher, StudyRecord, web_connection
from cds_service.queue.state import Priority
from cds_service.queue.transport import pick_order
from tests.doubles.queue_jobs import dispatcher_for

pytestmark = pytest.mark.peer


@pytest.fixture
def dispatcher(connection: Redis) -> Dispatcher:
    return dispatcher_for(connection, tenants=3)


def order(at: Dispatcher, name: str, priority: str = "routine", **changes: Any) -> StudyRecord:
    """A study whose tenant is the first letter of its name."""
    return at.submit(
        {"tenant": name[0]}, f"study-{name}", changes.get("content", "c"), "m", priority
    )


def popped(at: Dispatcher, priority: str = "routine") -> str:
    """The name of the study that a worker takes next; empty if there is none."""
    found = at.transport.pop([Priority(priority)])
    if found is None:
        return ""
    _, job_id = found
    (study,) = (
        each for each in at.records.open_records(due_only=False) if _job(at, each) == job_id
    )
    return study.removeprefix("study-")


def _job(at: Dispatcher, study: str) -> str:
    record = at.records.get(study)
    return record.job_id if record else ""


def rest(at: Dispatcher, priority: str = "routine") -> list[str]:
    """All that wait, in the order in which they are taken."""
    return list(iter(lambda: popped(at, priority), ""))


def test_the_study_of_another_tenant_does_not_wait_for_a_flood(dispatcher: Dispatcher) -> None:
    for number in range(50):
        order(dispatcher, f"a{number:02}")
    assert dispatcher.ahead_of(order(dispatcher, "b0")) == 1
    assert dispatcher.ahead_of(order(dispatcher, "c0")) == 2
    assert dispatcher.ahead_of(order(dispatcher, "b1")) == 4
    assert rest(dispatcher)[:6] == ["a00", "b0", "c0", "a01", "b1", "a02"]


@pytest.mark.parametrize("priority", Priority)
def test_of_one_tenant_the_first_that_came_goes_first(
    dispatcher: Dispatcher, priority: Priority
) -> None:
    names = [f"a{number}" for number in range(9)]
    for name in names:
        order(dispatcher, name, priority)
    assert rest(dispatcher, priority) == names


def test_a_tenant_that_orders_one_by_one_overtakes_a_flood_but_does_not_stop_it(
    dispatcher: Dispatcher,
) -> None:
    """Two that always order again at once leave the third a third."""
    for number in range(9):
        order(dispatcher, f"a{number}")
    taken = []
    for number in range(9):
        order(dispatcher, f"b{number}")
        order(dispatcher, f"c{number}")
        taken += [popped(dispatcher), popped(dispatcher)]
    assert Counter(name[0] for name in taken) == {"a": 6, "b": 6, "c": 6}


def test_a_tenant_that_was_away_gets_its_turn_and_no_more(dispatcher: Dispatcher) -> None:
    """Nobody saves turns up."""
    for number in range(6):
        order(dispatcher, f"a{number}")
    assert [popped(dispatcher) for _ in range(3)] == ["a0", "a1", "a2"]
    for number in range(3):
        order(dispatcher, f"b{number}")
    assert rest(dispatcher) == ["a3", "b0", "a4", "b1", "a5", "b2"]


def test_priorities_go_before_turns(dispatcher: Dispatcher) -> None:
    for number in range(3):
        order(dispatcher, f"a{number}", "stat")
    order(dispatcher, "b0")
    found = dispatcher.transport.pop(pick_order(1, 8))
    assert found is not None
    assert found[0].name == "stat"


def test_what_becomes_urgent_takes_its_turn_among_the_urgent(dispatcher: Dispatcher) -> None:
    order(dispatcher, "b0", "backfill")
    for number in range(3):
        order(dispatcher, f"a{number}", "stat")
    order(dispatcher, "b0", "stat")
    assert rest(dispatcher, "stat") == ["a0", "b0", "a1", "a2"]
    assert rest(dispatcher, "backfill") == []


def test_what_lost_its_worker_goes_first_and_the_turns_go_on(dispatcher: Dispatcher) -> None:
    lost = order(dispatcher, "a0")
    for number in range(1, 4):
        order(dispatcher, f"a{number}")
    assert popped(dispatcher) == "a0"
    dispatcher.enqueue_again(lost, at_front=True)
    order(dispatcher, "b0")
    order(dispatcher, "c0")
    names = rest(dispatcher)
    assert names[0] == "a0"
    assert names.index("b0") <= 2
    assert names.index("c0") <= 3
    assert sorted(names) == ["a0", "a1", "a2", "a3", "b0", "c0"]


def test_what_was_taken_back_holds_no_place(dispatcher: Dispatcher) -> None:
    waiting = [order(dispatcher, f"a{number}") for number in range(6)]
    for record in waiting[1:4]:
        dispatcher.transport.drop(record.job_id)
    order(dispatcher, "b0")
    order(dispatcher, "b1")
    assert rest(dispatcher) == ["a0", "b0", "b1", "a4", "a5"]


def test_a_study_that_grew_waits_anew(dispatcher: Dispatcher) -> None:
    for number in range(3):
        order(dispatcher, f"a{number}")
    order(dispatcher, "a0", content="grown")
    order(dispatcher, "b0")
    assert rest(dispatcher) == ["a1", "b0", "a2", "a0"]


def test_without_the_order_of_turns_nothing_is_lost(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    """Another version queued without turns, or somebody deleted the keys."""
    names = [f"{tenant}{number}" for number in range(4) for tenant in "ab"]
    for name in names:
        order(dispatcher, name)
    connection.delete("cds:turns:routine", "cds:rounds:routine")
    later = [f"{tenant}{number}" for number in range(4, 7) for tenant in "ab"]
    for name in later:
        order(dispatcher, name)
    assert sorted(rest(dispatcher)) == sorted(names + later)


def test_a_job_that_was_taken_before_its_turn_was_given_is_not_put_back(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = order(dispatcher, "a0")
    assert popped(dispatcher) == "a0"
    queue = dispatcher.transport.queues[Priority.ROUTINE]
    dispatcher.transport.turns.join(queue, record.job_id, "a")
    assert connection.llen(queue.key) == 0
    order(dispatcher, "b0")
    assert rest(dispatcher) == ["b0"]


def test_orders_of_many_at_once_lose_nothing(dispatcher: Dispatcher, server: Any) -> None:
    own = [web_connection(server.url) for _ in range(6)]
    several = [dispatcher_for(each, tenants=3) for each in own]
    names = [f"{'abc'[number % 3]}{number:03}" for number in range(90)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda n: order(several[int(n[1:]) % 6], n), names))
    taken = rest(dispatcher)
    assert sorted(taken) == sorted(names)
    for each in own:
        each.close()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_and_goes_nobody_waits_long_and_nothing_is_lost(
    dispatcher: Dispatcher, seed: int
) -> None:
    """Between two of a tenant's studies each other tenant has two at most: of two rounds."""
    dice = random.Random(seed)  # noqa: S311  a walk that can be repeated
    expected, taken = [], []
    since: dict[str, Counter[str]] = {tenant: Counter() for tenant in "abc"}
    for number in range(150):
        if dice.random() < 0.6:
            name = f"{dice.choices('abc', (8, 2, 1))[0]}{number:03}"
            order(dispatcher, name)
            expected.append(name)
        else:
            _take(dispatcher, taken, since, expected)
    while _take(dispatcher, taken, since, expected):
        pass
    assert sorted(taken) == sorted(expected)
    for tenant in "abc":
        own = [name for name in taken if name[0] == tenant]
        assert own == sorted(own)


def _take(
    at: Dispatcher, taken: list[str], since: dict[str, Counter[str]], expected: list[str]
) -> str:
    """One more; each tenant that waits counts what goes before it."""
    name = popped(at)
    if not name:
        return ""
    taken.append(name)
    since[name[0]].clear()
    waiting = {each[0] for each in expected if each not in taken}
    for tenant, seen in since.items():
        if tenant == name[0] or tenant not in waiting:
            seen.clear()
        else:
            seen[name[0]] += 1
            assert max(seen.values()) <= 2, (tenant, seen)
    return name
