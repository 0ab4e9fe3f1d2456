"""Who the user is, as the EHR's id_token says it (OpenID Connect Core 1.0, 3.1.3.7).

That it is signed by the EHR, for us, just now, shows that the grant is of a person who logged in
there. ``fhirUser`` is read for the audit trail, and nothing else.
"""

from __future__ import annotations

import hmac
import re
import threading
import time
from collections.abc import Callable

import jwt

from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import HttpPolicy
from cds_service.security.errors import InvalidToken
from cds_service.security.jwks import CallerKeySets, PublicKey
from cds_service.security.jwt import LEEWAY_S, TOKEN_CHARACTERS
from cds_service.smart.configuration import LOGIN_POLICY, SmartConfiguration
from cds_service.smart.errors import NotGranted
from cds_service.smart.registration import Registration

ALGORITHMS = ("RS256", "ES256", "RS384", "ES384")
_USER = re.compile(r"(?:Practitioner(?:Role)?|Patient|RelatedPerson)/[A-Za-z0-9\-.]{1,64}")
_CLAIMS = ["iss", "sub", "aud", "exp", "iat"]


class UserTokens:
    """Verifies id_tokens with the keys that each EHR publishes; `clock` is monotonic seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, policy: HttpPolicy = LOGIN_POLICY
    ) -> None:
        self._clock, self._policy = clock, policy
        self._keys: dict[str, CallerKeySets] = {}
        self._lock = threading.Lock()

    def check(
        self, token: object, at: Registration, configuration: SmartConfiguration, nonce: str
    ) -> str:
        """Accept a token of this EHR for this client and this launch; whose it is, as a reference
        into this EHR's chart, empty if it does not say so.

        A server that leaves the nonce out is accepted: the code is bound by PKCE already.

        Raises:
            NotGranted: there is none, or a rule is broken.
        """
        if not isinstance(token, str) or len(token) > TOKEN_CHARACTERS:
            raise NotGranted
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(kid, str):
                raise NotGranted
            claims = jwt.decode(
                token,
                self._key(at, configuration, kid, algorithm),
                algorithms=[algorithm],
                audience=at.tenant.smart_app.client_id,
                issuer=configuration.issuer,
                leeway=LEEWAY_S,
                options={"require": _CLAIMS},
            )
        except (jwt.PyJWTError, InvalidToken, ValueError, TypeError) as error:
            raise NotGranted from error
        stated = claims.get("nonce", nonce)
        if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), nonce.encode()):
            raise NotGranted
        return _reference(claims.get("fhirUser"), at.tenant.fhir_base)

    def _key(
        self, at: Registration, configuration: SmartConfiguration, kid: str, algorithm: str
    ) -> PublicKey:
        keys = configuration.keys
        if keys is None:
            raise NotGranted
        issuer = at.tenant.model_copy(
            update={"issuer": keys.base_url, "jwks_url": keys.base_url, "jwks_file": None}
        )
        with self._lock:
            known = self._keys.get(keys.base_url)
            if known is None:
                client = HttpClient(keys, policy=self._policy, connections=1)
                request = Request("GET", "", headers={"Accept": "*/*"})
                known = CallerKeySets(lambda _: client.send(request).body, self._clock)
                self._keys[keys.base_url] = known
        return known.key(issuer, kid, algorithm)


def _reference(user: object, fhir_base: str) -> str:
    """``fhirUser`` as the chart's own reference: absolute in SMART App Launch, relative in some."""
    text = user.removeprefix(f"{fhir_base.rstrip('/')}/") if isinstance(user, str) else ""
    return text if _USER.fullmatch(text) else ""
