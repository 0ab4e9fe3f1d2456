"""What is known as a hook is answered, in one round trip: switches, records and answers.

A hook has some milliseconds, and each question to Redis of its own costs a part of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from redis import Redis

from cds_service.feedback import CardLedger
from cds_service.hooks.ports import Known
from cds_service.model_choice import ServedModels
from cds_service.queue.errors import redis_reached
from cds_service.queue.records import StudyRecords
from cds_service.switches import DISABLED, switched_off


@dataclass(frozen=True)
class Look:
    """Looks once; `served` says what answers for a tenant while these models are switched off."""

    connection: Redis
    records: StudyRecords
    ledger: CardLedger
    served: Callable[[str, Collection[str]], ServedModels]

    def __call__(self, tenant: str, studies: Sequence[str]) -> Known:
        """What is known of these studies, by their opaque ids.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        with redis_reached(), self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(DISABLED)
            self.records.ask(pipeline, studies)
            self.ledger.ask(pipeline, studies)
            disabled, *rows = pipeline.execute(raise_on_error=False)
            records, answers = rows[: len(studies)], rows[len(studies) :]
            for row in (disabled, *records):
                if isinstance(row, Exception):
                    raise row
        return Known(
            served=self.served(tenant, switched_off(disabled).keys()),
            records=[record for record, _ in self.records.told(studies, records)],
            answers=self.ledger.told(studies, answers),
        )
