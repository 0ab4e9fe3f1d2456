"""What the hook needs of its neighbours, as protocols: the queue, the chart, and what it notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from cds_service.clients.policy import HttpPolicy
from cds_service.orders import Orders, StudyKey
from cds_service.queue.state import StudyRecord
from cds_service.settings import TenantSettings

__all__ = ["Answers", "FhirReader", "OpenFhir", "Queue", "Records", "StudyKey"]


class Records(Protocol):
    """The study records (see `queue.records.StudyRecords`)."""

    def get_many(self, studies: Sequence[str]) -> list[StudyRecord | None]:
        """The records of these opaque ids. Raises QueueUnavailable."""


class Queue(Orders, Protocol):
    """Accepts work, and says where it stands (see `queue.enqueue.Dispatcher`)."""

    def learn(self, record: StudyRecord, content_key: str) -> StudyRecord:
        """Note what more is known of the content. Raises QueueUnavailable."""

    def ahead_of(self, record: StudyRecord) -> int | None:
        """How many studies wait before this one; None if it does not wait."""


class FhirReader(Protocol):
    """The EHR's FHIR server with the rights of one hook call (see `clients.fhir.FhirServer`)."""

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        """One resource. Raises UpstreamError."""

    def search(
        self, resource_type: str, params: Mapping[str, str], policy: HttpPolicy | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Every match, page after page. Raises UpstreamError while iterating."""

    def close(self) -> None:
        """Close all connections."""


OpenFhir = Callable[[TenantSettings, str | None, str], FhirReader]
"""(tenant, access token of this call, reference of its user or empty) -> its FHIR server; connects
to nothing but `fhir_base`. The user is for the audit trail alone."""

Answers = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]
"""Opaque ids of studies -> what was answered of each: outcome by claim (see `cards.claims_of`).
Never raises; empty when it cannot be known (`feedback.CardLedger.answers`)."""
