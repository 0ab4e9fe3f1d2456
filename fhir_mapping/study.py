"""ImagingStudy + Endpoint -> StudyRef: which study, in which archive, for which patient.

Works on plain parsed JSON and loads no FHIR library, since the hook waits for it.
R4 ImagingStudy and Endpoint; what other profiles write (IHE IMR and IDR, MADO) is read, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_mapping.addresses import ArchiveAddresses, relative_reference
from fhir_mapping.codes import MODALITY
from fhir_mapping.endpoints import EndpointChoice, endpoint_references
from fhir_mapping.errors import (
    Contradiction,
    Malformed,
    MissingElement,
    NotOurs,
    StudyNotAvailable,
)
from fhir_mapping.reading import (
    ID,
    Json,
    codings,
    count,
    date_time,
    member,
    members,
    resource,
    text,
    uid,
)
from inference.evidence.objects import is_evidence

__all__ = [
    "PatientRef",
    "SeriesRef",
    "StudyRef",
    "content_keys",
    "endpoint_references",
    "patient_ref",
    "study_ref",
    "unusable_ref",
]


Announced = tuple[int, str]
"""How many there are of something, and the SHA-256 (hex) of what exactly."""


@dataclass(frozen=True)
class SeriesRef:
    """One series as the ImagingStudy announces it (``ImagingStudy.series``).

    `archive` is ``None`` unless the series overrides the study's archive.
    """

    series_uid: str
    modality: str | None = None
    instances: int | None = None
    archive: str | None = None


@dataclass(frozen=True)
class StudyRef:
    """A study that can be fetched.

    `study_uid` is empty where the chart states none: then `accession_number` and
    `imaging_study_reference` are there, and the archive knows the UID.
    `archive` is the *name* of a configured archive: an address in a resource only selects one.
    References are relative (``Patient/1``), as the EHR's FHIR server wrote them.
    `patient_identifiers` are the values of ``Patient.identifier``, against which the images'
    PatientID is checked before anything is written; `identifiers_left_out` says that the chart
    states others, too, that could not be taken along.
    `started` is a moment; `started_text` is the FHIR ``dateTime`` as written, of any precision.
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
    started_text: str | None = None
    identifiers_left_out: bool = False

    @property
    def name(self) -> str:
        """What tells it from the patient's other studies in this chart; empty if nothing does."""
        return self.study_uid or self.imaging_study_reference or ""


@dataclass(frozen=True)
class PatientRef:
    """The patient of the hook's context: whose studies may be used."""

    reference: str
    identifiers: tuple[str, ...] = ()
    identifiers_left_out: bool = False
    """The chart states identifiers and none is usable, which is not the same as stating none."""


def patient_ref(patient_id: str, patient: object = None) -> PatientRef:
    """Join the context's patient id and, if it was read, the Patient resource.

    Raises `Malformed` when either is not what it should be, `NotOurs` when the resource is
    another patient's.
    """
    bare = patient_id.removeprefix("Patient/")
    if not ID.fullmatch(bare):
        raise Malformed("The patient's id is not a FHIR id.")
    if patient is None:
        return PatientRef(f"Patient/{bare}")
    found = resource(patient, "Patient")
    if found is None:
        raise Malformed("What was read as the patient is not a Patient resource.")
    if found.get("id") != bare:
        raise NotOurs("The Patient resource is of another patient.")
    values = [text(i, "value", 256) for i in members(found, "identifier") if "value" in i]
    usable = tuple(dict.fromkeys(value for value in values if value))
    left_out = bool(values) and not usable
    return PatientRef(f"Patient/{bare}", usable, identifiers_left_out=left_out)


def study_ref(
    imaging_study: object,
    *,
    patient: PatientRef,
    archives: ArchiveAddresses,
    fhir_base: str,
    endpoints: Mapping[str, object] | None = None,
) -> StudyRef:
    """Read one ImagingStudy (R4).

    Raises a `MappingError`: `Malformed` (another resource, an illegal UID), `MissingElement` (no
    status or archive; neither a study UID nor an accession number), `NotOurs` (another patient, or
    no subject), `StudyNotAvailable`, `Contradiction` (two study UIDs), `ArchiveNotAllowed`.
    """
    study = resource(imaging_study, "ImagingStudy")
    if study is None:
        raise Malformed("What was read is not an ImagingStudy resource.")
    _require_patient(study, patient, fhir_base)
    _require_available(study)
    own, accession_number = _own_reference(study, "ImagingStudy"), _accession_number(study)
    study_uid = _study_uid(study)
    if study_uid is None and not (own and accession_number):
        raise MissingElement("The study states neither a DICOM UID nor an accession number.")
    study_uid = study_uid or ""
    choice = EndpointChoice(study, study_uid, archives, fhir_base, endpoints or {})
    series = _series(study, choice)
    archive = choice.archive_of(study) or _common_archive(series) or archives.default
    if archive is None:
        raise MissingElement("The study names no archive and none is configured as the default.")
    started_text, started = date_time(study, "started")
    return StudyRef(
        study_uid=study_uid,
        archive=archive,
        patient_reference=patient.reference,
        patient_identifiers=patient.identifiers,
        identifiers_left_out=patient.identifiers_left_out,
        imaging_study_reference=own,
        based_on_references=_based_on(study, fhir_base),
        encounter_reference=relative_reference(
            text(member(study, "encounter"), "reference"), "Encounter", fhir_base
        ),
        started=started,
        started_text=started_text,
        accession_number=accession_number,
        modalities=_modalities(study),
        instances=_instances(study),
        series=tuple(s if s.archive != archive else _without_archive(s) for s in series),
    )


def unusable_ref(imaging_study: object, patient: PatientRef) -> StudyRef:
    """Return what a person knows a study by, of one that `study_ref` refused for what it states.

    It names no DICOM study and no archive, so that nothing can be fetched with it.
    """
    study = member({"study": imaging_study}, "study")
    started_text, started = date_time(study, "started")
    return StudyRef(
        study_uid="",
        archive="",
        patient_reference=patient.reference,
        imaging_study_reference=_own_reference(study, "ImagingStudy"),
        started=started,
        started_text=started_text,
        modalities=_modalities(study),
    )


def content_keys(ref: StudyRef) -> tuple[Announced | None, ...]:
    """Return what the EHR announces of a study, to notice that it grew: counts, each with a digest.

    The number of instances; the number of series, with their set; the sum of their instances, with
    that of each. ``None`` for what is not stated (of every series), which is unknown and no change.
    What the archive really holds is known only after retrieval.
    """
    series = sorted((item.series_uid, item.instances) for item in _deduplicated(ref.series))
    counts = [instances for _, instances in series if instances is not None]
    whole = bool(series) and len(counts) == len(series)
    return (
        None if ref.instances is None else _announced(ref, ref.instances, ref.instances),
        _announced(ref, len(series), [uid for uid, _ in series]) if series else None,
        _announced(ref, sum(counts), series) if whole else None,
    )


def _announced(ref: StudyRef, count: int, what: object) -> Announced:
    text = json.dumps([ref.study_uid, what], separators=(",", ":"))
    return count, hashlib.sha256(text.encode("ascii")).hexdigest()


def _deduplicated(series: Iterable[SeriesRef]) -> Iterator[SeriesRef]:
    yield from {item.series_uid: item for item in series}.values()


def _own_reference(value: object, resource_type: str) -> str | None:
    found = text(resource(value, resource_type), "id", 64)
    return f"{resource_type}/{found}" if found and ID.fullmatch(found) else None


def _require_patient(study: Json, patient: PatientRef, fhir_base: str) -> None:
    written = text(member(study, "subject"), "reference")
    if written is None:
        raise NotOurs("The study does not say whose it is.")
    own_id = patient.reference.removeprefix("Patient/")
    if written.lower() == f"urn:uuid:{own_id}".lower():
        return
    if relative_reference(written, "Patient", fhir_base) != patient.reference:
        raise NotOurs("The study is of another patient.")


def _require_available(study: Json) -> None:
    status = text(study, "status", 64)
    if status is None:
        raise MissingElement("The study does not state its status.")
    if status == "registered":
        raise StudyNotAvailable("The study is announced, but its images are not there yet.")
    if status != "available":
        raise StudyNotAvailable("The study is cancelled, withdrawn or of unknown status.")


def _identifiers(study: Json) -> Iterator[tuple[str, str | None]]:
    for item in members(study, "identifier"):
        if item.get("use") != "old":
            yield (text(item, "system") or "").lower(), text(item, "value")


def _study_uid(study: Json) -> str | None:
    """Find the StudyInstanceUID: by its own system, else as an OID, else by its looks.

    The second and third are what other profiles write (``urn:ietf:rfc:3986``, no system).
    """
    pairs = tuple(_identifiers(study))
    own = {value for system, value in pairs if system == "urn:dicom:uid"}
    if own and not all(uid(value) for value in own):
        raise Malformed("The study's DICOM UID is not a UID.")
    tiers = (
        {uid(value) for value in own},
        {uid(v) for s, v in pairs if s == "urn:ietf:rfc:3986" and v and v[:4].lower() == "urn:"},
        {uid(v) for s, v in pairs if not s and v and v.count(".") >= 3},
    )
    for tier in tiers:
        found = {item for item in tier if item}
        if len(found) > 1:
            raise Contradiction("The study states more than one DICOM UID.")
        if found:
            return found.pop()
    return None


def _accession_number(study: Json) -> str | None:
    """Return the one accession number (Identifier.type ACSN); ``None`` if there are several."""
    orders = (member(item, "identifier") for item in members(study, "basedOn"))
    for source in (members(study, "identifier"), orders):
        typed = (i for i in source if "ACSN" in (code for _, code in codings(i, "type")))
        found = {value for item in typed if (value := text(item, "value", 64))}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _based_on(study: Json, fhir_base: str) -> tuple[str, ...]:
    found = (
        relative_reference(text(item, "reference"), kind, fhir_base)
        for item in members(study, "basedOn")
        for kind in ("ServiceRequest", "CarePlan")  # what DiagnosticReport.basedOn may name, too
    )
    return tuple(dict.fromkeys(item for item in found if item))


def _modality_codes(owner: Json) -> Iterator[str]:
    for _, code in codings(owner, "modality"):
        if MODALITY.fullmatch(code):  # what else stands there may be markup, or somebody's name
            yield code


def _modalities(study: Json) -> tuple[str, ...]:
    owners = (study, *members(study, "series"))
    return tuple(dict.fromkeys(code for owner in owners for code in _modality_codes(owner)))


def _instances(study: Json) -> int | None:
    """How many images the study has: what we made of them does not count."""
    stated = count(study, "numberOfInstances")
    ours = (s for s in members(study, "series") if _is_evidence(s))
    made = sum(count(series, "numberOfInstances") or 1 for series in ours)
    return None if stated is None else max(0, stated - made)


def _is_evidence(series: Json) -> bool:
    series_uid, description = uid(text(series, "uid")) or "", text(series, "description") or ""
    modality = next(_modality_codes(series), None)
    return is_evidence(series_uid, count(series, "number"), description, modality)


def _series(study: Json, choice: EndpointChoice) -> tuple[SeriesRef, ...]:
    found: dict[str, SeriesRef] = {}
    for item in members(study, "series"):
        series_uid = uid(text(item, "uid"))
        if series_uid is None or _is_evidence(item):
            continue  # what cannot be named cannot be fetched; the archive's own list decides
        found[series_uid] = SeriesRef(
            series_uid=series_uid,
            modality=next(_modality_codes(item), None),
            instances=count(item, "numberOfInstances"),
            archive=choice.archive_of(item, series_uid),
        )
    return tuple(found.values())


def _common_archive(series: Iterable[SeriesRef]) -> str | None:
    names = {item.archive for item in series}
    return names.pop() if len(names) == 1 else None


def _without_archive(series: SeriesRef) -> SeriesRef:
    return SeriesRef(series.series_uid, series.modality, series.instances)
