"""How much waits and how much was given up: the numbers of ``/metrics`` and of the page."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.evidence.lane import of_evidence
from cds_service.queue.records import FAILED, StudyRecords
from cds_service.shadow.lane import of_shadow
from cds_service.triggers.notices import of_notice


def open_studies(records: StudyRecords) -> int:
    """How many studies wait or run, counted up to 1000. Raises QueueUnavailable."""
    return _studies(records.open_records(due_only=False))


def failed_studies(records: StudyRecords) -> int:
    """How many studies were given up, counted up to 1000. Raises QueueUnavailable."""
    return _studies(records.listed(FAILED))


def _studies(ids: Iterable[str]) -> int:
    """How many are studies; the rest are other jobs with a record."""
    return sum(is_study(each) for each in ids)


def is_study(record_id: str) -> bool:
    """Whether a record is that of a study: not of a shadow run, a notice, or evidence alone."""
    return not (of_shadow(record_id) or of_notice(record_id) or of_evidence(record_id))
