"""Which studies' evidence is stored once more, and how that is queued.

A result is not kept, so it is found again: the study is analysed as before, by a job with a record
of its own, which is tried again as any study is. Objects have the same UIDs then, and what the
archive took meanwhile is not sent twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.orders import Orders
from cds_service.queue.errors import QueueError
from cds_service.queue.state import Priority, StudyRecord

log = logging.getLogger(__name__)

EVIDENCE = "evidence"
"""Member of an order that holds the id of the study whose evidence is missing, and the first part
of its record's id."""


@dataclass(frozen=True)
class EvidenceLane:
    """Queues what has failed."""

    orders: Orders

    def offer(self, order: Mapping[str, Any], record: StudyRecord, digest: str) -> None:
        """Store the evidence of a study of that content again; never fails the study."""
        try:
            self.orders.submit(
                {**order, EVIDENCE: record.id},
                f"{EVIDENCE}-{record.id}",
                digest,
                record.models,
                Priority.BACKFILL,
            )
        except QueueError as error:
            log.warning("evidence will not be tried again", extra={"kind": error.kind})


def is_evidence_order(order: Mapping[str, Any]) -> bool:
    """Whether an order asks for evidence alone."""
    return EVIDENCE in order


def of_evidence(study: str) -> bool:
    """Whether a record's id is that of such an order."""
    return study.startswith(f"{EVIDENCE}-")
