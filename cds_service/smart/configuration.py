"""The EHR's ``.well-known/smart-configuration``: read by our own client, kept for ten minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.clients.errors import UpstreamError
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import HttpPolicy
from cds_service.security.egress import Allowance, NotAllowed
from cds_service.smart.errors import ServerSilent
from cds_service.smart.registration import Registration

FRESH_S = 600.0
LOGIN_POLICY = HttpPolicy(deadline_s=5, connect_s=2, silence_s=4, bytes_cap=262_144, attempts=2)
"""A person is waiting."""

_PATH = ".well-known/smart-configuration"


@dataclass(frozen=True)
class SmartConfiguration:
    """The addresses of one EHR (SMART App Launch 2.2, Conformance), each one that we may use."""

    authorize_url: str
    token: Allowance
    keys: Allowance | None
    """Where the keys of its id_tokens are; None if it says nothing of them."""

    issuer: str
    """The ``iss`` of its id_tokens."""


class Configurations:
    """What each EHR says of itself; `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, SmartConfiguration]] = {}
        self._clients: dict[str, HttpClient] = {}

    def of(self, registration: Registration) -> SmartConfiguration:
        """The EHR's configuration, asked for again when it is old.

        Raises:
            ServerSilent: none came, it names an address that is not allowed, or it knows no S256.
        """
        name = registration.tenant.name
        until, known = self._known.get(name, (0.0, None))
        if known is None or self._clock() >= until:
            known = self._read(registration)
            self._known[name] = self._clock() + FRESH_S, known
        return known

    def _read(self, registration: Registration) -> SmartConfiguration:
        client = self._clients.setdefault(
            registration.tenant.name, HttpClient(registration.fhir, policy=LOGIN_POLICY)
        )
        request = Request("GET", _PATH, headers={"Accept": "application/json"})
        try:
            said = client.send(request).json(client.peer)
            return configuration_of(said if isinstance(said, Mapping) else {}, registration)
        except (UpstreamError, NotAllowed) as error:
            raise ServerSilent from error


def configuration_of(said: Mapping[str, Any], registration: Registration) -> SmartConfiguration:
    """The addresses in an EHR's configuration, each compared with what was configured here.

    Raises:
        NotAllowed: an address is missing or leads elsewhere.
        ServerSilent: PKCE is only offered without S256, which SMART App Launch forbids.
    """
    methods = said.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        raise ServerSilent
    keys, issuer = said.get("jwks_uri"), said.get("issuer")
    return SmartConfiguration(
        authorize_url=registration.leads(_address(said, "authorization_endpoint")),
        token=registration.endpoint(_address(said, "token_endpoint"), "token"),
        keys=registration.endpoint(keys, "user-keys") if isinstance(keys, str) else None,
        issuer=issuer if isinstance(issuer, str) else registration.tenant.fhir_base,
    )


def _address(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str):
        raise NotAllowed("The address is missing.")
    return found
