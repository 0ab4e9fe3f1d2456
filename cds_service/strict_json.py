"""Read JSON from a stranger: one object, of bounded depth, and only what RFC 8259 allows.

Python's reader accepts NaN, repeated names and lone surrogates, and nesting exhausts its stack.
Each of these is an error here, before any code of ours sees a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from cds_service.errors import ServiceError

DEPTH = 40
"""Nested arrays and objects. A Bundle of FHIR resources needs about 15."""

DIGITS = 20
"""Of a whole number: more than any 64-bit integer has."""

# One pass, whatever the input: a string without its end swallows the rest instead of being retried.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InvalidJson(ServiceError):
    """The text is not an object that we read; the sentence quotes nothing of it."""

    kind = "json"


def load_json(body: bytes) -> dict[str, Any]:
    """Parse `body`, whose length the caller has bounded, to an object.

    Raises:
        InvalidJson: not UTF-8, not JSON, not an object on top, deeper than `DEPTH`, a name twice
            in one object, NaN or Infinity (written out or by overflow), an integer of more than
            `DIGITS` digits, half a surrogate pair.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The body is not UTF-8.") from None
    _check_depth(text)
    value = _parse(text)
    if not isinstance(value, dict):
        raise InvalidJson("The body is not a JSON object.")
    if _SURROGATE.search(text):
        _check_text(value)
    return value


def _parse(text: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except (ValueError, RecursionError):
        raise InvalidJson("The body is not JSON.") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth > DEPTH:
                raise InvalidJson("The body is nested too deeply.")
        elif mark in "]}":
            depth -= 1


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJson("The body has an object with the same name twice.")
    return value


def _constant(_: str) -> NoReturn:
    raise InvalidJson("The body has a number that JSON does not know.")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidJson("The body has a number that is too large.")
    return value


def _int(digits: str) -> int:
    if len(digits) > DIGITS:
        raise InvalidJson("The body has a number that is too large.")
    return int(digits)


def _check_text(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidJson("The body has half a character (a lone surrogate).") from None
