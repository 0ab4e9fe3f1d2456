"""A DICOMweb archive of many studies, each with its own fault; the rest of it is in good order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from tests.doubles.faulty_archive import MULTIPART, body_of
from tests.doubles.faulty_http import Reply, Seen, answer
from tests.reference.dicom_factory import encoded

_PATH = re.compile(
    r".*/studies/(?P<study>[0-9.]+)(?:/series(?:/(?P<series>[0-9.]+)(?P<rest>/.*)?)?)?"
)


@dataclass
class Held:
    """One series as the archive has it: SOP Instance UID -> file, and what it says of itself.

    Args:
        listed: UIDs that are listed beside those it has.
        before: called with the series before each answer to a question for the study's series.
    """

    series_uid: str
    files: dict[str, bytes]
    modality: str = "MR"
    listed: Sequence[str] = ()
    before: Callable[[Held], object] | None = None
    says: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, series: Sequence[Dataset], **options: Any) -> Held:
        """Data sets as they are."""
        files = {str(each.SOPInstanceUID): encoded(each) for each in series}
        return cls(str(series[0].SeriesInstanceUID), files, str(series[0].Modality), **options)

    @classmethod
    def raw(cls, series_uid: str, *files: bytes, **options: Any) -> Held:
        """Bytes that need not be DICOM; their UIDs are the series' with a number."""
        return cls(series_uid, {f"{series_uid}.{i}": f for i, f in enumerate(files, 1)}, **options)


class StudyArchive:
    """Chooses replies for `FaultyServer`; `studies` maps Study Instance UID to its series."""

    def __init__(self) -> None:
        self.studies: dict[str, list[Held]] = {}

    def __call__(self, seen: Seen) -> Reply:
        """The reply to one request."""
        found = _PATH.fullmatch(seen.path)
        if found is None:
            return _listed([])
        study, series, rest = found["study"], found["series"], found["rest"]
        held = self.studies.get(study, [])
        if series is None:
            for each in held:
                if each.before is not None:
                    each.before(each)
            return _listed([_row(study, each) for each in held])
        one = next((each for each in held if each.series_uid == series), None)
        return answer(404) if one is None else _of_series(study, one, rest or "")


def _of_series(study: str, held: Held, rest: str) -> Reply:
    if rest == "/instances":
        uids = [*held.files, *held.listed]
        return _listed([{**_row(study, held), **_element("00080018", "UI", uid)} for uid in uids])
    if rest.startswith("/instances/"):
        file = held.files.get(rest.split("/")[2])
        return answer(404) if file is None else _sent([file])
    return _sent(list(held.files.values()))


def _sent(files: list[bytes]) -> Reply:
    return answer(200, body_of(files, "a-b-c"), {"Content-Type": MULTIPART + "a-b-c"})


def _listed(rows: list[dict[str, Any]]) -> Reply:
    body = json.dumps(rows).encode()
    return answer(200, body, {"Content-Type": "application/dicom+json"})


def _row(study: str, held: Held) -> dict[str, Any]:
    return {
        **_element("0020000D", "UI", study),
        **_element("0020000E", "UI", held.series_uid),
        **_element("00080060", "CS", held.modality),
        **_element("00180015", "CS", "HEAD"),
        **_element("00201209", "IS", len(held.files) + len(held.listed)),
        **held.says,
    }


def _element(tag: str, vr: str, value: Any) -> dict[str, Any]:
    return {tag: {"vr": vr, "Value": [value]}}
