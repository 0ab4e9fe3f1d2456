"""Whatever a job raises becomes a kind and a decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cds_service.queue.child import JobContext, JobTimeout, kind_of, run_once
from cds_service.queue.errors import QueueUnavailable, StaleRecord
from cds_service.queue.state import CLOCKED, StudyRecord, to_fields


class Permanent(Exception):
    kind = "undecodable"
    retryable = False


class Passing(Exception):
    kind = "upstream"
    retryable = True


class OddKind(Exception):
    kind: ClassVar[Any] = "DOE^JANE was here"


class Panic(BaseException):
    pass


def message(timeout_s: float = 5) -> dict[str, Any]:
    """As the parent sends it."""
    record = StudyRecord("s1", attempts=1)
    fields = {**to_fields(record), **{name: "0" for name in CLOCKED}}
    return {"order": {"a": 1}, "record": fields, "timeout_s": timeout_s, "last_attempt": True}


def raising(error: BaseException) -> Callable[[dict[str, Any], JobContext], None]:
    """A job that raises."""

    def job(_order: dict[str, Any], _job: JobContext) -> None:
        raise error

    return job


@pytest.mark.parametrize(
    ("error", "outcome", "kind", "retryable", "spoilt"),
    [
        (Permanent("of DOE"), "error", "undecodable", False, False),
        (Passing("of DOE"), "error", "upstream", True, False),
        (ValueError("of DOE"), "error", "internal", True, False),
        (OddKind("of DOE"), "error", "internal", True, False),
        (MemoryError(), "error", "memory", False, True),
        (Panic("of DOE"), "error", "internal", True, True),
        (SystemExit(0), "error", "internal", True, True),
        (KeyboardInterrupt(), "error", "internal", True, True),
        (JobTimeout(), "error", "timeout", True, True),
        (QueueUnavailable("x"), "error", "queue-unavailable", True, False),
        (StaleRecord("x"), "stale", "stale", False, False),
    ],
)
def test_nothing_gets_out_of_a_job(
    tmp_path: Path, error: BaseException, outcome: str, kind: str, retryable: bool, spoilt: bool
) -> None:
    answer = run_once(message(), raising(error), tmp_path)
    assert (answer["outcome"], answer["kind"]) == (outcome, kind)
    assert (answer["retryable"], answer["spoilt"]) == (retryable, spoilt)
    assert "DOE" not in str(answer)


def test_a_job_gets_its_order_and_its_surroundings(tmp_path: Path) -> None:
    seen: list[tuple[dict[str, Any], JobContext]] = []
    answer = run_once(message(), lambda order, job: seen.append((order, job)), tmp_path)
    assert answer["outcome"] == "done"
    assert answer["rss_bytes"] > 0
    (order, job) = seen[0]
    assert order == {"a": 1}
    assert job.record.id == "s1"
    assert job.folder == tmp_path
    assert job.last_attempt
    assert 0 < job.deadline - time.monotonic() <= 5


def test_a_job_is_interrupted_at_its_deadline_even_if_it_catches_every_exception(
    tmp_path: Path,
) -> None:
    def stubborn(_order: dict[str, Any], _job: JobContext) -> None:
        while True:
            try:
                time.sleep(10)
            except Exception:  # noqa: BLE001, S112  # what a careless job does
                continue

    begun = time.monotonic()
    assert run_once(message(0.1), stubborn, tmp_path)["kind"] == "timeout"
    assert time.monotonic() - begun < 5


def test_no_alarm_is_left_after_a_job(tmp_path: Path) -> None:
    run_once(message(0.05), lambda _order, _job: None, tmp_path)
    time.sleep(0.1)


def test_the_text_of_an_error_is_never_its_kind() -> None:
    assert kind_of(RuntimeError("undecodable")) == "internal"
    assert kind_of(OddKind()) == "internal"
