"""References to what exists already, and the time that all statements about a study share."""

from __future__ import annotations

from fhir_mapping.context import Resource
from fhir_mapping.study import StudyRef

_DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def imaging_study(ref: StudyRef) -> Resource:
    """Refer to the study by its DICOM UID, and literally if the server's id is known."""
    identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{ref.study_uid}"}
    logical: Resource = {"type": "ImagingStudy", "identifier": identifier}
    if ref.imaging_study_reference is None:
        return logical
    return {"reference": ref.imaging_study_reference, **logical}


def about(ref: StudyRef) -> Resource:
    """Return subject, encounter and order: what report and Observation have in common."""
    made: Resource = {"subject": {"reference": ref.patient_reference}}
    if ref.encounter_reference:
        made["encounter"] = {"reference": ref.encounter_reference}
    if ref.based_on_references:
        made["basedOn"] = [{"reference": item} for item in ref.based_on_references]
    return made


def effective(ref: StudyRef) -> Resource:
    """Return when the images were taken (``effectiveDateTime``), never when they were analysed.

    US Core requires the element in a preliminary report, so an unknown time is said to be unknown
    (data-absent-reason) and not left out.
    """
    if ref.started_text:
        return {"effectiveDateTime": ref.started_text}
    if ref.started is None:
        return {
            "_effectiveDateTime": {"extension": [{"url": _DATA_ABSENT, "valueCode": "unknown"}]}
        }
    zoned = ref.started.utcoffset() is not None
    written = ref.started.isoformat() if zoned else ref.started.date().isoformat()
    return {"effectiveDateTime": written}
