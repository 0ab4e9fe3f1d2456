"""SMART Backend Services: who we are when no user is there.

SMART App Launch 2.2, Backend Services and asymmetric client authentication. The access token is
kept in memory only, until shortly before it expires.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from cds_service.clients.errors import BadAnswer, NotFound, upstream_errors
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import Clock, HttpPolicy
from cds_service.security.egress import Allowance, AllowList, parse_url

ASSERTION_LIFETIME_S = 240  # the specification's limit is 300
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_EARLY_S = 30.0


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


@dataclass(frozen=True)
class AccessToken:
    """What the token endpoint granted."""

    value: str = field(repr=False)
    scopes: frozenset[str]
    expires_at: float
    """On the monotonic clock of the credential."""


class BackendServices:
    """A credential that fetches its own token with a signed assertion.

    Args:
        fhir: the base of the FHIR server; tokens are sent to its origin only.
        allowed: where tokens may be fetched: the token endpoint, however it was found, is on the
            FHIR server's own origin or lies below one of these.
        client_id: our id, as it was registered.
        key: signs the assertion.
        scopes: what to ask for; the server may grant less (see `granted`).
        token_url: the token endpoint; without it it is read from
            ``{fhir}/.well-known/smart-configuration``.
    """

    def __init__(
        self,
        fhir: Allowance,
        allowed: AllowList,
        client_id: str,
        key: SigningKey,
        scopes: tuple[str, ...],
        *,
        token_url: str = "",
        policy: HttpPolicy | None = None,
        jku: str = "",
        clock: Clock = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fhir, self._allowed = fhir, allowed
        self._client_id, self._key, self._scopes = client_id, key, scopes
        self._token_url = token_url
        self._policy = policy or HttpPolicy(deadline_s=10, attempts=3, bytes_cap=256 * 1024)
        self._jku = jku
        self._clock, self._now = clock, now
        self._token: AccessToken | None = None
        self._lock = threading.Lock()
        self._discovery = HttpClient(fhir, policy=self._policy)
        self._endpoint: tuple[str, HttpClient] | None = None

    @property
    def granted(self) -> frozenset[str] | None:
        """The scopes of the present token; None before the first one."""
        return self._token.scopes if self._token else None

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """``Authorization`` for the FHIR server, with a token that is still good.

        Raises:
            EgressRefused: `allowance` is another origin, or the token endpoint is not configured.
            UpstreamError: the token endpoint does not give a token.
        """
        with upstream_errors(allowance.name):
            if allowance.origin != self._fhir.origin:
                allowance.relative(self._fhir.base)
        return {"Authorization": f"Bearer {self._good(deadline_s).value}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Forget the token that was refused, unless another thread has a newer one already."""
        with self._lock:
            token = self._token
            if token and refused.get("Authorization") == f"Bearer {token.value}":
                self._token = None
        return True

    def _good(self, deadline_s: float) -> AccessToken:
        with self._lock:
            token = self._token
            if token is None or self._clock() >= token.expires_at:
                token = self._token = self._fetch(deadline_s)
            return token

    def _fetch(self, deadline_s: float) -> AccessToken:
        deadline = self._discovery.deadline(
            HttpPolicy(deadline_s=max(0.001, min(deadline_s, self._policy.deadline_s)))
        )
        url, client = self._endpoint or self._find(deadline_s)
        self._endpoint = url, client
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self._scopes),
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(url),
        }
        request = Request(
            "POST",
            "",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode(form).encode("ascii"),
        )
        asked = self._clock()
        answer = client.send(request, self._policy, deadline).json(client.peer)
        return self._granted_token(answer, asked)

    def _assertion(self, url: str) -> str:
        """A new assertion for each request: its ``jti`` is good for one."""
        issued = int(self._now())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": url,
            "iat": issued,
            "exp": issued + ASSERTION_LIFETIME_S,
            "jti": str(uuid.uuid4()),
        }
        headers = {"typ": "JWT", "kid": self._key.kid}
        return self._key.sign(claims, {**headers, "jku": self._jku} if self._jku else headers)

    def _find(self, deadline_s: float) -> tuple[str, HttpClient]:
        """The token endpoint's exact URL and a client that may call nothing else."""
        url = self._token_url or self._discovered(deadline_s)
        with upstream_errors("the token endpoint"):
            near = parse_url(url).origin == self._fhir.origin
            base = self._fhir if near else self._allowed.select(url)
            allowance = Allowance(
                f"{self._fhir.name} (token)", url, http_ok=base.http_ok, private_ok=base.private_ok
            )
        return url, HttpClient(allowance, policy=self._policy, connections=1)

    def _discovered(self, deadline_s: float) -> str:
        request = Request(
            "GET", ".well-known/smart-configuration", headers={"Accept": "application/json"}
        )
        deadline = self._discovery.deadline(
            HttpPolicy(deadline_s=max(0.001, min(deadline_s, self._policy.deadline_s)))
        )
        found = self._discovery.send(request, self._policy, deadline).json(self._fhir.name)
        url = found.get("token_endpoint") if isinstance(found, dict) else None
        if not isinstance(url, str):
            raise NotFound(f"{self._fhir.name} does not say where its token endpoint is.")
        return url

    def _granted_token(self, answer: Any, asked: float) -> AccessToken:
        value = answer.get("access_token") if isinstance(answer, dict) else None
        kind = answer.get("token_type") if isinstance(answer, dict) else None
        if not isinstance(value, str) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise BadAnswer(f"{self._fhir.name} did not grant a bearer token.")
        if not value.isascii() or not value.isprintable():
            raise BadAnswer(f"{self._fhir.name} granted an impossible token.")
        lifetime = answer.get("expires_in", 300)
        lifetime_s = float(lifetime) if isinstance(lifetime, int | float) else 300.0
        scope = answer.get("scope")
        scopes = scope.split() if isinstance(scope, str) else self._scopes
        early_s = min(_EARLY_S, lifetime_s / 2)
        return AccessToken(value, frozenset(scopes), asked + lifetime_s - early_s)
