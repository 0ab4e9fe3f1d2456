"""The way of a job's own record, step by step."""

from __future__ import annotations

from typing import Any

from cds_service.queue.records import StudyRecords
from cds_service.queue.state import State, StudyRecord


class RecordWay:
    """Moves one record; a step that it stands at already is no step."""

    def __init__(self, records: StudyRecords, record: StudyRecord) -> None:
        self._records, self._record = records, record

    def to(self, state: State, **changes: Any) -> None:
        """Take a step. Raises StaleRecord when somebody else has the job, QueueUnavailable."""
        if changes or self._record.state is not state:
            self._record = self._records.advance(self._record, state, **changes)
