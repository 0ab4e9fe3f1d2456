"""An EHR that signs its calls, in the ways that real ones do and in the ways that forgers do."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cds_service.settings import TenantSettings

ISSUER = "https://ehr.example.org"
JWKS_URL = "https://ehr.example.org/.well-known/jwks.json"
FHIR_BASE = "https://ehr.example.org/fhir"
BASE_URL = "https://scanhook.example.org"
NOW_S = 1_790_000_000.0

KEY = ec.generate_private_key(ec.SECP384R1())
OTHER_KEY = ec.generate_private_key(ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_KID, KID = "rsa-1", "ec-1"


def tenant(**changes: Any) -> TenantSettings:
    """The tenant under which this EHR is configured."""
    values = {
        "name": "ehr",
        "issuer": ISSUER,
        "jwks_url": JWKS_URL,
        "fhir_base": FHIR_BASE,
        "archive": "pacs",
        **changes,
    }
    return TenantSettings(**values)


def jwk(key: Any, kid: str, **members: Any) -> dict[str, Any]:
    """The public half of a key."""
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **members}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    """A JWK set as it is served."""
    return json.dumps({"keys": list(keys) or [jwk(KEY, KID), jwk(RSA_KEY, RSA_KID)]}).encode()


def segment(value: Any) -> str:
    """One part of a compact JWT."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Ehr:
    """Makes tokens; `now_s` is its clock."""

    now_s: float = NOW_S
    key: Any = field(default_factory=lambda: KEY)
    kid: str = KID
    algorithm: str = "ES384"

    def claims(self, audience: Any, **changes: Any) -> dict[str, Any]:
        """The claims of a good token; a change to None removes the claim."""
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "iat": int(self.now_s),
            "exp": int(self.now_s) + 300,
            "jti": str(uuid.uuid4()),
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, audience: Any, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A compact JWT; a header set to None is removed."""
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **(headers or {})}
        header = {name: value for name, value in header.items() if value is not None}
        signed = f"{segment(header)}.{segment(self.claims(audience, **changes))}"
        return f"{signed}.{segment(self.signature(signed))}"

    def signature(self, signed: str) -> bytes:
        """Over header and payload, with our key and algorithm."""
        method = jwt.get_algorithm_by_name(self.algorithm)
        return method.sign(signed.encode(), self.key)

    def bearer(self, path: str, **changes: Any) -> dict[str, str]:
        """The header of a good call to the endpoint at `path`."""
        return {"Authorization": f"Bearer {self.token(BASE_URL + path, **changes)}"}
