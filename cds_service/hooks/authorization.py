"""The EHR's access token (``fhirAuthorization``) and what its scopes allow.

The token lives for one request: CDS Hooks 2.0.1, "Passing the Access Token to the CDS Service",
wants it treated as a transient value. It is never stored, logged or put into a job, so its
``repr`` does not show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cds_service.scopes import Scope, parse_scopes

__all__ = ["FhirAuthorization", "Scope", "parse_scopes"]


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
