"""SMART Backend Services: who signs well gets a token, everybody else the same refusal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cds_service.sandbox.token_endpoint import token_endpoint
from cds_service.sandbox.tokens import Tokens
from cds_service.security.keys import SigningKey, generate_signing_key
from tests.unit.cds_service.sandbox.conftest import Clock

URL = "http://ehr.test/auth/token"
KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, SigningKey]:
    folder: Path = tmp_path_factory.mktemp("keys")
    return {
        "ES384": generate_signing_key(folder / "ec.json", "ES384"),
        "RS384": generate_signing_key(folder / "rsa.json", "RS384"),
        "other": generate_signing_key(folder / "other.json", "ES384"),
    }


class Endpoint:
    """The endpoint with one registered client, and a form that it likes."""

    def __init__(self, keys: Mapping[str, SigningKey], tokens: Tokens, clock: Clock) -> None:
        app = Flask("test")
        known = [keys["ES384"].public_jwk, keys["RS384"].public_jwk]
        clients = {"scanhook": lambda: known}
        app.register_blueprint(token_endpoint(lambda: URL, tokens, clients, clock))
        self.client, self.keys, self.clock = app.test_client(), keys, clock

    def assertion(self, key: str = "ES384", **changed: Any) -> str:
        claims = {
            "iss": "scanhook",
            "sub": "scanhook",
            "aud": URL,
            "exp": int(self.clock.now_s) + 240,
            "jti": str(uuid.uuid4()),
        } | changed
        return self.keys[key].sign({k: v for k, v in claims.items() if v is not None})

    def post(self, assertion: str, **changed: str) -> Any:
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Observation.crus",
            "client_assertion_type": KIND,
            "client_assertion": assertion,
        } | changed
        return self.client.post("/token", data=form)


@pytest.fixture
def endpoint(keys: Mapping[str, SigningKey], tokens: Tokens, clock: Clock) -> Endpoint:
    return Endpoint(keys, tokens, clock)


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_signed_assertion_gets_a_token_with_the_scopes(
    endpoint: Endpoint, tokens: Tokens, algorithm: str
) -> None:
    answer = endpoint.post(endpoint.assertion(algorithm))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert body["token_type"] == "bearer"
    assert 0 < body["expires_in"] <= 300
    grant = tokens.grant(body["access_token"])
    assert grant is not None
    assert grant.allows("Observation", "c")
    assert not grant.allows("Device", "r")


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "http://ehr.test/auth"},
        {"aud": None},
        {"iss": "nobody", "sub": "nobody"},
        {"sub": "somebody-else"},
        {"jti": None},
        {"exp": None},
        {"exp": 1_800_000_000 - 60},
        {"exp": 1_800_000_000 + 3600},
        {"key": "other"},
    ],
)
def test_an_assertion_that_breaks_a_rule_gets_none(
    endpoint: Endpoint, changed: dict[str, Any]
) -> None:
    answer = endpoint.post(endpoint.assertion(**changed))
    assert (answer.status_code, answer.get_json()) == (401, {"error": "invalid_client"})


def test_an_assertion_is_good_once(endpoint: Endpoint) -> None:
    assertion = endpoint.assertion()
    assert [endpoint.post(assertion).status_code for _ in range(2)] == [200, 401]


@pytest.mark.parametrize("assertion", ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_signed_token_is_refused(endpoint: Endpoint, assertion: str) -> None:
    assert endpoint.post(assertion).status_code == 401


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "other"}, "invalid_request"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "user/Observation.rs"}, "invalid_scope"),
        ({"scope": "system/Observation.sr"}, "invalid_scope"),
        ({"scope": "system/Observation."}, "invalid_scope"),
    ],
)
def test_other_mistakes_have_their_codes(
    endpoint: Endpoint, changed: dict[str, str], error: str
) -> None:
    answer = endpoint.post(endpoint.assertion(), **changed)
    assert (answer.status_code, answer.get_json()) == (400, {"error": error})
