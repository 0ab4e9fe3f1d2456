"""Who we are at a token endpoint: private_key_jwt (SMART App Launch 2.2).

The workers' client (Backend Services) and the page's (EHR launch) prove themselves in the same way.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Protocol

from cds_service.security.keyring import LONGEST_ASSERTION_S

ASSERTION_LIFETIME_S = LONGEST_ASSERTION_S - 60
"""A server whose clock is behind ours by a minute still takes it."""

_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class SigningKey(Protocol):
    """Our private key: ES384 or RS384."""

    @property
    def kid(self) -> str:
        """The key's id in our published key set."""
        ...

    @property
    def algorithm(self) -> str:
        """``ES384`` or ``RS384``."""
        ...

    def sign(self, claims: Mapping[str, object], headers: Mapping[str, object]) -> str:
        """A compact JWS of `claims`; `headers` go beside ``alg``, ``kid`` and ``typ``."""
        ...


def client_assertion(
    key: SigningKey, client_id: str, token_url: str, now_s: float, jku: str = ""
) -> dict[str, str]:
    """The members of a token request that prove `client_id`; new each time: a ``jti`` is good once.

    `now_s` is epoch seconds.
    """
    issued = int(now_s)
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": token_url,
        "iat": issued,
        "exp": issued + ASSERTION_LIFETIME_S,
        "jti": str(uuid.uuid4()),
    }
    headers = {"typ": "JWT", "kid": key.kid, **({"jku": jku} if jku else {})}
    return {"client_assertion_type": _TYPE, "client_assertion": key.sign(claims, headers)}
