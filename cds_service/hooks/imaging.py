"""Which studies does this trigger mean: from prefetch, else from the EHR with its token.

The chart is asked once for what the client did not send, within one deadline, and for Endpoints
only when a study must be ordered: an answer that is ready costs no call.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from cds_service.clients.errors import TimedOut, UpstreamError
from cds_service.clients.policy import HOOK_POLICY, Deadline
from cds_service.hooks.discovery import ENCOUNTER_KEY, PATIENT_KEY, STUDIES_KEY
from cds_service.hooks.errors import DataMissing, InvalidCall, ServerNotAllowed
from cds_service.hooks.ports import FhirReader, OpenFhir
from cds_service.hooks.request import HookRequest, Sent
from cds_service.security.egress import NotAllowed, parse_url
from cds_service.settings import TenantSettings
from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.errors import MappingError, NotOurs, StudyNotAvailable
from fhir_mapping.reading import member, members
from fhir_mapping.study import (
    PatientRef,
    StudyRef,
    endpoint_references,
    patient_ref,
    study_ref,
    unusable_ref,
)

_log = logging.getLogger(__name__)

READ_AT_MOST = 100
"""ImagingStudy resources looked at in one hook, whatever the server sends."""

ENDPOINTS_AT_MOST = 4


def check_server(request: HookRequest, tenant: TenantSettings) -> None:
    """Accept no ``fhirServer`` but the tenant's own; nothing is connected to before.

    Raises:
        ServerNotAllowed: another scheme, host, port or path.
    """
    if request.fhir_server is None:
        return
    try:
        same = parse_url(request.fhir_server) == parse_url(tenant.fhir_base)
    except NotAllowed:
        same = False
    if not same:
        raise ServerNotAllowed("fhirServer is not the server that is configured for this caller.")


def check_patient(request: HookRequest) -> None:
    """Accept no Patient resource but that of the chart that is open.

    Raises:
        InvalidCall: the resource has the id of somebody else.
    """
    stated = request.prefetched(PATIENT_KEY, "Patient").resource.get("id")
    if stated not in (None, request.context.patient_id):
        raise InvalidCall("prefetch.patient is another patient than context.patientId.")


@dataclass(frozen=True)
class FoundStudy:
    """One study of the patient, the resource it was read from, and why it cannot be ordered."""

    ref: StudyRef
    resource: Mapping[str, Any]
    problem: MappingError | None = None

    @property
    def name(self) -> str:
        """What tells it from the patient's other studies: the study UID, else the resource."""
        return self.ref.name or json.dumps(self.resource, sort_keys=True)


class Chart:
    """The patient's chart as one hook call may see it. Use it as a context manager.

    Args:
        archives: the configured archives, with the tenant's default.
        open_fhir: opens the tenant's FHIR server with the call's token.
        deadline_s: for everything that is read here together.
    """

    def __init__(
        self,
        request: HookRequest,
        tenant: TenantSettings,
        archives: ArchiveAddresses,
        open_fhir: OpenFhir,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_server(request, tenant)
        check_patient(request)
        self._request = request
        self._tenant = tenant
        self._archives = archives
        self._open_fhir = open_fhir
        self._deadline_s = deadline_s
        self._clock = clock
        self._deadline: Deadline | None = None
        self._server: FhirReader | None = None
        self._whose: PatientRef | None = None

    def __enter__(self) -> Chart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    def studies(self, most: int) -> list[FoundStudy]:
        """The newest studies of the patient, newest first, none of them twice.

        One that states no usable study UID or archive is among them, with its `problem`: it gets
        no analysis, and is told so. One that is another's or not available is not.

        Raises:
            DataMissing: neither prefetched nor readable (HTTP 412). A chart without studies is
                an empty list.
        """
        found = {study.name: study for study in self._found(self._resources(most))}
        return sorted(found.values(), key=_started, reverse=True)[:most]

    def encounter(self) -> Mapping[str, Any]:
        """The encounter of the context; empty when there is none or it cannot be had."""
        encounter_id = self._request.context.encounter_id
        sent = self._request.prefetched(ENCOUNTER_KEY, "Encounter")
        found: Mapping[str, Any] | None = sent.resource
        if encounter_id and sent.sent in (Sent.ABSENT, Sent.FAILED) and self._may("Encounter", "r"):
            found = self._read(f"Encounter/{encounter_id}")
        return found if found and found.get("id") == encounter_id else {}

    def orderable(self, study: FoundStudy) -> StudyRef:
        """The study with what only an order needs: patient identifiers and the right archive.

        What cannot be read is left out: the default archive, no identifiers (then the worker
        refuses images that state a patient).

        Raises:
            MappingError: an Endpoint names an archive that is not allowed.
        """
        patient, fhir_base = self._patient(), self._tenant.fhir_base
        references = endpoint_references(study.resource, fhir_base)[:ENDPOINTS_AT_MOST]
        endpoints = {ref: self._read(ref) for ref in references}
        return self._ref(study.resource, patient, endpoints)

    def _found(self, resources: Iterator[Mapping[str, Any]]) -> Iterator[FoundStudy]:
        """One that cannot be used costs a line in the log, never the others."""
        patient = patient_ref(self._request.context.patient_id)
        for resource in resources:
            try:
                yield FoundStudy(self._ref(resource, patient, {}), resource)
            except (NotOurs, StudyNotAvailable) as error:
                _log.info("study left out", extra={"kind": error.kind})
            except MappingError as error:
                _log.info("study not usable", extra={"kind": error.kind})
                yield FoundStudy(unusable_ref(resource, patient), resource, error)

    def _ref(
        self, resource: object, patient: PatientRef, endpoints: Mapping[str, object]
    ) -> StudyRef:
        return study_ref(
            resource,
            patient=patient,
            archives=self._archives,
            fhir_base=self._tenant.fhir_base,
            endpoints=endpoints,
        )

    def _resources(self, most: int) -> Iterator[Mapping[str, Any]]:
        sent = self._request.prefetched(STUDIES_KEY, "Bundle")
        if sent.sent is Sent.EMPTY:
            return iter(())
        if sent.sent is Sent.FAILED and not self._readable():
            raise DataMissing("prefetch.studies could not be read by the client.")
        if sent.sent in (Sent.ABSENT, Sent.FAILED):
            return iter(self._searched(most))
        page = list(islice(_matches(sent.resource), READ_AT_MOST))
        if len(page) < most and _has_next(sent.resource) and self._readable():
            return iter(self._rest(page, most))
        return iter(page)

    def _rest(self, page: list[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
        """The client sent one page of several: read the whole ourselves, or make do with it."""
        try:
            return self._searched(most)
        except DataMissing:
            _log.info("study list is one page of several", extra={"kind": "paged"})
            return page

    def _searched(self, most: int) -> list[Mapping[str, Any]]:
        if not self._readable():
            raise DataMissing("prefetch.studies is missing, and ImagingStudy cannot be read.")
        params = {
            "patient": self._request.context.patient_id,
            "status": "available",
            "_sort": "-started",
            "_count": str(most),
        }
        try:
            found = self._fhir().search("ImagingStudy", params, self._policy())
            # a server that ignores _count sends page after page: stop when there is enough
            return list(islice(found, READ_AT_MOST if most > READ_AT_MOST else 4 * most))
        except (UpstreamError, NotAllowed) as error:
            _log.warning("chart could not be read", extra={"kind": error.kind})
            raise DataMissing("ImagingStudy could not be read from fhirServer.") from None

    def _readable(self) -> bool:
        return self._may("ImagingStudy", "s")

    def _may(self, resource_type: str, access: str) -> bool:
        """A server is named, and the token, if there is one, is good for this access."""
        token = self._request.authorization
        if self._request.fhir_server is None:
            return False
        return token is None or token.allows(resource_type, access)

    def _patient(self) -> PatientRef:
        """The chart's patient; whatever was sent instead of identifiers, the server is asked once.

        They are what protects against images of somebody else, so ``null`` and an
        OperationOutcome are no answer here.
        """
        if self._whose is None:
            sent = self._request.prefetched(PATIENT_KEY, "Patient").resource
            whose = self._known(sent)
            if not whose.identifiers:
                read = self._known(self._read(whose.reference))
                stated = read.identifiers or read.identifiers_left_out
                whose = read if stated else whose
            self._whose = whose
        return self._whose

    def _known(self, resource: Mapping[str, Any] | None) -> PatientRef:
        patient_id = self._request.context.patient_id
        try:
            return patient_ref(patient_id, resource or None)
        except MappingError as error:
            _log.warning("patient left out", extra={"kind": error.kind})
            return patient_ref(patient_id)

    def _read(self, reference: str) -> Mapping[str, Any] | None:
        """A resource that we can do without."""
        if self._request.fhir_server is None:
            return None
        try:
            return self._fhir().read(reference, self._policy())
        except (UpstreamError, NotAllowed) as error:
            _log.info("resource could not be read", extra={"kind": error.kind})
            return None

    def _fhir(self) -> FhirReader:
        if self._server is None:
            token = self._request.authorization
            user = self._request.context.user_reference or ""
            access = token.access_token if token else None
            self._server = self._open_fhir(self._tenant, access, user)
        return self._server

    def _policy(self) -> Any:
        """What is left of the one deadline; it begins with the first call."""
        self._deadline = self._deadline or Deadline(self._deadline_s, self._clock)
        left_s = self._deadline.remaining_s()
        if left_s <= 0:
            raise TimedOut("The chart did not answer in time.", deadline_s=self._deadline_s)
        return replace(HOOK_POLICY, deadline_s=left_s, silence_s=left_s, connect_s=min(1.0, left_s))


def _matches(bundle: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in members(bundle, "entry"):
        resource = member(entry, "resource")
        if resource.get("resourceType") == "ImagingStudy":
            yield resource


def _has_next(bundle: Mapping[str, Any]) -> bool:
    return any(link.get("relation") == "next" for link in members(bundle, "link"))


def _started(study: FoundStudy) -> float:
    """Epoch seconds; a study without a date is the oldest, a date without a zone is UTC."""
    written = study.ref.started_text
    if not written:
        return float("-inf")
    try:
        moment = study.ref.started or datetime.fromisoformat(f"{written}-01-01"[:10])
    except ValueError:
        return float("-inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
