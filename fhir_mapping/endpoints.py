"""Which archive an ImagingStudy's Endpoints select (R4 ImagingStudy.endpoint, series.endpoint)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fhir_mapping.addresses import ArchiveAddresses, absolute, is_placeholder, relative_reference
from fhir_mapping.errors import ArchiveNotAllowed, Contradiction, MappingError
from fhir_mapping.reading import Json, codings, members, resource, text


def endpoint_references(imaging_study: object, fhir_base: str) -> tuple[str, ...]:
    """Return the Endpoints of this server that the study and its series refer to (``Endpoint/1``).

    Contained ones are left out: they need no reading. So are those of other servers: reading
    them would mean to connect to wherever a resource says.
    """
    owners = (imaging_study, *members(imaging_study, "series"))
    written = (text(item, "reference") for owner in owners for item in members(owner, "endpoint"))
    found = (relative_reference(item, "Endpoint", fhir_base) for item in written)
    return tuple(dict.fromkeys(item for item in found if item))


@dataclass(frozen=True)
class EndpointChoice:
    """Which archive the Endpoints of a study or a series select (ImagingStudy.endpoint)."""

    study: Json
    study_uid: str
    archives: ArchiveAddresses
    fhir_base: str
    endpoints: Mapping[str, object]

    def archive_of(self, owner: Json, series_uid: str | None = None) -> str | None:
        """Return the name of the archive, or ``None`` when `owner` states no address.

        An Endpoint that was not read, is not active or is no WADO-RS service states none.
        Raises `ArchiveNotAllowed` when addresses are stated and none is on the list.
        """
        refused: MappingError | None = None
        for address in self._addresses(owner):
            try:
                return self.archives.select(address, self.study_uid, series_uid)
            except (ArchiveNotAllowed, Contradiction) as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return None

    def _addresses(self, owner: Json) -> Iterator[str]:
        for item in members(owner, "endpoint"):
            endpoint = self._resolved(text(item, "reference"))
            if endpoint is None or text(endpoint, "status") != "active":
                continue
            kinds = {code for _, code in codings(endpoint, "connectionType")}
            address = endpoint.get("address")
            if "dicom-wado-rs" not in kinds or not isinstance(address, str) or not address.strip():
                continue
            if not is_placeholder(address.strip()):
                yield absolute(address.strip(), self.fhir_base)

    def _resolved(self, reference: str | None) -> Json | None:
        if reference is None:
            return None
        if reference.startswith("#"):
            contained = (resource(item, "Endpoint") for item in members(self.study, "contained"))
            return next((c for c in contained if c and c.get("id") == reference[1:]), None)
        relative = relative_reference(reference, "Endpoint", self.fhir_base)
        found = self.endpoints.get(reference) or self.endpoints.get(relative or "")
        return resource(found, "Endpoint")
