"""SMART Backend Services: who we are when no user is there.

SMART App Launch 2.2, Backend Services and asymmetric client authentication. The access token is
kept in memory only. It is renewed shortly before it expires, by one call at a time: the others go
on with the one they have.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from cds_service.clients.assertion import SigningKey, client_assertion
from cds_service.clients.errors import (
    BadAnswer,
    NotFound,
    Refused,
    Rejected,
    TimedOut,
    UpstreamError,
    error_for_status,
    upstream_errors,
)
from cds_service.clients.http import Answer, HttpClient, Request
from cds_service.clients.policy import Clock, Deadline, HttpPolicy
from cds_service.scopes import granted
from cds_service.security.egress import Allowance, AllowList, parse_url
from cds_service.security.keyring import LONGEST_TOKEN_S

_log = logging.getLogger(__name__)

REFUSED_PAUSE_S = 10.0
"""A token endpoint that has said no is asked again after this, by however many calls."""

REDUCED_FOR_S = 3600.0
"""How long a token endpoint that took fewer scopes only is not asked for all of them again."""

_LIFETIME_S = 300.0  # where the server states none; the specification recommends no more
_EARLY_S = 30.0
_MARGIN_S = 5.0


@dataclass(frozen=True)
class AccessToken:
    """What the token endpoint granted; both times on the monotonic clock of the credential."""

    value: str = field(repr=False)
    scopes: frozenset[str]
    renew_at: float
    """From here on it is renewed by whoever comes first."""

    expires_at: float
    """From here on it is not sent any more."""

    def allows(self, resource_type: str, access: str) -> bool:
        """Whether the scopes grant each letter of `access` (of ``cruds``) without a user."""
        return granted(self.scopes)(resource_type, access)


class InvalidScope(Rejected):
    """The token endpoint refused the request for its scopes."""


def _nobody(scopes: frozenset[str]) -> None:
    """Nobody is told."""


class BackendServices:
    """A credential that fetches its own token with a signed assertion.

    Args:
        fhir: the base of the FHIR server; tokens are sent to its origin only.
        allowed: where tokens may be fetched: the token endpoint, however it was found, is on the
            FHIR server's own origin or lies below one of these.
        client_id: our id, as it was registered.
        key: the key that signs an assertion now; asked each time, so that a rotation is seen.
        scopes: what to ask for; the server may grant less (see `granted` and `allows`).
        least: what to ask for where it refuses the whole request for one of `scopes`
            (``invalid_scope``, RFC 6749, 5.2); none is an error then.
        token_url: the token endpoint; without it it is read from
            ``{fhir}/.well-known/smart-configuration``.
        told: hears the scopes of the first token and of each that has others than the last one.
    """

    def __init__(
        self,
        fhir: Allowance,
        allowed: AllowList,
        client_id: str,
        key: Callable[[], SigningKey],
        scopes: tuple[str, ...],
        *,
        least: tuple[str, ...] = (),
        token_url: str = "",
        policy: HttpPolicy | None = None,
        jku: str = "",
        told: Callable[[frozenset[str]], None] = _nobody,
        clock: Clock = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fhir, self._allowed = fhir, allowed
        self._client_id, self._key, self._scopes = client_id, key, scopes
        self._least, self._reduced_until = least, -math.inf
        self._token_url = token_url
        self._policy = policy or HttpPolicy(deadline_s=10, attempts=3, bytes_cap=256 * 1024)
        self._jku, self._told = jku, told
        self._clock, self._now = clock, now
        self._token: AccessToken | None = None
        self._granted: frozenset[str] | None = None
        self._refusal: tuple[float, UpstreamError] | None = None
        self._renewing = threading.Lock()
        self._discovery = HttpClient(fhir, policy=self._policy)
        self._endpoint: tuple[str, HttpClient] | None = None
        self._algorithms: tuple[str, ...] = ()

    @property
    def granted(self) -> frozenset[str] | None:
        """The scopes of the newest token; None before the first one."""
        return self._granted

    def allows(self, resource_type: str, access: str, deadline_s: float = 10.0) -> bool:
        """Whether our token's scopes grant each letter of `access` (of ``cruds``).

        Raises:
            UpstreamError: the token endpoint does not give a token.
        """
        return self._good(deadline_s).allows(resource_type, access)

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
        """Forget the token that was refused, unless there is a newer one already."""
        token = self._token
        if token and refused.get("Authorization") == f"Bearer {token.value}":
            self._token = None  # at worst a token that just came is forgotten, and asked for again
        return True

    def _good(self, deadline_s: float) -> AccessToken:
        """The token, renewed if it is time. Nobody waits for another's renewal without need."""
        token, now = self._token, self._clock()
        if token and now < token.renew_at:
            return token
        usable = token if token and now < token.expires_at else None
        wait_s = 0 if usable else max(0.0, min(deadline_s, self._policy.deadline_s))
        if not self._renewing.acquire(timeout=wait_s):
            if usable:
                return usable
            raise TimedOut(f"{self._fhir.name} gave no token in time.", deadline_s=deadline_s)
        try:
            waited_s = self._clock() - now
            return self._renewed(usable, max(0.001, deadline_s - waited_s))
        finally:
            self._renewing.release()

    def _renewed(self, usable: AccessToken | None, deadline_s: float) -> AccessToken:
        """Of the one call that renews: the token that another fetched meanwhile, or a new one."""
        token = self._token
        if token and self._clock() < token.renew_at:
            return token
        try:
            self._token = self._fetch_unless_refused(deadline_s)
        except UpstreamError as error:
            if usable is None:
                raise
            _log.warning("access token not renewed yet", extra={"kind": error.kind})
            return usable
        if self._token.scopes != self._granted:
            self._granted = self._token.scopes
            self._told(self._granted)
        return self._token

    def _fetch_unless_refused(self, deadline_s: float) -> AccessToken:
        if self._refusal and self._clock() < self._refusal[0]:
            raise copy.copy(self._refusal[1])
        try:
            token = self._fetch(deadline_s)
        except UpstreamError as error:
            self._endpoint = None  # it may have moved
            if not error.retryable:
                self._refusal = (self._clock() + REFUSED_PAUSE_S, error)
            raise
        self._refusal = None
        return token

    def _fetch(self, deadline_s: float) -> AccessToken:
        deadline = self._deadline(deadline_s)
        url, client = self._endpoint or self._find(deadline_s)
        self._endpoint = url, client
        if self._clock() >= self._reduced_until:
            try:
                return self._ask(url, client, self._scopes, deadline)
            except InvalidScope:
                if not self._least or set(self._least) >= set(self._scopes):
                    raise
            _log.warning("scopes refused as a whole; fewer are asked for")
            self._reduced_until = self._clock() + REDUCED_FOR_S
        return self._ask(url, client, self._least, deadline)

    def _deadline(self, deadline_s: float) -> Deadline:
        """Of a step of a renewal: no later than who waits for it, and than our policy."""
        within_s = max(0.001, min(deadline_s, self._policy.deadline_s))
        return self._discovery.deadline(HttpPolicy(deadline_s=within_s))

    def _ask(
        self, url: str, client: HttpClient, scopes: tuple[str, ...], deadline: Deadline
    ) -> AccessToken:
        """Ask the token endpoint for exactly these scopes."""
        key = self._key()
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(scopes),
            **client_assertion(key, self._client_id, url, self._now(), self._jku),
        }
        request = Request(
            "POST",
            "",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode(form).encode("ascii"),
            read=(400,),
        )
        asked = self._clock()
        try:
            answer = _said(client.send(request, self._policy, deadline), client.peer)
        except InvalidScope:
            raise
        except UpstreamError as error:
            if error.retryable or not self._algorithms or key.algorithm in self._algorithms:
                raise
            raise Refused(
                f"{self._fhir.name} takes no assertions signed with {key.algorithm}:"
                " rotate the signing key to another algorithm."
            ) from None
        return self._granted_token(answer, scopes, asked)

    def _find(self, deadline_s: float) -> tuple[str, HttpClient]:
        """The token endpoint's exact URL and a client that may call nothing else."""
        url = self._token_url or self._discovered(deadline_s)
        with upstream_errors("the token endpoint"):
            near = parse_url(url).origin == self._fhir.origin
            base = self._fhir if near else self._allowed.select(url)
            allowance = replace(base, name=f"{self._fhir.name} (token)", base_url=url)
        return url, HttpClient(allowance, policy=self._policy, connections=1)

    def _discovered(self, deadline_s: float) -> str:
        request = Request(
            "GET", ".well-known/smart-configuration", headers={"Accept": "application/json"}
        )
        deadline = self._deadline(deadline_s)
        answer = self._discovery.send(request, self._policy, deadline).json(self._fhir.name)
        found = answer if isinstance(answer, dict) else {}
        listed = found.get("token_endpoint_auth_signing_alg_values_supported")
        self._algorithms = tuple(map(str, listed)) if isinstance(listed, list) else ()
        url = found.get("token_endpoint")
        if not isinstance(url, str):
            raise NotFound(f"{self._fhir.name} does not say where its token endpoint is.")
        return url

    def _granted_token(self, answer: Any, wanted: tuple[str, ...], asked: float) -> AccessToken:
        value = answer.get("access_token") if isinstance(answer, dict) else None
        kind = answer.get("token_type") if isinstance(answer, dict) else None
        if not isinstance(value, str) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise BadAnswer(f"{self._fhir.name} did not grant a bearer token.")
        if not value.isascii() or not value.isprintable():
            raise BadAnswer(f"{self._fhir.name} granted an impossible token.")
        lifetime_s = _lifetime_s(answer.get("expires_in"))
        if lifetime_s is None:
            raise BadAnswer(f"{self._fhir.name} granted a token without a time to live.")
        scope = answer.get("scope")
        scopes = scope.split() if isinstance(scope, str) else wanted
        return AccessToken(
            value,
            frozenset(scopes),
            renew_at=asked + lifetime_s - min(_EARLY_S, lifetime_s / 2),
            expires_at=asked + lifetime_s - min(_MARGIN_S, lifetime_s / 10),
        )


def _said(answer: Answer, peer: str) -> Any:
    """What a token endpoint answered.

    Raises:
        InvalidScope, Rejected: its error (RFC 6749, 5.2); its words are not repeated.
        BadAnswer: it is not JSON.
    """
    if answer.status != 400:
        return answer.json(peer)
    refused = error_for_status(answer.status, peer)
    with suppress(BadAnswer):
        said = answer.json(peer)
        if isinstance(said, dict) and said.get("error") == "invalid_scope":
            refused = InvalidScope(f"{peer} grants none of the scopes (invalid_scope).", status=400)
    raise refused


def _lifetime_s(stated: object) -> float | None:
    """The seconds of ``expires_in`` (RFC 6749, 5.1), no more than we keep a token; None: none.

    Where nothing is stated, what the specification recommends. Some servers write it as text.
    """
    if stated is None:
        return _LIFETIME_S
    if isinstance(stated, str) and stated.isascii() and stated.isdigit():
        stated = float(stated[:9])
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return None
    return float(min(stated, LONGEST_TOKEN_S)) if 0 < stated < math.inf else None
