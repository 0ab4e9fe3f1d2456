"""The secret by which a sender of notifications is known: one for each, derived, never stored.

It stands in a header that we ask the sender to send (``Subscription.channel.header``), never in a
URL. It follows from the site secret, so the next site secret gives the next one, and the old one is
good for as long as the old site secret stays on the list.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

_PURPOSE = b"scanhook notification 1: "
_BEARER = "bearer "


class NotificationSecrets:
    """Makes and checks secrets; the first of `site_secrets` makes them, each of them is good."""

    def __init__(self, site_secrets: Sequence[str]) -> None:
        self._keys = [secret.encode() for secret in site_secrets]

    def of(self, source: str, name: str) -> str:
        """The secret of one sender: `source` is ``fhir`` or ``archive``; 64 hex digits."""
        return _secret(self._keys[0], source, name)

    def header(self, source: str, name: str) -> str:
        """The header that the sender sends, as ``Subscription.channel.header`` writes it."""
        return f"Authorization: Bearer {self.of(source, name)}"

    def proves(self, authorization: str | None, source: str, name: str) -> bool:
        """Whether the header's value holds the secret; a wrong one takes as long as a good one."""
        given = (authorization or "")[:1024]
        token = given[len(_BEARER) :].strip() if given[: len(_BEARER)].lower() == _BEARER else ""
        matches = [
            hmac.compare_digest(_secret(key, source, name).encode(), token.encode())
            for key in self._keys
        ]
        return any(matches)


def _secret(key: bytes, source: str, name: str) -> str:
    return hmac.digest(key, _PURPOSE + f"{source}\n{name}".encode(), sha256).hex()
