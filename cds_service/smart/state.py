"""The state of a launch: sealed into the address, so that nothing is kept here until it is used.

An unauthenticated address that stored something for each visit could be filled by anybody. So the
state carries what the way back needs, encrypted and signed (Fernet), and only one that came back
whole is remembered, by its hash, until it would have expired.

The browser is bound without a cookie: it keeps the PKCE verifier, of which the state holds the
challenge (RFC 7636, 4.2). An address of the way back that somebody else prepared finds no verifier
in this window, and is refused before the EHR is asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.exceptions import RedisError

from cds_service.security.replay import SetOnce
from cds_service.smart.errors import ForeignState, QueueSilent, StaleState, UsedState

LIFETIME_S = 600
"""For a login with a second factor; the EHR's own launch token rarely lives longer."""

STATE_CHARACTERS = 1024
PREFIX = "cds:launch:"


@dataclass(frozen=True)
class Departure:
    """What leaves with the browser: `state` and `challenge` go to the EHR, `verifier` stays."""

    state: str
    challenge: str
    verifier: str = field(repr=False)


class States:
    """Makes states and takes each back once.

    Args:
        site_secrets: newest first; the first seals, every one opens.
        redis: remembers what was used, over all processes.
        clock_s: epoch seconds.
    """

    def __init__(
        self, site_secrets: Sequence[str], redis: SetOnce, clock_s: Callable[[], float]
    ) -> None:
        self._sealer = MultiFernet([Fernet(_derived(secret)) for secret in site_secrets])
        self._redis = redis
        self._clock_s = clock_s

    def depart(self, tenant: str) -> Departure:
        """A new state for a launch by this tenant's EHR."""
        verifier = secrets.token_urlsafe(48)
        challenge = challenge_of(verifier)
        now_s = int(self._clock_s())
        content = {"tenant": tenant, "challenge": challenge, "until_s": now_s + LIFETIME_S}
        sealed = self._sealer.encrypt_at_time(json.dumps(content).encode(), now_s)
        return Departure(sealed.rstrip(b"=").decode(), challenge, verifier)

    def tenant_of(self, state: str) -> str:
        """The tenant of a state of ours, used or not, whoever brings it.

        Raises:
            ForeignState, StaleState: it is none, or its time is over.
        """
        return self._opened(state)[0]

    def arrive(self, state: str, verifier: str) -> str:
        """The tenant of a state that came back in time, in its own browser, for the first time.

        Raises:
            ForeignState, StaleState, UsedState: it did not.
            QueueSilent: it cannot be told whether it was used before.
        """
        tenant, challenge = self._opened(state)
        if not hmac.compare_digest(challenge_of(verifier), challenge):
            raise ForeignState
        name = PREFIX + hashlib.sha256(state.encode()).hexdigest()
        try:
            fresh = self._redis.set(name, "1", nx=True, ex=LIFETIME_S + 60)
        except (RedisError, OSError):
            raise QueueSilent from None
        if not fresh:
            raise UsedState
        return tenant

    def _opened(self, state: str) -> tuple[str, str]:
        padded = state + "=" * (-len(state) % 4)
        if not state.isascii() or len(state) > STATE_CHARACTERS:
            raise ForeignState
        try:
            content = json.loads(self._sealer.decrypt(padded.encode()))
        except InvalidToken:
            raise ForeignState from None
        if self._clock_s() >= content["until_s"]:
            raise StaleState
        return content["tenant"], content["challenge"]


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _derived(secret: str) -> bytes:
    hkdf = HKDF(SHA256(), length=32, salt=None, info=b"scanhook smart launch state 1")
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))
