"""From an ImagingStudy to what an order needs, read with our own identity instead of a user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from cds_service.clients.errors import NotFound, Refused
from cds_service.clients.policy import HttpPolicy
from cds_service.settings import TenantSettings
from fhir_mapping.addresses import ArchiveAddresses, relative_reference
from fhir_mapping.errors import MappingError, NotOurs
from fhir_mapping.reading import member, text
from fhir_mapping.study import StudyRef, endpoint_references, patient_ref, study_ref

ENDPOINTS_AT_MOST = 4
CHARTS_AT_MOST = 5
"""Of one study: two charts that hold it exist, twenty are a mistake."""


class FhirReader(Protocol):
    """A tenant's FHIR server as we reach it without a user (see `clients.fhir.FhirServer`)."""

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        """One resource. Raises UpstreamError."""

    def search(
        self, resource_type: str, params: Mapping[str, str], policy: HttpPolicy | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Every match, page after page. Raises UpstreamError while iterating."""


@dataclass(frozen=True)
class OpenChart:
    """One tenant's charts."""

    tenant: TenantSettings
    server: FhirReader
    archives: ArchiveAddresses

    def study(self, resource: Mapping[str, Any]) -> StudyRef:
        """The study of an ImagingStudy, with its patient's identifiers and the right archive.

        Raises:
            MappingError: it cannot be used; UpstreamError: it cannot be read now.
        """
        base = self.tenant.fhir_base
        written = text(member(resource, "subject"), "reference")
        whose = relative_reference(written, "Patient", base)
        if whose is None:
            raise NotOurs("The study does not say whose it is.")
        references = endpoint_references(resource, base)[:ENDPOINTS_AT_MOST]
        return study_ref(
            resource,
            patient=patient_ref(whose, self.server.read(whose)),
            archives=self.archives,
            fhir_base=base,
            endpoints={reference: self._endpoint(reference) for reference in references},
        )

    def studies_of(self, study_uid: str) -> list[StudyRef]:
        """The study with this UID, once for each chart that has it.

        Raises:
            UpstreamError: they cannot be read now.
        """
        uid = f"urn:oid:{study_uid}"
        params = {"identifier": f"urn:dicom:uid|{uid}"}
        found: dict[str, StudyRef] = {}
        for resource in self.server.search("ImagingStudy", params):
            with suppress(MappingError):  # another chart may be in order
                ref = self.study(resource)
                if ref.study_uid == study_uid:
                    found[ref.patient_reference] = ref
            if len(found) == CHARTS_AT_MOST:
                break
        return list(found.values())

    def _endpoint(self, reference: str) -> Mapping[str, Any] | None:
        """An Endpoint, if it may be read: without it the default archive is asked, as in a hook."""
        with suppress(NotFound, Refused):
            return self.server.read(reference)
        return None
