"""Who may see the operations page, and which forms were made by it.

There is no cookie. A browser sends the password of basic authentication by itself, to a form of
another site too, so every form carries a token that only the page could make: the time at which it
ends and what it asks for, signed with a key that is derived from the page's secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

FORM_S = 3600
"""How long a form may lie open before it is sent."""


@dataclass(frozen=True)
class Credential:
    """The secret of the page."""

    secret: str = field(repr=False)

    def admits(self, authorization: str) -> bool:
        """Whether a header carries the secret, as a bearer token (RFC 6750) or as the password of
        basic authentication (RFC 7617), whatever the user name."""
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            given = rest.strip().encode("utf-8", "surrogateescape")
        elif scheme.lower() == "basic":
            given = _password(rest.strip())
        else:
            return False
        return hmac.compare_digest(_hash(given), _hash(self.secret.encode()))

    def form(self, asked: str, now_s: float) -> str:
        """A token for a form that asks for this; `now_s` is epoch seconds."""
        until_s = int(now_s) + FORM_S
        return f"{until_s}.{self._signed(asked, until_s)}"

    def made(self, token: str, asked: str, now_s: float) -> bool:
        """Whether the page made this token, for this, and not too long ago."""
        text, _, signature = token.partition(".")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            return False
        signed = self._signed(asked, int(text)).encode()
        return hmac.compare_digest(signature.encode(), signed) and now_s <= int(text)

    def _signed(self, asked: str, until_s: int) -> str:
        key = _hash(b"scanhook ops form\0" + self.secret.encode())
        return hmac.new(key, f"{until_s}\n{asked}".encode(), hashlib.sha256).hexdigest()


def _password(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _hash(value: bytes) -> bytes:
    """Of one length, so that a comparison says nothing of the length of a secret."""
    return hashlib.sha256(value).digest()
