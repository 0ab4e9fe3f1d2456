"""Verify the one token of a CDS Hooks call (CDS Hooks 2.0.1, Trusting CDS Clients).

The token names an issuer and a key; both only select what we were configured with. ``jwk``,
``x5c`` and ``x5u`` are not looked at. ``jku`` is never followed: it must be the configured URL, and
is passed over where the keys are stored in a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from cds_service.security.decoys import decoy
from cds_service.security.errors import InvalidToken, Refusal
from cds_service.settings import TenantSettings
from cds_service.strict_json import InvalidJson, load_json

LEEWAY_S = 60
"""Clocks of two organisations differ by so much."""

LIFETIME_S = 900
"""The most between ``iat`` and ``exp``: the specification's examples use 300, Epic 900. A stolen
token is useless sooner, and the store of used ones stays small."""

TOKEN_CHARACTERS = 16_384
NAME_CHARACTERS = 256
"""Of ``kid`` and ``jti``: both become look-up keys."""

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>\S+)")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class CallerKeys(Protocol):
    """Public keys of callers (see `security.jwks`)."""

    def key(self, tenant: TenantSettings, kid: str, algorithm: str) -> Any:
        """The key object; InvalidToken when the issuer has no such key for this algorithm."""


@dataclass(frozen=True)
class Caller:
    """Who calls, proved by a signature.

    `misdirected`: the token names another audience, which the tenant's settings accept.
    """

    tenant: TenantSettings
    token_id: str
    expires_s: float
    misdirected: bool = False


class TenantOf(Protocol):
    """Finds a tenant (see `Settings.tenant_of`)."""

    def __call__(self, issuer: str, claim: str = ..., /) -> TenantSettings | None:
        """The tenant of an exact ``iss`` and, where it is told apart by it, claim ``tenant``."""


@dataclass(frozen=True)
class Verifier:
    """Checks tokens; `tenant_of` finds whose they say they are, `clock` is epoch seconds."""

    tenant_of: TenantOf
    keys: CallerKeys
    clock: Callable[[], float]

    def verify(self, authorization: str | None, audience: str) -> Caller:
        """Check everything but replay.

        Args:
            authorization: the header's value, ``Bearer <token>``.
            audience: the exact URL of this endpoint.

        Raises:
            InvalidToken: for any rule that is broken; the `refusal` says which.
        """
        token = _bearer(authorization)
        header, unproved = _parts(token)
        try:
            tenant = self._tenant(unproved)
            algorithm, kid = _checked_header(header, tenant)
            key = self.keys.key(tenant, kid, algorithm)
        except InvalidToken:
            _take_as_long(token, header.get("alg"))
            raise
        claims = _proved(token, key, algorithm)
        exact = _checked_audience(claims, audience, tenant.accepted_audiences)
        expires_s = _check_times(claims, self.clock())
        token_id = _name(claims.get("jti"), Refusal.CLAIMS)
        return Caller(tenant, token_id, expires_s, misdirected=not exact)

    def _tenant(self, unproved: Mapping[str, Any]) -> TenantSettings:
        issuer, claim = unproved.get("iss"), unproved.get("tenant")
        claimed = claim if isinstance(claim, str) else ""
        tenant = self.tenant_of(issuer, claimed) if isinstance(issuer, str) else None
        if tenant is None:
            raise InvalidToken(Refusal.ISSUER)
        return tenant


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise InvalidToken(Refusal.MISSING)
    match = _BEARER.fullmatch(authorization) if len(authorization) <= TOKEN_CHARACTERS else None
    if match is None or not _COMPACT.fullmatch(match["token"]):
        raise InvalidToken(Refusal.MALFORMED)
    return match["token"]


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload, read by our own strict reader: no name twice, no odd number."""
    header, payload, _ = token.split(".")
    try:
        parts = [jwt.utils.base64url_decode(part) for part in (header, payload)]
        first, second = (load_json(part) for part in parts)
    except (ValueError, InvalidJson):
        raise InvalidToken(Refusal.MALFORMED) from None
    return first, second


def _checked_header(header: Mapping[str, Any], tenant: TenantSettings) -> tuple[str, str]:
    """(algorithm, kid), if every header parameter is one that we accept (RFC 7515, 4.1)."""
    kind = header.get("typ")
    if "crit" in header or "b64" in header or not (isinstance(kind, str) and kind.upper() == "JWT"):
        raise InvalidToken(Refusal.HEADER)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in tenant.algorithms:
        raise InvalidToken(Refusal.ALGORITHM)
    # where keys are stored it says nothing: one of them must have signed, whatever is named
    if tenant.jwks_url and header.get("jku", tenant.jwks_url) != tenant.jwks_url:
        raise InvalidToken(Refusal.JKU)
    return algorithm, _name(header.get("kid"), Refusal.HEADER)


def _name(value: object, refusal: Refusal) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS:
        raise InvalidToken(refusal)
    return value


def _proved(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    """The payload, once the signature holds; times and audience are checked by ourselves."""
    try:
        payload = jwt.api_jws.decode_complete(token, key, algorithms=[algorithm])["payload"]
    except (jwt.PyJWTError, ValueError, TypeError):
        raise InvalidToken(Refusal.SIGNATURE) from None
    return load_json(payload)


def _take_as_long(token: str, algorithm: object) -> None:
    """Check the signature with a key that nobody has."""
    key = decoy(algorithm)
    if key is not None:
        with suppress(InvalidToken):
            _proved(token, key, str(algorithm))


def _checked_audience(claims: Mapping[str, Any], endpoint: str, accepted: Collection[str]) -> bool:
    """Whether it is exactly this endpoint, or else one that is `accepted` all the same.

    A token that is good elsewhere too could be replayed there.
    """
    stated = claims.get("aud")
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    if not isinstance(stated, str) or stated not in (endpoint, *accepted):
        raise InvalidToken(Refusal.AUDIENCE)
    return stated == endpoint


def _check_times(claims: Mapping[str, Any], now_s: float) -> float:
    """The time of expiry, epoch seconds (RFC 7519, 4.1.4 to 4.1.6)."""
    expires_s, issued_s = _time(claims, "exp"), _time(claims, "iat")
    starts_s = _time(claims, "nbf") if "nbf" in claims else issued_s
    if now_s >= expires_s + LEEWAY_S or max(issued_s, starts_s) > now_s + LEEWAY_S:
        raise InvalidToken(Refusal.TIME)
    if not 0 < expires_s - issued_s <= LIFETIME_S:
        raise InvalidToken(Refusal.LIFETIME)
    return expires_s


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidToken(Refusal.CLAIMS)
    return float(value)
