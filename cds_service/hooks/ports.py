"""What the hook needs of its neighbours, as protocols: the queue, the chart, and what it notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cds_service.clients.policy import HttpPolicy
from cds_service.model_choice import ServedModels
from cds_service.orders import Orders, StudyKey
from cds_service.queue.state import StudyRecord
from cds_service.settings import TenantSettings

__all__ = ["FhirReader", "Known", "LookUp", "OpenFhir", "Queue", "Records", "StudyKey"]


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


@dataclass(frozen=True)
class Known:
    """What is known of some studies at one moment.

    `served` are the models in use for the tenant, `records` those of the studies in their order,
    `answers` what was answered of each: outcome by claim by study (see `cards.claims_of`); a study
    of which that cannot be known is not there.
    """

    served: ServedModels
    records: Sequence[StudyRecord | None]
    answers: Mapping[str, Mapping[str, str]]


LookUp = Callable[[str, Sequence[str]], Known]
"""(tenant's name, opaque ids of studies) -> what is known now. Raises QueueUnavailable."""
