"""Access tokens of the demo EHR and what they allow (SMART App Launch 2.2, Scopes).

Tokens are kept in memory as their SHA-256, so that a dump of the process's answers holds none.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_SCOPE = re.compile(
    r"(patient|user|system)/([A-Z][A-Za-z]+|\*)\.(read|write|\*|c?r?u?d?s?)(\?[^ ]*)?"
)
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True)
class Grant:
    """What a token is good for: scopes, until when (epoch s), and for one patient or for all."""

    subject: str
    scopes: frozenset[str]
    expires_s: float
    patient_id: str | None = None

    def allows(self, resource_type: str, interaction: str) -> bool:
        """Whether a scope covers `interaction`: one of c, r, u, d, s."""
        for scope in self.scopes:
            found = _SCOPE.fullmatch(scope)
            if found and found[2] in ("*", resource_type):
                letters = _VERSION_1.get(found[3], found[3])
                if interaction in letters:
                    return True
        return False


class Tokens:
    """The tokens that are good at the moment. Safe to use from several threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._grants: dict[str, Grant] = {}
        self._lock = threading.Lock()

    def issue(
        self, subject: str, scopes: Iterable[str], lifetime_s: int, patient_id: str | None = None
    ) -> str:
        """A new token, opaque to who carries it."""
        token = secrets.token_urlsafe(32)
        grant = Grant(subject, frozenset(scopes), self._now() + lifetime_s, patient_id)
        with self._lock:
            self._grants = {k: g for k, g in self._grants.items() if g.expires_s > self._now()}
            self._grants[_digest(token)] = grant
        return token

    def grant(self, token: str) -> Grant | None:
        """What the token allows now; ``None`` if it is unknown, revoked or over."""
        with self._lock:
            found = self._grants.get(_digest(token))
        return found if found is not None and found.expires_s > self._now() else None

    def revoke(self, token: str) -> None:
        """From now on the token is good for nothing."""
        with self._lock:
            self._grants.pop(_digest(token), None)


def is_scope(scope: str) -> bool:
    """Whether `scope` is a FHIR resource scope of SMART version 1 or 2."""
    return _SCOPE.fullmatch(scope) is not None and not scope.endswith(".")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
