"""The public keys of callers, from a configured URL or file, looked up by (issuer, kid).

A set is kept for ten minutes, and longer while its source does not answer. An unknown ``kid``
(a rotated key) asks again, at most once a minute for each issuer and once at a time, so that a
flood of invented ones reaches nobody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cds_service.security.errors import InvalidToken, Refusal
from cds_service.security.keys import SMALLEST_RSA_BITS
from cds_service.settings import TenantSettings
from cds_service.strict_json import InvalidJson, load_json

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Fetch = Callable[[str], bytes]

_log = logging.getLogger(__name__)

FRESH_S = 600.0
ASK_AGAIN_S = 60.0
FIRST_TRY_AGAIN_S = 5.0
"""While an issuer has no keys at all (both sides have just started), ask more often."""

WAIT_S = 1.5
"""How long a call waits for keys that another call is fetching."""

SET_BYTES = 262_144
MOST_KEYS = 100

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1"}


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True, name="jwks").start()


@dataclass(frozen=True)
class _Key:
    """A key and the one algorithm that its JWK allows, if it names one."""

    public: PublicKey
    algorithm: object


@dataclass
class _Issuer:
    """What is known of one issuer's keys; changed under `lock` alone."""

    keys: Mapping[str, _Key] = field(default_factory=dict)
    loaded_s: float | None = None
    tried_s: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def may_try(self, now_s: float) -> bool:
        pause_s = ASK_AGAIN_S if self.loaded_s is not None else FIRST_TRY_AGAIN_S
        return self.tried_s is None or now_s - self.tried_s >= pause_s

    def stale(self, now_s: float) -> bool:
        return self.loaded_s is None or now_s - self.loaded_s >= FRESH_S


class CallerKeySets:
    """Keys by issuer and kid.

    Args:
        fetch: reads a configured ``jwks_url``; bounded in time and bytes; raises on any failure.
        clock: monotonic seconds.
        background: runs a refresh beside the call that noticed its set is old.
    """

    def __init__(
        self,
        fetch: Fetch,
        clock: Callable[[], float],
        background: Callable[[Callable[[], None]], None] = _in_background,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._background = background
        self._issuers: dict[tuple[str, str, Path | None], _Issuer] = {}
        self._lock = threading.Lock()

    def key(self, tenant: TenantSettings, kid: str, algorithm: str) -> PublicKey:
        """The issuer's key of this name, if it fits the algorithm.

        Raises:
            InvalidToken: there is none, or it is of another kind, curve or size.
        """
        issuer = self._issuer(tenant)
        if kid not in issuer.keys:
            self._refresh(tenant, issuer, WAIT_S)
        elif issuer.stale(self._clock()) and issuer.may_try(self._clock()):
            self._background(lambda: self._refresh(tenant, issuer, 0))
        key = issuer.keys.get(kid)
        if key is None or not _fits(key, algorithm):
            raise InvalidToken(Refusal.KEY)
        return key.public

    def usable(self, tenant: TenantSettings) -> int:
        """How many usable keys the tenant's source holds now; raises what reading it raises."""
        return len(self._load(tenant))

    def _issuer(self, tenant: TenantSettings) -> _Issuer:
        """Tenants of one issuer share its keys if they are told to find them in the same place."""
        place = (tenant.issuer, tenant.jwks_url, tenant.jwks_file)
        with self._lock:
            return self._issuers.setdefault(place, _Issuer())

    def _refresh(self, tenant: TenantSettings, issuer: _Issuer, wait_s: float) -> None:
        """Fetch the set, unless it was tried just now; who waited finds what the other fetched."""
        if not issuer.may_try(self._clock()) and not issuer.lock.locked():
            return
        if not issuer.lock.acquire(timeout=wait_s):
            return
        try:
            if issuer.may_try(self._clock()):
                issuer.tried_s = self._clock()
                issuer.keys = self._load(tenant)
                issuer.loaded_s = self._clock()
        except Exception as error:  # noqa: BLE001 - whatever the source did, the old keys stay
            kind = getattr(error, "kind", type(error).__name__)
            _log.warning("keys not fetched", extra={"kind": kind, "tenant": tenant.name})
        finally:
            issuer.lock.release()

    def _load(self, tenant: TenantSettings) -> Mapping[str, _Key]:
        body = tenant.jwks_file.read_bytes() if tenant.jwks_file else self._fetch(tenant.jwks_url)
        if len(body) > SET_BYTES:
            raise InvalidJson("A JWK set is too large.")
        keys = load_json(body).get("keys")
        if not isinstance(keys, list):
            raise InvalidJson("A JWK set has no keys.")
        found = {}
        for jwk in keys[:MOST_KEYS]:
            public = _public_key(jwk) if isinstance(jwk, dict) else None
            if public is not None and isinstance(jwk.get("kid"), str):
                found[jwk["kid"]] = _Key(public, jwk.get("alg"))
        return found


def _public_key(jwk: Mapping[str, Any]) -> PublicKey | None:
    """The key object of a public EC or RSA JWK for signatures (RFC 7517, 4), else nothing."""
    operations = jwk.get("key_ops", ["verify"])
    for_signatures = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not for_signatures or "d" in jwk:
        return None
    readers = {"EC": ECAlgorithm.from_jwk, "RSA": RSAAlgorithm.from_jwk}
    try:
        key = readers[jwk["kty"]](dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) else None


def _fits(key: _Key, algorithm: str) -> bool:
    """Whether the key is of the kind, curve and size that the algorithm asks for (RFC 7518, 3)."""
    if key.algorithm not in (None, algorithm):
        return False
    if isinstance(key.public, ec.EllipticCurvePublicKey):
        return key.public.curve.name == _CURVES.get(algorithm)
    return algorithm.startswith("RS") and key.public.key_size >= SMALLEST_RSA_BITS
