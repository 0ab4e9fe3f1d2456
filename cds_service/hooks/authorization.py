"""The EHR's access token (``fhirAuthorization``) and what its scopes allow.

The token lives for one request: CDS Hooks 2.0.1, "Passing the Access Token to the CDS Service",
wants it treated as a transient value. It is never stored, logged or put into a job, so its
``repr`` does not show it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class FhirAuthorization:
    """A bearer token for the EHR's FHIR server, with the rights of the current user."""

    access_token: str = field(repr=False)
    scopes: tuple[Scope, ...] = ()
    expires_in_s: int | None = None
    patient_id: str | None = None

    def allows(self, resource_type: str, access: str) -> bool:
        """Whether the scopes grant `access`; ``True`` when no scope could be understood."""
        return not self.scopes or any(s.allows(resource_type, access) for s in self.scopes)
