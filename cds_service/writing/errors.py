"""What can go wrong while a result is written, beside what `clients.errors` has.

::

    Conflict (clients.errors)
    └── Contended         others kept writing; a later attempt finds what they wrote
    Rejected (clients.errors)
    └── NotTaken          the server does not take a resource, in no form that we have
"""

from __future__ import annotations

from cds_service.clients.errors import Conflict, Rejected, UpstreamError
from cds_service.clients.outcomes import reasons


class Contended(Conflict):
    """Others wrote at the same time, again and again."""

    retryable = True


class NotTaken(Rejected):
    """The server does not take what must be written; trying again does not help."""

    @classmethod
    def of(cls, error: UpstreamError, peer: str, kind: str) -> NotTaken:
        """The same, with what was refused, and why in words of our own."""
        why = reasons(error.issues)
        said = f"{peer} does not take the {kind} ({error.status}{': ' + why if why else ''})."
        made = cls(said, status=error.status)
        made.issues = error.issues
        return made
