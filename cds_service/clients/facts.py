"""What an archive says of its studies and series, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from cds_service.clients import dicomjson as dj

SERIES_FIELDS = "00080060,0008103E,00180015,00181030,00200011,00200060,00201209,00080070"
STUDY_FIELDS = "00080020,00080050,00080061,00081030,00100020,00100021,00201206,00201208"


@dataclass(frozen=True)
class StudyFacts:
    """One study as the archive lists it. Identifiers are PHI."""

    study_uid: str
    accession_number: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    patient_id_issuer: str | None = field(default=None, repr=False)
    date: str | None = field(default=None, repr=False)
    """Study Date, YYYYMMDD."""

    description: str | None = None
    modalities: tuple[str, ...] = ()
    series: int | None = None
    instances: int | None = None


@dataclass(frozen=True)
class SeriesFacts:
    """One series as the archive lists it: what the choice of a model needs. None is "not said"."""

    study_uid: str
    series_uid: str
    modality: str | None = None
    number: int | None = None
    description: str | None = None
    body_part: str | None = None
    protocol: str | None = None
    laterality: str | None = None
    manufacturer: str | None = None
    instances: int | None = None


def study_facts(data_set: dj.Element) -> StudyFacts | None:
    """A row of a study query; None if it names no study."""
    study_uid = dj.uid(data_set, "0020000D")
    if study_uid is None:
        return None
    return StudyFacts(
        study_uid,
        accession_number=dj.text(data_set, "00080050"),
        patient_id=dj.text(data_set, "00100020"),
        patient_id_issuer=dj.text(data_set, "00100021"),
        date=dj.text(data_set, "00080020"),
        description=dj.text(data_set, "00081030"),
        modalities=dj.texts(data_set, "00080061"),
        series=dj.integer(data_set, "00201206"),
        instances=dj.integer(data_set, "00201208"),
    )


def series_facts(data_set: dj.Element, study_uid: str) -> SeriesFacts | None:
    """A row of a series query, or an instance's header; None if it is of another study."""
    series_uid = dj.uid(data_set, "0020000E")
    if series_uid is None or dj.uid(data_set, "0020000D") not in (None, study_uid):
        return None
    return SeriesFacts(
        study_uid,
        series_uid,
        modality=dj.text(data_set, "00080060"),
        number=dj.integer(data_set, "00200011"),
        description=dj.text(data_set, "0008103E"),
        body_part=dj.text(data_set, "00180015"),
        protocol=dj.text(data_set, "00181030"),
        laterality=dj.text(data_set, "00200060"),
        manufacturer=dj.text(data_set, "00080070"),
        instances=dj.integer(data_set, "00201209"),
    )
