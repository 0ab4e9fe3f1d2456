"""ImagingStudy + Endpoint -> StudyRef: which study, in which archive, for which patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SeriesRef:
    """One series as the ImagingStudy announces it (``ImagingStudy.series``)."""

    series_uid: str
    modality: str | None = None
    instances: int | None = None
    archive: str | None = None


@dataclass(frozen=True)
class StudyRef:
    """A study that can be fetched.

    `archive` is the *name* of a configured archive: an address in a resource only selects one.
    References are relative (``Patient/1``), as the EHR's FHIR server wrote them.
    `patient_identifiers` are the values of ``Patient.identifier``, against which the images'
    PatientID is checked before anything is written.
    """

    study_uid: str
    archive: str
    patient_reference: str
    patient_identifiers: tuple[str, ...] = ()
    imaging_study_reference: str | None = None
    based_on_references: tuple[str, ...] = ()
    encounter_reference: str | None = None
    started: datetime | None = None
    accession_number: str | None = None
    modalities: tuple[str, ...] = ()
    instances: int | None = None
    series: tuple[SeriesRef, ...] = ()
