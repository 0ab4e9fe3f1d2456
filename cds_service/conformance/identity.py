"""The client that the examination plays: it signs its calls, well and in every wrong way.

CDS Hooks 2.0.1, Trusting CDS Clients. The key is the examination's own; a service that verifies
its callers must be told the issuer and the public key set before.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cds_service.security.keys import RSA_BITS, PrivateKey, SigningKey, public_jwks

LIFETIME_S = 300
HOUR_S = 3600


def segment(value: object) -> str:
    """One part of a compact JWT."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class Identity:
    """Who calls. `jku` is where the key set can be read, if the service is to look there."""

    issuer: str
    key: SigningKey
    jku: str = ""
    clock: Callable[[], float] = field(default=time.time)

    def claims(self, audience: object, **changes: object) -> dict[str, Any]:
        """The claims of a good token; a change to None removes one."""
        now_s = int(self.clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": audience,
            "iat": now_s,
            "exp": now_s + LIFETIME_S,
            "jti": str(uuid.uuid4()),
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def header(self, **changes: object) -> dict[str, Any]:
        """The JOSE header of a good token."""
        header: dict[str, Any] = {"alg": self.key.algorithm, "typ": "JWT", "kid": self.key.kid}
        return {**header, **({"jku": self.jku} if self.jku else {}), **changes}

    def token(
        self,
        audience: object,
        header: Mapping[str, object] | None = None,
        key: PrivateKey | None = None,
        **changes: object,
    ) -> str:
        """A token signed by our key, or by another one that claims to be it."""
        signed = self._signed(self.header(**(header or {})), self.claims(audience, **changes))
        method = jwt.get_algorithm_by_name(self.key.algorithm)
        return f"{signed}.{segment(method.sign(signed.encode(), key or self.key.private))}"

    def self_certified(self, audience: object) -> str:
        """A token that is signed by another key and brings that key along (RFC 7515, 4.1.3)."""
        other = SigningKey(self.key.kid, self.key.algorithm, self.other_key())
        return self.token(audience, {"jwk": public_jwks([other])["keys"][0]}, key=other.private)

    def unsigned(self, audience: object, algorithm: str = "none") -> str:
        """A token without a signature that says so (RFC 7519, 6)."""
        return f"{self._signed(self.header(alg=algorithm), self.claims(audience))}."

    def hmac_signed(self, audience: object) -> str:
        """A token under a symmetric algorithm whose secret is our public key, which all know."""
        secret = self.key.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = self._signed(self.header(alg="HS256"), self.claims(audience))
        return f"{signed}.{segment(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    def changed(self, audience: object) -> str:
        """A good token whose claims were changed after it was signed."""
        header, _, signature = self.token(audience).split(".")
        return f"{header}.{segment(self.claims(audience, sub='somebody-else'))}.{signature}"

    def other_key(self) -> PrivateKey:
        """A key of the same kind that nobody was told of."""
        if isinstance(self.key.private, ec.EllipticCurvePrivateKey):
            return ec.generate_private_key(self.key.private.curve)
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)

    def _signed(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        return f"{segment(header)}.{segment(claims)}"
