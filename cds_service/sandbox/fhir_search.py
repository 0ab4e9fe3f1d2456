"""Search over plain resources: the R4 parameters that clients of imaging results use.

Token, reference and date parameters of a few types, ``_id``, ``_sort``, ``_count``. Anything else
is refused with 400, as strict servers do (R4 search.html#errors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.sandbox.fhir_errors import NotSupported

Resource = dict[str, Any]
Matcher = Callable[[Any, str], bool]

PAGE = 50
_RESULT_PARAMETERS = frozenset({"_sort", "_count", "_offset", "_format", "_pretty", "_total"})


@dataclass(frozen=True)
class Page:
    """One page of matches; `following` is the offset of the next one, if there is one."""

    resources: Sequence[Resource]
    count: int
    following: int | None


def search(
    resources: Iterable[Resource], resource_type: str, query: Sequence[tuple[str, str]]
) -> Page:
    """The page of `resource_type` that `query` asks for.

    Raises:
        NotSupported: a parameter that the type does not have here.
    """
    require_known(resource_type, query)
    found = [one for one in resources if matches(one, resource_type, query)]
    for name in reversed(_values(query, "_sort")):
        found = _sorted(found, resource_type, name)
    offset, count = _whole(query, "_offset", 0), _whole(query, "_count", PAGE)
    following = offset + count if count > 0 and offset + count < len(found) else None
    return Page(found[offset : offset + count], count, following)


def require_known(resource_type: str, query: Sequence[tuple[str, str]]) -> None:
    """Refuse what is not understood, whether or not there is anything to look through.

    Raises:
        NotSupported: a parameter that the type does not have here, or a modifier.
    """
    for name, _ in query:
        bare, colon, modifier = name.partition(":")
        if colon and modifier != "Patient":
            raise NotSupported("Modifiers of search parameters are not supported.")
        if bare not in _RESULT_PARAMETERS:
            _parameter(resource_type, bare)


def matches(resource: Resource, resource_type: str, query: Sequence[tuple[str, str]]) -> bool:
    """Whether `resource` meets every condition; a comma in a value means "or"."""
    if resource.get("resourceType") != resource_type:
        return False
    return all(
        _meets(resource, resource_type, name, value)
        for name, value in query
        if name not in _RESULT_PARAMETERS
    )


def _meets(resource: Resource, resource_type: str, name: str, value: str) -> bool:
    path, matcher = _parameter(resource_type, name.partition(":")[0])
    stored = list(_at(resource, path.split(".")))
    return any(matcher(item, wanted) for item in stored for wanted in value.split(","))


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _token(stored: Any, wanted: str) -> bool:
    """``code``, ``system|code``, ``|code`` or ``system|`` (R4 search.html#token)."""
    system, bar, code = wanted.rpartition("|")
    if isinstance(stored, str):
        return stored == code and not system
    if not isinstance(stored, Mapping):
        return False
    if "coding" in stored:
        return any(_token(coding, wanted) for coding in stored["coding"])
    own_code = stored.get("value", stored.get("code"))
    same_code = not code or own_code == code
    same_system = not bar or stored.get("system", "") == system
    return same_code and same_system


def _reference(stored: Any, wanted: str) -> bool:
    """``Type/id`` or a bare id (R4 search.html#reference)."""
    reference = stored.get("reference", "") if isinstance(stored, Mapping) else ""
    return bool(wanted) and (reference == wanted or reference.rpartition("/")[2] == wanted)


def _date(stored: Any, wanted: str) -> bool:
    """A prefix and a date or dateTime, compared as far as it is written."""
    found = re.fullmatch(r"(eq|lt|gt|ge|le)?(\d{4}[0-9T:+.Z-]*)", wanted)
    if found is None:
        raise NotSupported("The value of a date parameter is not understood.")
    own, limit = str(stored)[: len(found[2])], found[2]
    return {
        "lt": own < limit,
        "gt": own > limit,
        "ge": own >= limit,
        "le": own <= limit,
    }.get(found[1] or "eq", own == limit)


_COMMON: Mapping[str, tuple[str, Matcher]] = {
    "_id": ("id", _token),
    "_lastUpdated": ("meta.lastUpdated", _date),
    "_security": ("meta.security", _token),
    "_tag": ("meta.tag", _token),
    "identifier": ("identifier", _token),
    "status": ("status", _token),
}
_OF_PATIENT: Mapping[str, tuple[str, Matcher]] = {
    "patient": ("subject", _reference),
    "subject": ("subject", _reference),
    "encounter": ("encounter", _reference),
}
_PARAMETERS: Mapping[str, Mapping[str, tuple[str, Matcher]]] = {
    "Patient": {},
    "Practitioner": {},
    "Organization": {},
    "Endpoint": {"connection-type": ("connectionType", _token)},
    "Device": {"patient": ("patient", _reference), "type": ("type", _token)},
    "Encounter": {**_OF_PATIENT, "class": ("class", _token)},
    "ServiceRequest": {
        **_OF_PATIENT,
        "category": ("category", _token),
        "code": ("code", _token),
        "intent": ("intent", _token),
    },
    "ImagingStudy": {
        **_OF_PATIENT,
        "started": ("started", _date),
        "modality": ("modality", _token),
        "basedon": ("basedOn", _reference),
        "endpoint": ("endpoint", _reference),
    },
    "DiagnosticReport": {
        **_OF_PATIENT,
        "category": ("category", _token),
        "code": ("code", _token),
        "based-on": ("basedOn", _reference),
        "result": ("result", _reference),
        "date": ("effectiveDateTime", _date),
        "issued": ("issued", _date),
    },
    "Observation": {
        **_OF_PATIENT,
        "category": ("category", _token),
        "code": ("code", _token),
        "device": ("device", _reference),
        "based-on": ("basedOn", _reference),
        "part-of": ("partOf", _reference),
        "derived-from": ("derivedFrom", _reference),
        "date": ("effectiveDateTime", _date),
    },
    "Provenance": {
        "target": ("target", _reference),
        "agent": ("agent.who", _reference),
        "recorded": ("recorded", _date),
    },
    "DocumentReference": {
        **_OF_PATIENT,
        "type": ("type", _token),
        "category": ("category", _token),
    },
    **dict.fromkeys(
        ("CarePlan", "CommunicationRequest", "Condition", "DeviceRequest", "MedicationRequest"),
        _OF_PATIENT,
    ),
    "Media": {**_OF_PATIENT, "device": ("device", _reference)},
    "Task": {"patient": ("for", _reference), "focus": ("focus", _reference)},
}

TYPES = tuple(sorted(_PARAMETERS))
"""The resource types that the server keeps."""


def parameters(resource_type: str) -> tuple[str, ...]:
    """The names of the search parameters of a type, for the CapabilityStatement."""
    return (*_COMMON, *_PARAMETERS[resource_type])


def _parameter(resource_type: str, name: str) -> tuple[str, Matcher]:
    found = _PARAMETERS.get(resource_type, {}).get(name) or _COMMON.get(name)
    if found is None:
        raise NotSupported(f"{resource_type} has no such search parameter here.")
    return found


def _sorted(found: list[Resource], resource_type: str, name: str) -> list[Resource]:
    path, _ = _parameter(resource_type, name.removeprefix("-"))

    def key(resource: Resource) -> str:
        return str(next(_at(resource, path.split(".")), ""))

    return sorted(found, key=key, reverse=name.startswith("-"))


def _values(query: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [part for key, value in query if key == name for part in value.split(",") if part]


def _whole(query: Sequence[tuple[str, str]], name: str, default: int) -> int:
    values = _values(query, name)
    if not values:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", values[0]):
        raise NotSupported(f"{name} is not a whole number.")
    return int(values[0])
