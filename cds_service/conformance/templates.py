"""Prefetch templates: what is wrong with one, and what to send for it (CDS Hooks 2.0.1, Prefetch).

The portable subset: an instance read, or a type search by reference, token and date parameters with
``_count`` and ``_sort``; tokens name a primitive at the root of the context or the current user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.conformance.hooks import HOOKS, Who

_TOKEN = re.compile(r"\{\{(.*?)\}\}")
_NAME = re.compile(r"\s*context\.([A-Za-z][A-Za-z0-9]*)\s*")
_USERS = {
    "userPractitionerId": "Practitioner",
    "userPractitionerRoleId": "PractitionerRole",
    "userPatientId": "Patient",
    "userRelatedPersonId": "RelatedPerson",
}
_READ = re.compile(r"[A-Z][A-Za-z]+/[^/?&=]+")
_CONTEXT_READ = re.compile(r"\{\{\s*context\.[A-Za-z]+\s*\}\}")
_SEARCH = re.compile(r"[A-Z][A-Za-z]+\?[^?]+")
_PARAMETER = re.compile(r"_?[a-z][A-Za-z-]*(?::in)?")
_RESULT = frozenset({"_id", "_count", "_sort", "_lastUpdated"})
_PREFIX = re.compile(r"(ne|gt|lt|ge|le|sa|eb|ap)(?=\d{4})")
_PORTABLE_PREFIXES = ("gt", "lt", "ge", "le")


def unknown_tokens(template: str, hook: str) -> Iterator[str]:
    """Sentences about tokens that no client of CDS Hooks 2.0 has to know."""
    if set("{}") & set(_TOKEN.sub("", template)):
        yield "has a brace that is part of no token"
    for token in _TOKEN.findall(template):
        if _later(token) or token.strip() in _USERS:
            continue
        named = _NAME.fullmatch(token)
        known = {field.name for field in HOOKS.get(hook, ()) if field.token}
        if named is None:
            yield f"has the token {token.strip()[:40]!r}, which is no token"
        elif hook in HOOKS and named[1] not in known:
            yield f"has the token {token.strip()[:40]!r}, which {hook} does not allow"


def later_tokens(template: str) -> Iterator[str]:
    """Sentences about tokens of the 3.0 ballot: simple FHIRPath, variables, dates."""
    for token in _TOKEN.findall(template):
        if _later(token):
            yield f"has the token {token.strip()[:40]!r}, which clients of 2.0 do not know"


def outside_the_subset(template: str) -> Iterator[str]:
    """Sentences about queries that not every client can run."""
    plain = _TOKEN.sub("x", template)
    if _READ.fullmatch(plain) or _CONTEXT_READ.fullmatch(template):
        return
    if not _SEARCH.fullmatch(plain):
        yield "is neither a read of one resource nor a search of one type"
        return
    for part in plain.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if not _PARAMETER.fullmatch(name) or (name.startswith("_") and name not in _RESULT):
            yield f"has the parameter {name[:40]!r}"
        prefix = _PREFIX.match(value)
        if prefix and prefix[1] not in _PORTABLE_PREFIXES:
            yield f"has the date prefix {prefix[1]!r}"


def _later(token: str) -> bool:
    bare = token.strip()
    deep = bare.startswith("context.") and "." in bare.removeprefix("context.")
    return "(" in bare or bare.startswith("%") or deep


def filled(template: str, context: Mapping[str, Any], user: str) -> str | None:
    """The query that a client would run; None if a token has no value."""
    kind, _, user_id = user.partition("/")
    values = {name: user_id for name, of in _USERS.items() if of == kind}
    values |= {f"context.{n}": v for n, v in context.items() if isinstance(v, str)}
    tokens = [token.strip() for token in _TOKEN.findall(template)]
    if not all(token in values for token in tokens):
        return None
    return _TOKEN.sub(lambda found: values[found[1].strip()], template)


def invented(query: str | None, who: Who) -> dict[str, Any] | None:
    """What an EHR with an empty chart would send: null is "there is nothing"."""
    if query is None:
        return None
    kind, _, rest = query.partition("?")
    if rest:
        return {"resourceType": "Bundle", "type": "searchset", "total": 0}
    kind, _, logical_id = query.partition("/")
    known: Mapping[str, dict[str, Any]] = {
        "Patient": {"gender": "female", "birthDate": "1970-01-01"},
        "Encounter": {
            "status": "in-progress",
            "class": {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                "code": "IMP",
            },
            "subject": {"reference": f"Patient/{who.patient_id}"},
        },
        "Practitioner": {"active": True},
    }
    return {"resourceType": kind, "id": logical_id, **known[kind]} if kind in known else None
