"""QIDO-RS over a catalogue: matching, and the attributes of an answer (PS3.18 10.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement

from cds_service.sandbox.catalogue import StoredInstance, StoredSeries, StoredStudy

Level = Literal["studies", "series", "instances"]
DicomJson = dict[str, Any]

_STUDY = [
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
]
_SERIES = [
    "Modality",
    "SeriesDate",
    "SeriesTime",
    "SeriesDescription",
    "BodyPartExamined",
    "ProtocolName",
    "SeriesInstanceUID",
    "SeriesNumber",
    "PerformedProcedureStepStartDate",
]
_INSTANCE = [
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SamplesPerPixel",
    "ImageType",
]
_CONTROL = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_COUNTED = frozenset({"ModalitiesInStudy"})

Row = tuple[StoredStudy, StoredSeries, StoredInstance]


class InvalidQuery(Exception):
    """A parameter that is no attribute of the level, or whose value has the wrong form."""


def search(
    level: Level, rows: Iterable[Row], query: Sequence[tuple[str, str]], base_url: str
) -> list[DicomJson]:
    """The answer to a query: one DICOM JSON object for each study, series or instance.

    Raises:
        InvalidQuery: a parameter is not understood.
    """
    wanted = [(_keyword(name, level), value) for name, value in query if name not in _CONTROL]
    matching = [row for row in rows if all(_matches(row, name, value) for name, value in wanted)]
    once: dict[str, Row] = {}
    for row in matching:
        once.setdefault(_key(level, row), row)
    offset, limit = _whole(query, "offset", 0), _whole(query, "limit", len(once))
    chosen = list(once.values())[offset : offset + limit]
    return [_answer(level, row, base_url) for row in chosen]


def _key(level: Level, row: Row) -> str:
    study, series, instance = row
    return {
        "studies": study.study_uid,
        "series": series.series_uid,
        "instances": instance.sop_instance_uid,
    }[level]


def _keyword(name: str, level: Level) -> str:
    keyword = keyword_for_tag(int(name, 16)) if re.fullmatch(r"[0-9a-fA-F]{8}", name) else name
    allowed = {
        "studies": (*_STUDY, "ModalitiesInStudy"),
        "series": (*_STUDY, "ModalitiesInStudy", *_SERIES),
        "instances": (*_STUDY, "ModalitiesInStudy", *_SERIES, *_INSTANCE),
    }[level]
    if keyword not in allowed:
        raise InvalidQuery(f"{name[:64]} is not an attribute to match at this level.")
    return keyword


def _whole(query: Sequence[tuple[str, str]], name: str, default: int) -> int:
    values = [value for key, value in query if key == name]
    if not values:
        return default
    if len(values) > 1 or not re.fullmatch(r"[0-9]{1,9}", values[0]):
        raise InvalidQuery(f"{name} is not one whole number.")
    return int(values[0])


def _matches(row: Row, keyword: str, wanted: str) -> bool:
    """Universal, list of UIDs, date range, wildcard or single value matching (PS3.4 C.2.2.2)."""
    if not wanted:
        return True
    study, _, instance = row
    if keyword in _COUNTED:
        return any(value in study.modalities for value in re.split(r"[\\,]", wanted))
    stored = instance.header.get(keyword)
    text = "" if stored is None else str(stored)
    kind = dictionary_VR(keyword)
    if kind == "UI":
        return text in re.split(r"[\\,]", wanted)
    if kind == "DA" and "-" in wanted:
        first, _, last = wanted.partition("-")
        return bool(text) and (not first or first <= text) and (not last or text <= last)
    if kind not in ("DA", "TM") and re.search(r"[*?]", wanted):
        pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, text, re.IGNORECASE if kind == "PN" else 0) is not None
    return text.lower() == wanted.lower() if kind == "PN" else text == wanted


def _answer(level: Level, row: Row, base_url: str) -> DicomJson:
    study, series, instance = row
    keywords = {"studies": _STUDY, "series": _STUDY + _SERIES}.get(
        level, _STUDY + _SERIES + _INSTANCE
    )
    chosen = Dataset()
    for keyword in keywords:
        if keyword in instance.header:
            chosen.add(instance.header[keyword])
    # an answer has the study's own UID even where a file lacks the rest
    counts = {
        "ModalitiesInStudy": list(study.modalities),
        "NumberOfStudyRelatedSeries": len(study.series),
        "NumberOfStudyRelatedInstances": len(study.instances),
        "InstanceAvailability": "ONLINE",
        "RetrieveURL": _retrieve_url(level, row, base_url),
    }
    if level != "studies":
        counts["NumberOfSeriesRelatedInstances"] = len(series.instances)
    for keyword, value in counts.items():
        tag = tag_for_keyword(keyword)
        if tag is not None:
            chosen.add(DataElement(tag, dictionary_VR(tag), value))
    return dicom_json(chosen)


def _retrieve_url(level: Level, row: Row, base_url: str) -> str:
    study, series, instance = row
    url = f"{base_url}/studies/{study.study_uid}"
    if level == "studies":
        return url
    url += f"/series/{series.series_uid}"
    return url if level == "series" else f"{url}/instances/{instance.sop_instance_uid}"


def dicom_json(header: Dataset) -> DicomJson:
    """`header` in the DICOM JSON model (PS3.18 F.2), without values that cannot be written."""
    written: Mapping[str, Any] = header.to_json_dict(
        bulk_data_threshold=1 << 30, suppress_invalid_tags=True
    )
    return {tag: element for tag, element in written.items() if tag[:4] != "7FE0"}
