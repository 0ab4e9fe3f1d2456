"""One signing key of our own: private in a file, its public half for EHRs to register.

SMART Backend Services asks for ES384 or RS384 and a public JWK set (SMART App Launch 2.2,
Asymmetric Authentication).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cds_service.security.errors import UnfitKey

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 3072
SMALLEST_RSA_BITS = 2048
UNREADABLE = "The signing key cannot be read as a private JWK or PEM."
OTHERS_READ = 0o044
OPEN_TO_OTHERS = "may be read by others than its owner; 600 is meant"
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


@dataclass(frozen=True)
class SigningKey:
    """A private key with the name under which its public half is registered."""

    kid: str
    algorithm: str
    private: PrivateKey = field(repr=False)

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
        """A compact JWT over `claims`; ``alg``, ``kid`` and ``typ`` are added to `headers`."""
        header = {**(headers or {}), "kid": self.kid}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=header)

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517), without any private member."""
        public = _public_members(self.private)
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def private_jwk(self) -> dict[str, Any]:
        """The whole key as a JWK: for its file alone."""
        return {**_jwk(self.private), "kid": self.kid, "alg": self.algorithm, "use": "sig"}


def new_signing_key(algorithm: str = "ES384") -> SigningKey:
    """Make a key, named by its thumbprint (RFC 7638).

    Raises:
        UnfitKey: an algorithm other than ES384 and RS384.
    """
    if algorithm not in ("ES384", "RS384"):
        raise UnfitKey("A signing key is for ES384 or RS384.")
    private: PrivateKey = (
        ec.generate_private_key(ec.SECP384R1())
        if algorithm == "ES384"
        else rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    )
    return SigningKey(_thumbprint(private), algorithm, private)


def generate_signing_key(path: Path, algorithm: str = "ES384") -> SigningKey:
    """Make a key and write it to `path` as a JWK, mode 600.

    Raises:
        FileExistsError: there is a file already; a key is never overwritten.
        UnfitKey: an algorithm other than ES384 and RS384.
    """
    key = new_signing_key(algorithm)
    # created with its mode: there is no moment at which others could read it
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(json.dumps(key.private_jwk))
    return key


def read_by_others(path: Path) -> bool:
    """Whether others than its owner may read the file: meant is 600, borne is what is mounted.

    A secret of a container is often 0444 and root's, so this is said and never refused.
    """
    return bool(path.stat().st_mode & OTHERS_READ)


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key, JWK or PEM; without a ``kid`` it is named by its thumbprint (RFC 7638).

    Raises:
        UnfitKey: not a private EC P-384 or RSA key of at least 2048 bits, or not readable.
    """
    try:
        text = path.read_bytes()
        return signing_key(text if text.lstrip()[:1] == b"-" else json.loads(text))
    except (OSError, ValueError):
        raise UnfitKey(UNREADABLE) from None


def signing_key(source: bytes | Mapping[str, Any]) -> SigningKey:
    """The private key of a PEM (bytes) or a JWK (object).

    Raises:
        UnfitKey: not a private EC P-384 or RSA key of at least 2048 bits.
    """
    try:
        private, kid = _from_pem(source) if isinstance(source, bytes) else _from_jwk(source)
    except (ValueError, TypeError, KeyError, AttributeError, jwt.PyJWTError):
        raise UnfitKey(UNREADABLE) from None
    return SigningKey(kid or _thumbprint(private), _algorithm(private), private)


def public_jwks(keys: Iterable[SigningKey]) -> dict[str, list[dict[str, str]]]:
    """The JWK set to publish; each key once."""
    return {"keys": list({key.kid: key.public_jwk for key in keys}.values())}


def _from_pem(text: bytes) -> tuple[PrivateKey, str]:
    private = load_pem_private_key(text, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UnfitKey("The signing key is neither EC nor RSA.")
    return private, ""


def _from_jwk(jwk: Mapping[str, Any]) -> tuple[PrivateKey, str]:
    reader = ECAlgorithm if jwk["kty"] == "EC" else RSAAlgorithm
    private = reader.from_jwk(dict(jwk))
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UnfitKey("The signing key is a public key.")
    return private, str(jwk.get("kid", ""))


def _algorithm(private: PrivateKey) -> str:
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < SMALLEST_RSA_BITS:
            raise UnfitKey(f"The signing key has fewer than {SMALLEST_RSA_BITS} bits.")
        return "RS384"
    if not isinstance(private.curve, ec.SECP384R1):
        raise UnfitKey("The signing key is on another curve than P-384.")
    return "ES384"


def _jwk(private: PrivateKey) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(private, as_dict=True)
    return ECAlgorithm.to_jwk(private, as_dict=True)


def _public_members(private: PrivateKey) -> dict[str, str]:
    """Chosen by name, so that no private member can slip through."""
    jwk = _jwk(private)
    return {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}


def _thumbprint(private: PrivateKey) -> str:
    """RFC 7638: SHA-256 over the required public members in order."""
    text = json.dumps(_public_members(private), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
