"""When a study reached each step, as Redis itself noted it: what the status page shows."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from cds_service.queue import Dispatcher, Priority, State, StudyRecord, web_connection
from tests.doubles.queue_jobs import dispatcher_for

pytestmark = pytest.mark.peer
STUDY = "5d" * 16


@pytest.fixture
def dispatcher(connection: Redis) -> Dispatcher:
    """The queue of an empty server."""
    return dispatcher_for(connection)


def ordered(dispatcher: Dispatcher) -> StudyRecord:
    record: StudyRecord = dispatcher.submit({"name": "a"}, STUDY, "c1", "m1", "routine")
    return record


def test_each_step_is_noted_once_with_its_time(dispatcher: Dispatcher) -> None:
    records = dispatcher.records
    record = records.begin(ordered(dispatcher), "w1")
    for state in (State.FETCHING, State.FETCHING, State.INFERRING):
        record = records.advance(record, state)
    records.reprioritise(record, Priority.STAT)
    reached = records.reached(STUDY)
    assert list(reached) == [State.RECEIVED, State.FETCHING, State.INFERRING]
    assert list(reached.values()) == sorted(reached.values())
    assert reached[State.RECEIVED] == record.created_ms
    assert records.now_ms() >= reached[State.INFERRING]
    assert records.get(STUDY) is not None, "and the record's seal still holds"


def test_the_end_is_noted_too_and_a_new_attempt_begins_anew(dispatcher: Dispatcher) -> None:
    records = dispatcher.records
    record = records.begin(ordered(dispatcher), "w1")
    record = records.fail(records.advance(record, State.FETCHING), "gone")
    assert list(records.reached(STUDY)) == [State.RECEIVED, State.FETCHING, State.FAILED]
    records.restart(record)
    assert list(records.reached(STUDY)) == [State.RECEIVED]


def test_what_somebody_else_wrote_there_is_passed_over(dispatcher: Dispatcher, server: Any) -> None:
    ordered(dispatcher)
    client: Redis = web_connection(server.url)
    client.hset(
        f"cds:study:{STUDY}", "reached", "received:12 <b>:3 fetching:x final:99999999999999999"
    )
    assert dispatcher.records.reached(STUDY) == {State.RECEIVED: 12}
    assert dispatcher.records.reached("ab" * 16) == {}
    client.close()
