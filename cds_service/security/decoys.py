"""Keys that nobody signs with, so that a refused token costs one signature check whatever it names.

Without them the time of an answer would tell which issuers, keys and algorithms we know.
"""

from __future__ import annotations

import secrets
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cds_service.security.keys import SMALLEST_RSA_BITS

_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}


def decoy(algorithm: object) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | None:
    """A public key for an algorithm that callers may use, else nothing."""
    if algorithm in ("RS256", "RS384"):
        return _rsa()
    return _elliptic(algorithm) if isinstance(algorithm, str) and algorithm in _CURVES else None


@cache
def _elliptic(algorithm: str) -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(_CURVES[algorithm]()).public_key()


@cache
def _rsa() -> rsa.RSAPublicKey:
    """Any odd number of that size takes as long as a product of two primes."""
    odd = secrets.randbits(SMALLEST_RSA_BITS) | 1 | 1 << (SMALLEST_RSA_BITS - 1)
    return rsa.RSAPublicNumbers(65537, odd).public_key()
