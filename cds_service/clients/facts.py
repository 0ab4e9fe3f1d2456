"""What an archive says of its studies and series, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from cds_service.clients import dicomjson as dj
from models.contract import SeriesFacts

SERIES_FIELDS = "00080060,00081030,0008103E,00180015,00181030,00200011,00201209"
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
        series_uid,
        modality=dj.text(data_set, "00080060"),
        series_number=dj.integer(data_set, "00200011"),
        description=dj.text(data_set, "0008103E") or "",
        protocol=dj.text(data_set, "00181030") or "",
        body_part=dj.text(data_set, "00180015"),
        image_type=dj.texts(data_set, "00080008"),
        sop_class_uid=dj.uid(data_set, "00080016"),
        rows=dj.integer(data_set, "00280010"),
        columns=dj.integer(data_set, "00280011"),
        samples_per_pixel=dj.integer(data_set, "00280002"),
        instances=dj.integer(data_set, "00201209"),
        study_description=dj.text(data_set, "00081030") or "",
    )
