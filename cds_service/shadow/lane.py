"""Which studies are analysed once more, and how they are queued.

A shadow run has a record and a job of its own, in the backfill queue: it is retried and found again
like any study, and the study that it follows is never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from cds_service.orders import Orders
from cds_service.queue.errors import QueueError
from cds_service.queue.state import Priority, StudyRecord
from inference.analysis import Analysis
from inference.shadow import shadowed

log = logging.getLogger(__name__)

SHADOW = "shadow"
"""Member of an order that asks for a shadow run, and the first part of its record's id."""

_KEPT = ("tenant", "study_uid", "archive", "patient_reference")
"""What a shadow run needs of an order: nothing that only the report is written with."""


@dataclass(frozen=True)
class ShadowLane:
    """Offers each study that has ended to the lane.

    `share` (0 to 1) of them are taken. `both` are the ids of the models that may run in either
    precision: a study that none of these answered has nothing to compare.
    """

    orders: Orders
    share: float
    both: Set[str]

    def offer(self, order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
        """Queue a shadow run of a study if it is one of the share; never fails the study."""
        answered = {result.model_id for result in analysis.results}
        if not answered & self.both or not shadowed(record.id, self.share):
            return
        asked = {name: order[name] for name in _KEPT} | {SHADOW: True}
        try:
            self.orders.submit(
                asked,
                f"{SHADOW}-{record.id}",
                analysis.instance_digest,
                record.models,
                Priority.BACKFILL,
            )
        except QueueError as error:
            log.warning("a shadow run was not queued", extra={"kind": error.kind})


def is_shadow(order: Mapping[str, Any]) -> bool:
    """Whether an order asks for a shadow run."""
    return order.get(SHADOW) is True


def of_shadow(study: str) -> bool:
    """Whether a record's id is that of a shadow run."""
    return study.startswith(f"{SHADOW}-")
