"""The table of steps, and records as hash fields."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from cds_service.queue.errors import IllegalTransition, TamperedPayload
from cds_service.queue.state import (
    CLOCKED,
    ENDED,
    STEPS,
    Priority,
    State,
    StudyRecord,
    check_step,
    from_fields,
    signed_text,
    to_fields,
    took_ms,
)

WAY = [State.RECEIVED, State.FETCHING, State.INFERRING, State.WRITING, State.FINAL]


@pytest.mark.parametrize(("before", "after"), list(pairwise(WAY)))
def test_each_step_of_the_way_is_allowed(before: State, after: State) -> None:
    check_step(before, after)


@pytest.mark.parametrize("before", WAY[:-1])
@pytest.mark.parametrize("after", [State.ABSTAINED, State.FAILED])
def test_every_open_state_may_end_without_a_result(before: State, after: State) -> None:
    check_step(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *[(ended, after) for ended in ENDED for after in State],
        (State.RECEIVED, State.INFERRING),
        (State.RECEIVED, State.FINAL),
        (State.FETCHING, State.FINAL),
        (State.INFERRING, State.FINAL),
        (State.WRITING, State.FETCHING),
        (State.INFERRING, State.RECEIVED),
    ],
)
def test_no_other_step_is_allowed(before: State, after: State) -> None:
    with pytest.raises(IllegalTransition):
        check_step(before, after)


def test_the_table_knows_every_state() -> None:
    assert set(STEPS) == set(State)


RECORD = StudyRecord(
    "s1",
    state=State.WRITING,
    priority=Priority.STAT,
    attempts=2,
    job_id="j",
    content_key="c",
    models="m",
    sealed="{}",
    error_kind="upstream",
    outcome="finding",
    summary={"texts": ["größer"], "probability": 0.25},
    report_id="r",
    explanation_id="e",
    instance_digest="d",
    worker="w-0",
)


def stored(record: StudyRecord) -> dict[str, str]:
    """The hash as Redis holds it."""
    return {**to_fields(record), **{name: str(getattr(record, name)) for name in CLOCKED}}


def test_a_record_survives_being_stored() -> None:
    record = dataclasses.replace(RECORD, revision=7, created_ms=1, updated_ms=2, not_before_ms=3)
    assert from_fields(stored(record)) == record


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(StudyRecord)])
def test_a_record_with_a_field_missing_is_not_ours(name: str) -> None:
    texts = stored(RECORD)
    del texts[name]
    with pytest.raises(TamperedPayload):
        from_fields(texts)


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", "done"), ("priority", "urgent"), ("attempts", "x"), ("summary", "{")],
)
def test_a_record_with_a_malformed_field_is_not_ours(name: str, value: str) -> None:
    with pytest.raises(TamperedPayload):
        from_fields({**stored(RECORD), name: value})


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(StudyRecord) if f.name not in CLOCKED]
)
def test_the_mac_covers_every_field_that_redis_does_not_set(name: str) -> None:
    texts = stored(RECORD)
    assert signed_text(texts) != signed_text({**texts, name: "other"})


def test_stat_comes_before_routine_before_backfill() -> None:
    assert Priority.STAT.before(Priority.ROUTINE)
    assert Priority.ROUTINE.before(Priority.BACKFILL)
    assert not Priority.ROUTINE.before(Priority.ROUTINE)


def test_the_sealed_order_is_not_shown_with_the_record() -> None:
    assert "sealed" not in repr(RECORD)


@pytest.mark.parametrize(
    ("reached", "took"),
    [
        ({}, {}),
        ({"received": 100}, {"received": 900}),
        ({"received": 100, "fetching": 300}, {"received": 200, "fetching": 700}),
        ({"received": 100, "fetching": 300, "failed": 400}, {"received": 200, "fetching": 100}),
        ({"received": 100, "abstained": 100}, {"received": 0}),
        ({"received": 5000}, {"received": 0}),
    ],
)
def test_a_step_lasts_until_the_next_one_or_until_now(
    reached: dict[str, int], took: dict[str, int]
) -> None:
    found = took_ms({State(state): at_ms for state, at_ms in reached.items()}, 1000)
    assert found == took
