"""The token endpoint: SMART Backend Services with a signed assertion (private_key_jwt).

SMART App Launch 2.2, Backend Services and Asymmetric Authentication; RFC 7523.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
from flask import Blueprint, Response, jsonify, request

from cds_service.sandbox.tokens import Tokens, is_scope

LIFETIME_S = 300
LEEWAY_S = 10
ALGORITHMS = ("ES384", "RS384")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Jwks = Sequence[Mapping[str, Any]]
RegisteredClients = Mapping[str, Callable[[], Jwks]]
"""The public keys of each client id, read when they are needed: a client may rotate its key."""


class Refused(Exception):
    """The request gets no token; `error` is a code of RFC 6749 5.2."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class AssertionCheck:
    """Says which client signed an assertion; each assertion is good once."""

    def __init__(self, clients: RegisteredClients, now: Callable[[], float]) -> None:
        self._clients, self._now = clients, now
        self._used: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def client_id(self, assertion: str, audience: str) -> str:
        """The registered client. Raises `Refused` for any rule that is broken."""
        try:
            header = jwt.get_unverified_header(assertion)
            client_id = str(jwt.decode(assertion, options={"verify_signature": False})["iss"])
            key = self._key(client_id, header)
            claims = jwt.decode(
                assertion,
                key,
                algorithms=[header["alg"]],
                audience=audience,
                leeway=LEEWAY_S,
                options={"require": ["iss", "sub", "aud", "exp", "jti"], "verify_exp": False},
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise Refused("invalid_client") from None
        self._check_times_and_replay(client_id, claims)
        return client_id

    def _key(self, client_id: str, header: Mapping[str, Any]) -> Any:
        if header.get("alg") not in ALGORITHMS or str(header.get("typ", "JWT")).upper() != "JWT":
            raise Refused("invalid_client")
        for jwk in self._clients.get(client_id, tuple)():
            if jwk.get("kid") == header.get("kid"):
                return jwt.PyJWK(dict(jwk), algorithm=header["alg"]).key
        raise Refused("invalid_client")

    def _check_times_and_replay(self, client_id: str, claims: Mapping[str, Any]) -> None:
        now, expires_s = self._now(), float(claims["exp"])
        soon = now - LEEWAY_S < expires_s <= now + LIFETIME_S + LEEWAY_S
        if claims["sub"] != client_id or not soon:
            raise Refused("invalid_client")
        with self._lock:
            self._used = {k: until for k, until in self._used.items() if until > now - LEEWAY_S}
            name = (client_id, str(claims["jti"]))
            if name in self._used:
                raise Refused("invalid_client")
            self._used[name] = expires_s


def token_endpoint(
    url: Callable[[], str], tokens: Tokens, clients: RegisteredClients, now: Callable[[], float]
) -> Blueprint:
    """``POST /token``; `url` is the address that assertions must be meant for."""
    blueprint = Blueprint("token", __name__)
    check = AssertionCheck(clients, now)

    def granted() -> Response:
        if request.form.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type")
        if request.form.get("client_assertion_type") != _ASSERTION_TYPE:
            raise Refused("invalid_request")
        client_id = check.client_id(request.form.get("client_assertion", ""), url())
        scopes = request.form.get("scope", "").split()
        if not scopes or not all(is_scope(s) and s.startswith("system/") for s in scopes):
            raise Refused("invalid_scope")
        token = tokens.issue(client_id, scopes, LIFETIME_S)
        return jsonify(
            access_token=token,
            token_type="bearer",  # noqa: S106  the kind of a token, RFC 6750
            expires_in=LIFETIME_S,
            scope=" ".join(scopes),
        )

    @blueprint.post("/token")
    def token() -> Response:
        try:
            answer = granted()
        except Refused as refused:
            answer = jsonify(error=refused.error)
            answer.status_code = 401 if refused.error == "invalid_client" else 400
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return blueprint
