"""Small judgements on values that a service sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

REVERSE_DNS = re.compile(r"[a-z][a-z0-9-]*(\.[A-Za-z0-9_-]+)+")
SEGMENT = re.compile(r"(?!\.{1,2}$)(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
"""One segment of a URL's path that nothing is resolved or encoded in (RFC 3986, 3.3)."""

RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
"""A reference to a resource of the server at hand."""

_NO_URL = re.compile(r"[\x00-\x20\x7f<>\"]")
"""What stands in no URL (RFC 3986, appendix A), though parsers strip or pass it."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_text(value: object) -> bool:
    """Whether it is a string that says something."""
    return isinstance(value, str) and bool(value.strip())


def is_segment(value: object) -> bool:
    """Whether a URL's path may end with it as it is."""
    return isinstance(value, str) and SEGMENT.fullmatch(value) is not None


def is_absolute(value: object) -> bool:
    """Whether it is an absolute http or https URL."""
    if not isinstance(value, str) or _NO_URL.search(value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def is_coding(value: object, *names: str) -> bool:
    """Whether it is a Coding with a text for each of `names`, and a display of text if any."""
    if not isinstance(value, dict) or not is_text(value.get("display", "none")):
        return False
    return all(is_text(value.get(name)) for name in names)


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of an array; what is no array has none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def strange_names(extension: object) -> Iterator[str]:
    """Names in an extension that are not in reverse DNS."""
    for name in extension if isinstance(extension, dict) else ():
        if not REVERSE_DNS.fullmatch(name):
            yield f"the extension {name[:40]!r} is not in reverse DNS"


def missing(value: Mapping[str, Any], *names: str) -> Iterator[str]:
    """Sentences about members that are not there or say nothing."""
    for name in names:
        if not is_text(value.get(name)):
            yield f"{name} is missing or not a string"


def empties(value: object, path: str = "") -> Iterator[str]:
    """Paths of every null, empty string, array and object, but the arrays that may be empty."""
    allowed = path in ("/cards", "/services")
    if value is None or value in ("", [], {}):
        if not allowed:
            yield path or "/"
        return
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from empties(item, f"{path}/{name}")
