"""A visit in the demo EHR: whose charts there are, what is in one, and the hooks it fires."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cds_service.sandbox.fhir_errors import FhirRefusal
from cds_service.sandbox.hook_client import Exchange, HookClient
from cds_service.sandbox.records import Records
from cds_service.sandbox.seed import ORGANIZATION_ID, PRACTITIONER_ID, order_id, service_request

Resource = dict[str, Any]

PROCEDURES = ("MR head with contrast", "CT head without contrast", "Chest radiograph, two views")
"""What can be ordered here."""

_OF_PATIENT = ("DiagnosticReport", "Observation", "DocumentReference", "Media")


@dataclass(frozen=True)
class PatientSummary:
    """One line of the patient list."""

    id: str
    name: str
    born: str
    gender: str
    identifier: str
    studies: Sequence[Resource]

    @property
    def newest(self) -> str:
        """When the newest study was started, as far as it is known."""
        return max((str(study.get("started", "")) for study in self.studies), default="")


def patients(records: Records) -> list[PatientSummary]:
    """The patients with their imaging studies; who was last imaged stands first."""
    found = records.search("Patient", [("_count", "50")]).resources
    summaries = [patient_summary(records, patient) for patient in found]
    return sorted(summaries, key=lambda one: one.newest, reverse=True)


def patient_summary(records: Records, patient: Resource) -> PatientSummary:
    """What a list or a banner shows of a patient, the studies newest first."""
    name: Resource = next(iter(patient.get("name", [])), {})
    words = [*name.get("given", []), name.get("family", "")]
    identifiers = [str(i.get("value", "")) for i in patient.get("identifier", [])]
    query = [("patient", patient["id"]), ("_sort", "-started")]
    return PatientSummary(
        id=patient["id"],
        name=" ".join(word for word in words if word) or str(name.get("text", "Unnamed")),
        born=patient.get("birthDate", ""),
        gender=patient.get("gender", "unknown"),
        identifier=next(iter(identifiers), ""),
        studies=records.search("ImagingStudy", query).resources,
    )


def study_uid(study: Resource) -> str:
    """The Study Instance UID of an ImagingStudy; empty if it states none (R4 ImagingStudy)."""
    values = [str(one.get("value", "")) for one in study.get("identifier", [])]
    return next((v.removeprefix("urn:oid:") for v in values if v.startswith("urn:oid:")), "")


def written_resources(records: Records, patient_id: str, since: str = "") -> list[Resource]:
    """What was written about a patient, newest first: reports, observations, what they point to.

    With `since`, a FHIR instant, only what was written from then on. What the server does not
    let us search for is left out.
    """
    own = [("patient", patient_id), *([("_lastUpdated", f"ge{since}")] if since else [])]
    found = [one for kind in _OF_PATIENT for one in _searched(records, kind, own)]
    targets = ",".join(f"{one['resourceType']}/{one['id']}" for one in found)
    if targets:
        found += _searched(records, "Provenance", [("target", targets)])
    for reference in sorted(_references(one.get("device") for one in found)):
        kind, _, logical_id = reference.partition("/")
        found += _read(records, kind, logical_id) if kind == "Device" else []
    return sorted(found, key=_updated, reverse=True)


def _updated(resource: Resource) -> str:
    return str(resource.get("meta", {}).get("lastUpdated", ""))


def _searched(records: Records, kind: str, query: Sequence[tuple[str, str]]) -> Sequence[Resource]:
    try:
        return records.search(kind, query).resources
    except FhirRefusal:
        return ()


def _read(records: Records, kind: str, logical_id: str) -> list[Resource]:
    try:
        return [records.read(kind, logical_id)]
    except FhirRefusal:
        return []


def _references(values: Iterable[object]) -> set[str]:
    return {
        str(item["reference"]) for item in values if isinstance(item, dict) and "reference" in item
    }


def orders(records: Records, patient_id: str) -> list[Resource]:
    """The orders of the patient, newest first."""
    return sorted(
        _searched(records, "ServiceRequest", [("patient", patient_id)]), key=_updated, reverse=True
    )


def encounter(records: Records, patient_id: str) -> Resource | None:
    """The encounter that is open, if there is one."""
    query = [("patient", patient_id), ("status", "in-progress")]
    return next(iter(_searched(records, "Encounter", query)), None)


# --- what fires a hook


def open_chart(hooks: HookClient, records: Records, patient_id: str) -> tuple[Exchange, ...]:
    """Fire patient-view 1.0 for a patient."""
    return hooks.call("patient-view", _context(records, patient_id))


def select_order(
    hooks: HookClient, records: Records, patient_id: str, procedure: str
) -> tuple[Exchange, ...]:
    """Fire order-select 1.0 with a draft of an imaging order."""
    context = _with_draft(records, patient_id, procedure)
    selections = [f"ServiceRequest/{order_id(patient_id, procedure)}"]
    return hooks.call("order-select", context | {"selections": selections})


def sign_order(
    hooks: HookClient, records: Records, patient_id: str, procedure: str
) -> tuple[Exchange, ...]:
    """Fire order-sign 1.0 with the draft that is about to be signed."""
    return hooks.call("order-sign", _with_draft(records, patient_id, procedure))


def dispatch_order(
    hooks: HookClient, records: Records, patient_id: str, procedure: str
) -> tuple[Exchange, ...]:
    """Write the signed order and fire order-dispatch 1.1: Radiology is to perform it."""
    order = _order(records, patient_id, procedure) | {"status": "active"}
    performer = f"Organization/{ORGANIZATION_ID}"
    records.keep(order | {"performer": [{"reference": performer}]})
    context = {
        "patientId": patient_id,
        "dispatchedOrders": [f"ServiceRequest/{order['id']}"],
        "performer": performer,
    }
    return hooks.call("order-dispatch", context)


def start_encounter(hooks: HookClient, records: Records, patient_id: str) -> tuple[Exchange, ...]:
    """Write a new encounter and fire encounter-start 1.0."""
    opened: Resource = {
        "resourceType": "Encounter",
        "id": str(uuid.uuid4()),
        "status": "in-progress",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "IMP",
            "display": "inpatient encounter",
        },
        "subject": {"reference": f"Patient/{patient_id}"},
        "period": {"start": _now()},
    }
    records.keep(opened)
    context = _context(records, patient_id) | {"encounterId": opened["id"]}
    return hooks.call("encounter-start", context)


def discharge(hooks: HookClient, records: Records, patient_id: str) -> tuple[Exchange, ...]:
    """Fire encounter-discharge 1.0 for the open encounter, which stays open until it is ended."""
    return hooks.call("encounter-discharge", _context(records, patient_id))


def end_encounter(records: Records, patient_id: str) -> None:
    """The patient has left."""
    found = encounter(records, patient_id)
    if found is not None:
        period = {**found.get("period", {}), "end": _now()}
        records.keep({**found, "status": "finished", "period": period})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _context(records: Records, patient_id: str) -> Resource:
    context = {"userId": f"Practitioner/{PRACTITIONER_ID}", "patientId": patient_id}
    found = encounter(records, patient_id)
    return context | ({"encounterId": found["id"]} if found else {})


def _order(records: Records, patient_id: str, procedure: str) -> Resource:
    found = encounter(records, patient_id)
    return service_request(patient_id, procedure, found["id"] if found else None)


def _with_draft(records: Records, patient_id: str, procedure: str) -> Resource:
    order = _order(records, patient_id, procedure)
    drafts = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]}
    return _context(records, patient_id) | {"draftOrders": drafts}
