"""A visit in the demo EHR: whose charts there are, what is in one, and the hooks it fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.hook_client import Exchange, HookClient
from cds_service.sandbox.seed import PRACTITIONER_ID, draft_order, encounter_id

Resource = dict[str, Any]

PATIENT_VIEW = "imaging-ai-patient-view"
ORDER_SELECT = "imaging-ai-order-select"
_WRITTEN = ("DiagnosticReport", "Observation", "Device", "Provenance", "DocumentReference")


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


def patients(store: FhirStore) -> list[PatientSummary]:
    """Every patient with the imaging studies, newest first; who was last imaged stands first."""
    found = [one for one in store.all() if one["resourceType"] == "Patient"]
    summaries = [patient_summary(store, patient) for patient in found]
    return sorted(summaries, key=lambda one: one.newest, reverse=True)


def patient_summary(store: FhirStore, patient: Resource) -> PatientSummary:
    """What a list or a banner shows of a patient."""
    name: Resource = next(iter(patient.get("name", [])), {})
    words = [*name.get("given", []), name.get("family", "")]
    identifiers = [str(i.get("value", "")) for i in patient.get("identifier", [])]
    query = [("patient", patient["id"]), ("_sort", "-started")]
    return PatientSummary(
        id=patient["id"],
        name=" ".join(word for word in words if word),
        born=patient.get("birthDate", ""),
        gender=patient.get("gender", "unknown"),
        identifier=next(iter(identifiers), ""),
        studies=store.search("ImagingStudy", query).resources,
    )


def written_resources(store: FhirStore, patient_id: str) -> list[Resource]:
    """What was written about a patient: reports, observations, and what they point to."""
    found: list[Resource] = []
    reached: set[str] = set()
    for kind in _WRITTEN:
        for resource in store.all():
            own = f"{resource['resourceType']}/{resource['id']}"
            about = resource.get("subject", {}).get("reference") == f"Patient/{patient_id}"
            pointed = own in reached or bool(_references(resource.get("target", [])) & reached)
            if resource["resourceType"] == kind and (about or pointed):
                found.append(resource)
                reached |= {own} | _references(resource.get("device"))
    return found


def _references(value: object) -> set[str]:
    items = value if isinstance(value, list) else [value]
    return {
        str(item["reference"]) for item in items if isinstance(item, dict) and "reference" in item
    }


def open_chart(hooks: HookClient, patient_id: str) -> Exchange:
    """Fire patient-view 1.0 for a patient."""
    return hooks.fire(PATIENT_VIEW, "patient-view", _context(patient_id))


def select_order(hooks: HookClient, patient_id: str) -> Exchange:
    """Fire order-select 1.0 with a draft of an imaging order."""
    order = draft_order(patient_id)
    reference = f"ServiceRequest/{order['id']}"
    drafts = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]}
    context = _context(patient_id) | {"selections": [reference], "draftOrders": drafts}
    return hooks.fire(ORDER_SELECT, "order-select", context)


def _context(patient_id: str) -> Resource:
    return {
        "userId": f"Practitioner/{PRACTITIONER_ID}",
        "patientId": patient_id,
        "encounterId": encounter_id(patient_id),
    }
