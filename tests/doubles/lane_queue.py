"""A queue that work of its own is put behind everything else in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cds_service.queue.state import StudyRecord


@dataclass
class LaneQueue:
    """Keeps what is submitted; `error` refuses it."""

    error: Exception | None = None
    orders: list[tuple[Any, ...]] = field(default_factory=list)

    def submit(self, *arguments: Any) -> StudyRecord:
        if self.error:
            raise self.error
        self.orders.append(arguments)
        return StudyRecord(arguments[1])
