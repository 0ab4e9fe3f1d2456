"""SMART scopes of version 1 and 2: what they grant, and one in the other's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]+)\."
    r"(?P<access>read|write|\*|c?r?u?d?s?)(?:\?\S*)?"
)
_V1 = {"read": frozenset("rs"), "write": frozenset("cud"), "*": frozenset("cruds")}


@dataclass(frozen=True)
class Scope:
    """One SMART scope; `access` is a subset of ``cruds`` (SMART App Launch 2, Scopes)."""

    context: str
    resource_type: str
    access: frozenset[str]

    def allows(self, resource_type: str, access: str) -> bool:
        """Whether every letter of `access` is granted for `resource_type`."""
        return self.resource_type in ("*", resource_type) and self.access.issuperset(access)


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read a scope string of SMART v1 (``user/Patient.read``) or v2 (``user/Patient.rs``).

    A scope that is neither (``openid``, ``launch``, letters out of order) grants nothing here.
    """
    matches = (_SCOPE.fullmatch(part) for part in text.split())
    return tuple(
        Scope(m["context"], m["type"], _V1.get(m["access"], frozenset(m["access"])))
        for m in matches
        if m and m["access"]
    )


def granted(scopes: Iterable[str]) -> Callable[[str, str], bool]:
    """(resource type, access) -> whether these scopes grant it to us without a user.

    Where none of them can be understood it is not known, and the answer is yes: the server knows.
    """
    ours = [each for each in parse_scopes(" ".join(scopes)) if each.context == "system"]

    def may(resource_type: str, access: str) -> bool:
        letters = (each.access for each in ours if each.resource_type in ("*", resource_type))
        return not ours or frozenset(access) <= frozenset().union(*letters)

    return may


def in_version_1(scope: str) -> tuple[str, ...]:
    """A scope as servers of SMART version 1 know it, never for less: ``.cu`` is ``.write``.

    What is no FHIR resource scope (``openid``, ``launch``) is the same in both.
    """
    parsed = parse_scopes(scope)
    if not parsed:
        return (scope,)
    (found,) = parsed
    words = [word for word in ("read", "write") if found.access & _V1[word]]
    return tuple(f"{found.context}/{found.resource_type}.{word}" for word in words)
