"""Read plain parsed JSON that somebody else wrote: every reader answers, none raises.

A value of the wrong JSON type is an absent value. What must not be absent is checked by the
caller, who knows the sentence to say. No reader recurses, so depth costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

Json = Mapping[str, object]

UID = re.compile(r"(?=[0-9.]{1,64}\Z)[0-9]+(?:\.[0-9]+)*")
"""A DICOM UID (PS3.5 9.1), lenient on leading zeros; never ``..``, so safe in a path."""

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""The FHIR datatype ``id``."""

DATE_TIME = re.compile(
    r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01])"
    r"(?:T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,9})?"
    r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00)))?)?)?",
    re.ASCII,
)
"""The FHIR datatype ``dateTime``: year, month, day or a time with its zone."""


def resource(value: object, resource_type: str) -> Json | None:
    """Return `value` if it is a resource of this type."""
    if isinstance(value, Mapping) and value.get("resourceType") == resource_type:
        return value
    return None


def member(value: object, name: str) -> Json:
    """Return the object under `name`; an empty one when there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def members(value: object, name: str) -> Iterator[Json]:
    """Yield the objects under `name`, whether one or a list of them was written."""
    found = value.get(name) if isinstance(value, Mapping) else None
    for item in found if isinstance(found, list | tuple) else (found,):
        if isinstance(item, Mapping):
            yield item


def text(value: object, name: str, limit: int = 1024) -> str | None:
    """Return a string of printable characters without outer blanks.

    An empty string, one longer than `limit`, or one with a control character is absent.
    """
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, str) or len(found) > limit:
        return None
    stripped = found.strip()
    return stripped if stripped and stripped.isprintable() else None


def count(value: object, name: str) -> int | None:
    """Return a whole number that is not negative (``unsignedInt``)."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 <= found < 2**31 else None


def codings(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Yield (system, code) of a Coding, a CodeableConcept or a list of either.

    R4 has a Coding where R5 has a CodeableConcept (``ImagingStudy.modality``,
    ``Endpoint.connectionType``); both mean the same here.
    """
    for item in members(value, name):
        for coding in (item, *members(item, "coding")):
            code = text(coding, "code")
            if code:
                yield text(coding, "system") or "", code


def uid(value: str | None) -> str | None:
    """Return a DICOM UID, with or without ``urn:oid:`` before it (any case)."""
    if value is None:
        return None
    bare = value[8:] if value[:8].lower() == "urn:oid:" else value
    return bare if UID.fullmatch(bare) else None


def date_time(value: object, name: str) -> tuple[str | None, datetime | None]:
    """Return a ``dateTime`` as written, and as a moment when it states a time and a zone."""
    written = text(value, name, 40)
    if written is None or not DATE_TIME.fullmatch(written):
        return None, None
    try:
        moment = datetime.fromisoformat(written) if "T" in written else None
        if moment is None:
            datetime.fromisoformat(f"{written}-01-01"[:10])
    except ValueError:
        return None, None
    return written, moment
