"""The EHR's resources for what the archive holds: patients and ImagingStudies from headers.

Ids are made from the DICOM identifiers, so that a restart gives the same addresses.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import date
from typing import Any

from pydicom import Dataset

from cds_service.sandbox.catalogue import Catalogue, StoredSeries, StoredStudy

Resource = dict[str, Any]

PATIENT_ID_SYSTEM = "https://scanhook.org/sandbox/patient-id"
ACCESSION_SYSTEM = "https://scanhook.org/sandbox/accession"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://scanhook.org/sandbox/fhir")
_GENDERS = {"M": "male", "F": "female", "O": "other"}


def resource_id(*names: str) -> str:
    """A stable id made from `names`."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))


PRACTITIONER_ID = resource_id("practitioner")
ENDPOINT_ID = resource_id("endpoint")
ORGANIZATION_ID = resource_id("radiology")


def seed(catalogue: Catalogue, archive_url: str) -> Iterator[Resource]:
    """Every resource with its id: a practitioner, Radiology, the archive, then patient by patient.

    `archive_url` is the DICOMweb base, without ``/studies``.
    """
    yield {
        "resourceType": "Practitioner",
        "id": PRACTITIONER_ID,
        "name": [{"family": "Sandbox", "given": ["Rosa"], "prefix": ["Dr"]}],
    }
    yield {"resourceType": "Organization", "id": ORGANIZATION_ID, "name": "Radiology"}
    yield _endpoint(archive_url)
    seen: set[str] = set()
    for study in catalogue.studies.values():
        patient_id = patient_key(study)
        if patient_id not in seen:
            seen.add(patient_id)
            yield _patient(study)
            yield _encounter(patient_id)
        yield _imaging_study(study)


def patient_key(study: StoredStudy) -> str:
    """The logical id of the Patient whose study this is."""
    own = _text(study.header, "PatientID") or f"without PatientID {study.study_uid}"
    return resource_id("patient", own, _text(study.header, "IssuerOfPatientID"))


def encounter_id(patient_id: str) -> str:
    """The logical id of the patient's Encounter."""
    return resource_id("encounter", patient_id)


def study_id(study_uid: str) -> str:
    """The logical id of the ImagingStudy."""
    return resource_id("study", study_uid)


def order_id(patient_id: str, procedure: str) -> str:
    """The logical id of the patient's order for a procedure."""
    return resource_id("order", patient_id, procedure)


def service_request(patient_id: str, procedure: str, encounter: str | None = None) -> Resource:
    """A ServiceRequest for an imaging procedure that is being written."""
    order: Resource = {
        "resourceType": "ServiceRequest",
        "id": order_id(patient_id, procedure),
        "status": "draft",
        "intent": "order",
        "category": [
            {"coding": [{"system": "http://snomed.info/sct", "code": "363679005",
                         "display": "Imaging"}]}
        ],
        "code": {"text": procedure},
        "subject": {"reference": f"Patient/{patient_id}"},
        "requester": {"reference": f"Practitioner/{PRACTITIONER_ID}"},
    }  # fmt: skip
    return order | ({"encounter": {"reference": f"Encounter/{encounter}"}} if encounter else {})


def _endpoint(archive_url: str) -> Resource:
    return {
        "resourceType": "Endpoint",
        "id": ENDPOINT_ID,
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": "Sandbox archive",
        "payloadType": [{"text": "DICOM WADO-RS"}],
        "payloadMimeType": ["application/dicom"],
        "address": archive_url,
    }


def _patient(study: StoredStudy) -> Resource:
    header = study.header
    family, _, rest = _text(header, "PatientName").partition("^")
    given = [word for word in re.split(r"[\s^]+", rest) if word]
    name = {"family": family.strip() or "Unnamed"} | ({"given": given} if given else {})
    patient: Resource = {"resourceType": "Patient", "id": patient_key(study), "name": [name]}
    if own := _text(header, "PatientID"):
        patient["identifier"] = [{"system": PATIENT_ID_SYSTEM, "value": own}]
    patient["gender"] = _GENDERS.get(_text(header, "PatientSex"), "unknown")
    if born := _date(_text(header, "PatientBirthDate")):
        patient["birthDate"] = born
    return patient


def _encounter(patient_id: str) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": encounter_id(patient_id),
        "status": "in-progress",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "AMB",
            "display": "ambulatory",
        },
        "subject": {"reference": f"Patient/{patient_id}"},
    }


def _imaging_study(study: StoredStudy) -> Resource:
    header = study.header
    identifiers: list[Resource] = [
        {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_uid}"}
    ]
    if accession := _text(header, "AccessionNumber"):
        kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}
        identifiers.append(
            {"type": {"coding": [kind]}, "system": ACCESSION_SYSTEM, "value": accession}
        )
    patient_id = patient_key(study)
    resource: Resource = {
        "resourceType": "ImagingStudy",
        "id": study_id(study.study_uid),
        "identifier": identifiers,
        "status": "available",
        "subject": {"reference": f"Patient/{patient_id}"},
        "encounter": {"reference": f"Encounter/{encounter_id(patient_id)}"},
        "endpoint": [{"reference": f"Endpoint/{ENDPOINT_ID}"}],
        "numberOfSeries": len(study.series),
        "numberOfInstances": len(study.instances),
        "series": [_series(series) for series in study.series],
    }
    if study.modalities:
        resource["modality"] = [{"system": _DCM, "code": code} for code in study.modalities]
    if started := _moment(_text(header, "StudyDate"), _text(header, "StudyTime")):
        resource["started"] = started
    if description := _text(header, "StudyDescription"):
        resource["description"] = description
    return resource


def _series(series: StoredSeries) -> Resource:
    header = series.header
    resource: Resource = {
        "uid": series.series_uid,
        "modality": {"system": _DCM, "code": _text(header, "Modality") or "OT"},
        "numberOfInstances": len(series.instances),
        "instance": [
            {
                "uid": one.sop_instance_uid,
                "sopClass": {
                    "system": "urn:ietf:rfc:3986",
                    "code": f"urn:oid:{one.header.SOPClassUID}",
                },
            }
            for one in series.instances
            if one.header.get("SOPClassUID")
        ],
    }
    if not resource["instance"]:
        del resource["instance"]
    number = _text(header, "SeriesNumber")
    if number.isdigit():
        resource["number"] = int(number)
    if description := _text(header, "SeriesDescription"):
        resource["description"] = description
    return resource


def _text(header: Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else str(value).strip()


def _date(text: str) -> str | None:
    """A DICOM date (DA) as a FHIR date, if it is one."""
    found = re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})", text)
    try:
        return date(*map(int, found.groups())).isoformat() if found else None
    except ValueError:  # the 30th of February
        return None


def _moment(date_text: str, time_text: str) -> str | None:
    """DA and TM as a FHIR dateTime; a time of day needs an offset, so UTC is taken for it."""
    day = _date(date_text)
    found = re.match(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)?", time_text)
    if day is None or found is None:
        return day
    return f"{day}T{found[1]}:{found[2]}:{found[3] or '00'}+00:00"
