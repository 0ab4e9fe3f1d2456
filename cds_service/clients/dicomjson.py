"""Values out of the DICOM JSON model (PS3.18 Annex F), forgiving about what a value looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")

Element = Mapping[str, Any]
"""One data set of a QIDO or metadata answer: tag in upper case -> ``{"vr", "Value"}``."""


def values(data_set: Element, tag: str) -> tuple[Any, ...]:
    """All values of `tag`; none if it is absent or of another shape."""
    element = data_set.get(tag) or data_set.get(tag.lower())
    found = element.get("Value") if isinstance(element, Mapping) else None
    return tuple(v for v in found if v is not None) if isinstance(found, list) else ()


def text(data_set: Element, tag: str) -> str | None:
    """The first value as text; the alphabetic form of a person name; None if there is none."""
    for value in values(data_set, tag):
        if isinstance(value, Mapping):
            value = value.get("Alphabetic")
        if isinstance(value, str | int | float):
            return str(value).strip(" \0") or None
    return None


def texts(data_set: Element, tag: str) -> tuple[str, ...]:
    """All textual values."""
    return tuple(v.strip(" \0") for v in values(data_set, tag) if isinstance(v, str) and v.strip())


def integer(data_set: Element, tag: str) -> int | None:
    """The first value as a whole number: JSON numbers and IS strings alike."""
    found = text(data_set, tag)
    try:
        return int(float(found)) if found is not None else None
    except (ValueError, OverflowError):
        return None


def uid(data_set: Element, tag: str) -> str | None:
    """The first value if it is a UID (PS3.5 9.1), else None."""
    found = text(data_set, tag)
    return found if found is not None and is_uid(found) else None


def is_uid(text_: str) -> bool:
    """Digits and dots, at most 64 characters; leading zeros exist in practice and are let pass."""
    return len(text_) <= 64 and _UID.fullmatch(text_) is not None
