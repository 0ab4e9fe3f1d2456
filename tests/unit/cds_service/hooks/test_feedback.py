"""The body of a feedback call, read by itself (see `test_rules` for the route)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cds_service.feedback import Feedback
from cds_service.hooks.errors import InvalidCall
from cds_service.hooks.feedback import parse_feedback


def feedback(written: str) -> Feedback:
    entry = {"card": "a-1", "outcome": "overridden", "outcomeTimestamp": written}
    (found,) = parse_feedback({"feedback": [entry]})
    return found


@pytest.mark.parametrize(
    ("written", "second"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01t00:00:00z", 0),
        ("2026-01-01T01:00:00+01:00", 0),
        ("2025-12-31T23:30:00-00:30", 0),
        ("2026-01-01T00:00:07-00:00", 7),
        ("2026-01-01T00:00:07.5Z", 7),
        ("2026-01-01T00:00:07.123456789012Z", 7),
        ("2025-12-31T23:59:60Z", 0),
        ("2026-01-01T00:59:60.9+01:00", 0),
    ],
)
def test_a_time_is_read_as_rfc_3339_writes_it(written: str, second: int) -> None:
    start_s = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert feedback(written).at_s - start_s == second


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"])
def test_the_ends_of_the_calendar_are_times(written: str) -> None:
    assert abs(feedback(written).at_s) > 6e10


@pytest.mark.parametrize(
    "written",
    [
        "20260101T000000Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01x00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-01-01T00Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+01:00:30",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:61Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "２０２６-01-01T00:00:00Z",  # digits that are not ASCII
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "",
    ],
)
def test_what_rfc_3339_does_not_write_is_refused(written: str) -> None:
    with pytest.raises(InvalidCall, match="outcomeTimestamp"):
        feedback(written)
