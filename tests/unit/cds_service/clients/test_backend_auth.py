"""SMART Backend Services: where tokens are asked for, with what, how often. Truth: sekmet."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.errors import BadAnswer, EgressRefused, Refused, Rejected, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.security.egress import Allowance, AllowList
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer, json_answer

PATIENT = json.dumps({"resourceType": "Patient", "id": "1"})
TOKEN = {"access_token": "T1", "token_type": "Bearer", "expires_in": 300, "scope": "system/a.rs"}


class Key:
    """Writes the claims in clear instead of signing them."""

    kid = "k1"
    algorithm = "ES384"

    def sign(self, claims: Mapping[str, object], headers: Mapping[str, object]) -> str:
        return json.dumps([claims, headers])


class Site:
    """A FHIR server with a token endpoint beside it, or at `token_url`."""

    def __init__(self) -> None:
        self.token_url = ""
        self.said: object = TOKEN
        self.asked: list[Seen] = []
        self.good: set[str] | None = None

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("/smart-configuration"):
            return json_answer(json.dumps({"token_endpoint": self.token_url}))
        if seen.path.endswith("/token"):
            self.asked.append(seen)
            said = self.said
            if isinstance(said, dict) and said.get("access_token") == "T1":
                said = {**said, "access_token": f"T{len(self.asked)}"}
            return json_answer(json.dumps(said))
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if self.good is not None and token not in self.good:
            return answer(401)
        return json_answer(PATIENT, "application/fhir+json")

    def claims(self, number: int = -1) -> tuple[dict[str, object], dict[str, object]]:
        form = parse_qs(self.asked[number].body.decode())
        claims, headers = json.loads(form["client_assertion"][0])
        return claims, headers


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def credential(
    base: Allowance, clock: Clock, *allowed: Allowance, **options: Any
) -> BackendServices:
    return BackendServices(
        base,
        AllowList.of(allowed),
        "scanhook",
        Key,
        ("system/a.rs", "system/b.c"),
        clock=clock,
        now=clock,
        **options,
    )


def ehr(server: FaultyServer) -> Allowance:
    return Allowance("the EHR", f"{server.base_url}/fhir", http_ok=True)


def test_the_assertion_says_what_the_specification_asks() -> None:
    """SMART App Launch 2.2, asymmetric client authentication: claims and form."""
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        FhirServer(ehr(server), credential=credential(ehr(server), clock)).read("Patient/1")
        form = parse_qs(site.asked[0].body.decode())
        assert form["grant_type"] == ["client_credentials"]
        assert form["scope"] == ["system/a.rs system/b.c"]
        assert form["client_assertion_type"] == [
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        ]
        claims, headers = site.claims()
        assert claims["iss"] == claims["sub"] == "scanhook"
        assert claims["aud"] == site.token_url
        assert clock.now < float(str(claims["exp"])) <= clock.now + 300
        assert headers["kid"] == "k1"
        assert server.seen[-1].headers["authorization"] == "Bearer T1"
        assert "authorization" not in site.asked[0].headers


def test_a_token_is_kept_until_shortly_before_it_expires_and_each_jti_is_new() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        fhir = FhirServer(ehr(server), credential=one)
        assert one.granted is None
        for _ in range(3):
            fhir.read("Patient/1")
        assert len(site.asked) == 1
        assert one.granted == {"system/a.rs"}
        clock.now += 280
        fhir.read("Patient/1")
        assert len(site.asked) == 2
        assert site.claims(0)[0]["jti"] != site.claims(1)[0]["jti"]


def test_a_token_that_is_refused_is_asked_for_once_more_and_then_it_is_an_error() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        fhir = FhirServer(ehr(server), credential=credential(ehr(server), clock))
        site.good = {"T2"}
        assert fhir.read("Patient/1")["id"] == "1"
        site.good = set()
        with pytest.raises(Refused):
            fhir.read("Patient/1")
        assert len(site.asked) == 3


def test_many_threads_ask_for_one_token() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        fhir = FhirServer(ehr(server), credential=credential(ehr(server), clock))
        threads = [threading.Thread(target=fhir.read, args=("Patient/1",)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(site.asked) == 1


def test_a_token_endpoint_on_another_host_is_used_only_if_it_is_configured() -> None:
    """requirements.md E01: the discovery document only selects."""
    site, other, clock = Site(), Site(), Clock()
    with FaultyServer(site) as server, FaultyServer(other) as elsewhere:
        site.token_url = f"{elsewhere.base_url}/token"
        with pytest.raises(EgressRefused):
            FhirServer(ehr(server), credential=credential(ehr(server), clock)).read("Patient/1")
        assert elsewhere.connections == 0
        allowed = Allowance("tokens", elsewhere.base_url, http_ok=True)
        one = credential(ehr(server), clock, allowed)
        assert FhirServer(ehr(server), credential=one).read("Patient/1")["id"] == "1"
        assert len(other.asked) == 1


def test_a_token_is_not_sent_to_another_origin() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server, FaultyServer() as elsewhere:
        one = credential(ehr(server), clock)
        with pytest.raises(EgressRefused):
            FhirServer(ehr(elsewhere), credential=one).read("Patient/1")
        assert elsewhere.connections == 0
        assert site.asked == []


@pytest.mark.parametrize(
    "said",
    [
        {"error": "invalid_client"},
        {**TOKEN, "token_type": "mac"},
        {**TOKEN, "access_token": "a\r\nX: y"},
        {**TOKEN, "access_token": 7},
        [],
        "T",
    ],
)
def test_an_answer_that_grants_no_bearer_token_is_a_bad_answer(said: object) -> None:
    site, clock = Site(), Clock()
    site.said = said
    with FaultyServer(site) as server:
        one = credential(ehr(server), clock, token_url=f"{server.base_url}/auth/token")
        with pytest.raises(BadAnswer):
            FhirServer(ehr(server), credential=one).read("Patient/1")


def test_a_discovery_document_without_an_endpoint_is_an_error() -> None:
    with FaultyServer(lambda seen: json_answer("{}")) as server, pytest.raises(UpstreamError):
        FhirServer(ehr(server), credential=credential(ehr(server), Clock())).read("Patient/1")


def test_a_token_is_renewed_by_one_call_while_the_others_go_on_with_the_one_they_have() -> None:
    site, clock = Site(), Clock()
    waiting, go_on = threading.Event(), threading.Event()

    def slow(seen: Seen) -> Reply:
        if seen.path.endswith("/token") and site.asked:
            waiting.set()
            go_on.wait(20)
        return site(seen)

    with FaultyServer(slow) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        first = one.headers(ehr(server), 10)
        clock.now += 280  # time to renew, and the token is still good
        renewing = threading.Thread(target=one.headers, args=(ehr(server), 10))
        renewing.start()
        assert waiting.wait(20)
        assert one.headers(ehr(server), 10) == first
        assert one.headers(ehr(server), 10) == first
        go_on.set()
        renewing.join(20)
        assert one.headers(ehr(server), 10) != first
        assert len(site.asked) == 2


def test_a_token_that_cannot_be_renewed_is_used_to_its_end() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        first = one.headers(ehr(server), 10)
        site.said = {"error": "invalid_client"}
        clock.now += 280
        assert one.headers(ehr(server), 10) == first
        clock.now += 18
        with pytest.raises(BadAnswer):
            one.headers(ehr(server), 10)


def test_an_endpoint_that_has_said_no_is_not_asked_by_every_call() -> None:
    site, clock = Site(), Clock()
    site.said = {"error": "invalid_client"}
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        for _ in range(20):
            with pytest.raises(BadAnswer):
                one.headers(ehr(server), 10)
        assert len(site.asked) == 1
        clock.now += 11
        site.said = TOKEN
        assert one.headers(ehr(server), 10)
        assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("stated", "good_s"),
    [
        (300, 300),
        ("300", 300),
        (None, 300),
        (60.5, 60.5),
        (10**9, 3600),
        (10**400, 3600),
        ("9" * 40, 3600),
        (8, 8),
    ],
)
def test_a_token_lives_as_long_as_is_said_and_never_longer_than_an_hour(
    stated: object, good_s: float
) -> None:
    site, clock = Site(), Clock()
    site.said = {**TOKEN, "expires_in": stated}
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        one.headers(ehr(server), 10)
        clock.now += good_s / 2 - 0.1 if good_s < 60 else good_s - 31
        one.headers(ehr(server), 10)
        assert len(site.asked) == 1
        clock.now += good_s
        one.headers(ehr(server), 10)
        assert len(site.asked) == 2


@pytest.mark.parametrize("stated", [0, -5, True, "soon", "-5", float("nan"), float("inf"), [], {}])
def test_a_token_without_a_time_to_live_is_a_bad_answer(stated: object) -> None:
    site = Site()
    site.said = {**TOKEN, "expires_in": stated}
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        with pytest.raises(BadAnswer):
            credential(ehr(server), Clock()).headers(ehr(server), 10)


def test_who_listens_hears_the_scopes_when_they_change_and_not_with_each_token() -> None:
    site, clock = Site(), Clock()
    heard: list[frozenset[str]] = []
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock, told=heard.append)
        for scope in ("system/a.rs", "system/a.rs", "system/a.rs system/b.c"):
            site.said = {**TOKEN, "scope": scope}
            one.headers(ehr(server), 10)
            clock.now += 300
    assert heard == [{"system/a.rs"}, {"system/a.rs", "system/b.c"}]


class Picky(Site):
    """A token endpoint that knows `known` only, and says no to a request that asks for more."""

    def __init__(self, *known: str) -> None:
        super().__init__()
        self.known = set(known)

    def __call__(self, seen: Seen) -> Reply:
        reply = super().__call__(seen)
        wanted = parse_qs(seen.body.decode()).get("scope", [""])[0] if seen.body else ""
        if seen.path.endswith("/token") and not self.known.issuperset(wanted.split()):
            said = b'{"error": "invalid_scope"}'
            return answer(400, said, {"Content-Type": "application/json"})
        return reply

    def scopes(self) -> list[str]:
        return [parse_qs(seen.body.decode())["scope"][0] for seen in self.asked]


def test_scopes_that_are_refused_as_a_whole_are_asked_for_without_the_optional_ones() -> None:
    site, clock = Picky("system/a.rs"), Clock()
    site.said = {name: value for name, value in TOKEN.items() if name != "scope"}
    heard: list[frozenset[str]] = []
    both, least = "system/a.rs system/b.c", "system/a.rs"
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock, least=(least,), told=heard.append)
        for _ in range(3):
            one.headers(ehr(server), 10)
            clock.now += 300
        assert site.scopes() == [both, *[least] * 3]
        assert heard == [{least}]
        clock.now += 3600
        site.known.add("system/b.c")
        one.headers(ehr(server), 10)
        assert site.scopes()[-1] == both
    assert heard[-1] == {least, "system/b.c"}


@pytest.mark.parametrize("least", [(), ("system/a.rs", "system/b.c"), ("system/a.rs",)])
def test_scopes_that_are_refused_to_the_last_are_an_error(least: tuple[str, ...]) -> None:
    site = Picky()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), Clock(), least=least)
        for _ in range(3):
            with pytest.raises(Rejected, match="invalid_scope"):
                one.headers(ehr(server), 10)
        assert len(site.asked) == (2 if len(least) == 1 else 1)


def test_a_key_of_the_wrong_algorithm_is_named_when_the_server_says_which_it_takes() -> None:
    def refuse(seen: Seen) -> Reply:
        if seen.path.endswith("/token"):
            return answer(400)
        said = {
            "token_endpoint": f"http://{seen.headers['host']}/token",
            "token_endpoint_auth_signing_alg_values_supported": ["RS384"],
        }
        return json_answer(json.dumps(said))

    with FaultyServer(refuse) as server, pytest.raises(Refused, match="ES384"):
        credential(ehr(server), Clock()).headers(ehr(server), 10)


def test_no_secret_is_shown_by_a_repr() -> None:
    site, clock = Site(), Clock()
    with FaultyServer(site) as server:
        site.token_url = f"{server.base_url}/auth/token"
        one = credential(ehr(server), clock)
        FhirServer(ehr(server), credential=one).read("Patient/1")
        assert "T1" not in repr(one) + repr(one._token)
