"""Patient -> what a banner says of the person: for a reader, and for nothing that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_mapping.reading import date_time, members
from fhir_mapping.text import plain

NAME_CHARACTERS = 120

_USES = ("official", "usual", "", "temp", "maiden", "nickname")
"""Which name goes before which (R4 HumanName.use); an old and an invented one are not shown."""

_GENDERS = ("male", "female", "other", "unknown")


@dataclass(frozen=True)
class PatientBanner:
    """By what a reader knows the person; what the chart does not state is empty.

    `born` is a FHIR ``date`` of any precision, `gender` a code of AdministrativeGender. The
    ``repr`` shows nothing of it.
    """

    name: str = field(repr=False)
    born: str = field(repr=False)
    gender: str = field(repr=False)


def patient_banner(patient: Mapping[str, object]) -> PatientBanner:
    """What a Patient resource (R4) says of the person, whatever its form."""
    gender = patient.get("gender")
    return PatientBanner(
        name=_name(patient),
        born=(date_time(patient, "birthDate")[0] or "")[:10],
        gender=gender if isinstance(gender, str) and gender in _GENDERS else "",
    )


def _name(patient: Mapping[str, object]) -> str:
    """The best of the names that say anything."""
    stated = [(_use(name), _written(name)) for name in members(patient, "name")]
    shown = [(_USES.index(use), text) for use, text in stated if use in _USES and text]
    return min(shown, key=lambda each: each[0])[1] if shown else ""


def _use(name: Mapping[str, object]) -> str:
    use = name.get("use", "")
    return use if isinstance(use, str) else ""


def _written(name: Mapping[str, object]) -> str:
    """A name in the order in which it is spoken, unless it is written out."""
    parts = ("text",) if _words(name, "text") else ("prefix", "given", "family", "suffix")
    return plain(" ".join(word for part in parts for word in _words(name, part)), NAME_CHARACTERS)


def _words(name: Mapping[str, object], part: str) -> list[str]:
    found = name.get(part)
    words = found if isinstance(found, list) else [found]
    return [word for word in words if isinstance(word, str) and plain(word)]
