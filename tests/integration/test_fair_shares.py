"""One tenant's flood leaves room for the others, in a real Valkey and in a real Redis."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest
from redis import Redis

from cds_service.bootstrap.dispatch import dispatch_policy
from cds_service.queue import Dispatcher, QueueFull, State, StudyRecord, web_connection
from cds_service.queue.records import OPEN
from cds_service.queue.shares import OWNERS, TenantLoad, number_of, tenant_loads, trim_owners
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, patient_view, settings
from tests.doubles.queue_jobs import dispatcher_for
from tests.security.test_tenants import from_south, states, two_tenants

pytestmark = pytest.mark.peer

NAMES = ("north", "south", "east")


def order(
    dispatcher: Dispatcher, tenant: str, name: object, priority: str = "routine", content: str = "c"
) -> StudyRecord:
    return dispatcher.submit({"tenant": tenant}, f"{tenant}-{name}", content, "m", priority)


def flood(dispatcher: Dispatcher, tenant: str, priority: str = "routine") -> int:
    """Order until it is refused; how many were accepted."""
    for number in range(1000):
        try:
            order(dispatcher, tenant, f"{priority}{number}", priority)
        except QueueFull:
            return number
    raise AssertionError("nothing was ever refused")


def end(dispatcher: Dispatcher, record: StudyRecord) -> None:
    dispatcher.transport.drop(record.job_id)
    dispatcher.records.advance(record, State.ABSTAINED)


def held(connection: Redis) -> dict[str, int]:
    return {load.tenant: load.under_way for load in tenant_loads(connection, NAMES)}


def test_a_flood_of_one_tenant_refuses_none_of_the_others(connection: Redis) -> None:
    shared = dispatcher_for(connection, queue_cap=12, tenants=3)
    assert flood(shared, "north") == 8
    assert flood(shared, "south") == flood(shared, "east") == 2
    assert held(connection) == {"north": 8, "south": 2, "east": 2}
    assert [load.refused for load in tenant_loads(connection, NAMES)] == [1, 1, 1]
    assert shared.records.get("north-routine8") is None


def test_a_tenant_alone_has_the_whole_queue(connection: Redis) -> None:
    assert flood(dispatcher_for(connection, queue_cap=12), "north") == 12


@pytest.mark.parametrize(("reserve", "accepted"), [(0, (20, 0)), (0.5, (15, 5)), (0.9, (11, 9))])
def test_a_site_chooses_how_much_is_kept(
    connection: Redis, reserve: float, accepted: tuple[int, int]
) -> None:
    shared = dispatcher_for(connection, queue_cap=20, tenants=2, tenant_reserve=reserve)
    assert (flood(shared, "north"), flood(shared, "south")) == accepted


def test_the_past_of_nobody_takes_the_place_of_the_present(connection: Redis) -> None:
    shared = dispatcher_for(connection, queue_cap=24, tenants=2)
    assert flood(shared, "north", "backfill") == 12
    assert flood(shared, "south", "backfill") == 0
    assert flood(shared, "south") == 6
    assert flood(shared, "north") == 6
    assert held(connection) == {"north": 6, "south": 6, "east": 0}


def test_what_is_under_way_already_is_never_refused(connection: Redis) -> None:
    shared = dispatcher_for(connection, queue_cap=4, tenants=2)
    assert flood(shared, "north") == 3
    assert order(shared, "north", "routine0").state is State.RECEIVED
    grown = order(shared, "north", "routine0", content="grown")
    assert grown.content_key == "grown"
    assert order(shared, "north", "routine1", "stat").priority == "stat"


def test_what_has_ended_makes_room_and_needs_room_to_begin_anew(connection: Redis) -> None:
    shared = dispatcher_for(connection, queue_cap=4, tenants=2)
    first = order(shared, "north", "first")
    end(shared, first)
    assert held(connection)["north"] == 0
    assert flood(shared, "north") == 3
    with pytest.raises(QueueFull):
        order(shared, "north", "first", content="grown")
    record = shared.records.get("north-routine0")
    assert record is not None
    end(shared, record)
    assert order(shared, "north", "first", content="grown").state is State.RECEIVED


def test_orders_at_the_same_time_find_no_more_room_than_there_is(
    connection: Redis, server: Any
) -> None:
    own = [web_connection(server.url) for _ in range(8)]
    several = [dispatcher_for(each, queue_cap=12, tenants=3) for each in own]

    def accepted(number: int) -> bool:
        with suppress(QueueFull):
            order(several[number % 8], "north", number)
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(accepted, range(80))) == 8
    for each in own:
        each.close()


@pytest.mark.parametrize("seed", range(3))
def test_nobodys_part_is_ever_taken_and_the_cap_holds(connection: Redis, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  a walk that can be repeated
    shared = dispatcher_for(connection, queue_cap=15, tenants=3)
    under_way: list[StudyRecord] = []
    for number in range(300):
        tenant, priority = dice.choice(NAMES), dice.choice(["stat", "routine", "backfill"])
        if under_way and dice.random() < 0.4:
            end(shared, under_way.pop(dice.randrange(len(under_way))))
        before = held(connection)
        try:
            under_way.append(order(shared, tenant, number, priority))
        except QueueFull:
            assert priority == "backfill" or before[tenant] >= 2
        assert connection.zcard(OPEN) == connection.zcard(OWNERS) == len(under_way) <= 15


def test_a_study_that_an_older_version_ended_makes_room_again(connection: Redis) -> None:
    shared = dispatcher_for(connection, queue_cap=12, tenants=3)
    order(shared, "north", 1)
    connection.zadd(OWNERS, {"gone": number_of("north")})
    assert held(connection)["north"] == 2
    trim_owners(connection, OPEN)
    assert held(connection) == {"north": 1, "south": 0, "east": 0}


def test_the_chart_of_the_tenant_that_floods_says_so_and_that_of_the_other_waits(
    connection: Redis,
) -> None:
    at = two_tenants()
    shared = dispatcher_for(connection, queue_cap=12, tenants=2)
    at.queue = cast("Any", QueueAsHooksSeeIt(shared))
    flood(shared, at.settings.tenants[0].name)
    client = at.client()

    def answer(headers: dict[str, str]) -> Any:
        return client.post(PATIENT_VIEW, json=patient_view(), headers=headers)

    (card,) = answer(at.ehr.bearer(PATIENT_VIEW)).get_json()["cards"]
    assert card["summary"] == "AI analysis is not available at the moment"
    assert states(answer(from_south(PATIENT_VIEW))) == ["received"]


class QueueAsHooksSeeIt:
    """Records and orders of the real queue, in the place of their double."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.submit, self.learn = dispatcher.submit, dispatcher.learn
        self.ahead_of, self.get_many = dispatcher.ahead_of, dispatcher.records.get_many


def test_the_settings_share_the_queue_among_the_tenants() -> None:
    south = ehr.tenant(name="south", issuer="https://south.example.org")
    at = settings(tenants=(ehr.tenant(), south), worker={"tenant_reserve": 0.25})
    policy = dispatch_policy(at)
    assert (policy.tenants, policy.tenant_reserve, policy.queue_cap) == (2, 0.25, 10_000)


def test_a_load_names_its_tenant(connection: Redis) -> None:
    ask = partial(tenant_loads, connection, ["nobody"])
    assert ask() == [TenantLoad("nobody", 0, 0)]
