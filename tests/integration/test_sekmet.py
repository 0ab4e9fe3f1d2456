"""The FHIR client against sekmet: reads, searches, transactions, SMART Backend Services."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.errors import Conflict, EgressRefused, NotFound, Refused, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.policy import HttpPolicy
from cds_service.features import lost
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.keyring import KEPT_S, LEAD_S, KeyFile
from cds_service.security.keys import SigningKey, generate_signing_key, public_jwks
from cds_service.security.rotation import rotate
from tests.peers.process import free_port
from tests.peers.sekmet import Sekmet

pytestmark = pytest.mark.peer

SYSTEM = "https://scanhook.example/result"
SCOPES = ("system/Observation.cruds", "system/Patient.cruds", "system/*.cruds")


def allowance(peer: Sekmet) -> Allowance:
    return Allowance("the EHR", peer.base_url, http_ok=True)


@pytest.fixture
def server(sekmet: Sekmet) -> FhirServer:
    return FhirServer(allowance(sekmet))


def observation(value: str, text: str = "first") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "identifier": [{"system": SYSTEM, "value": value}],
        "code": {"text": text},
    }


def transaction(*entries: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": resource, "request": {"method": "PUT", "url": url}}
            for url, resource in entries
        ],
    }


def updating(value: str, text: str = "first") -> dict[str, Any]:
    return transaction((f"Observation?identifier={SYSTEM}|{value}", observation(value, text)))


def post(peer: Sekmet, resource: dict[str, Any]) -> str:
    request = urllib.request.Request(  # noqa: S310 -- loopback
        f"{peer.base_url}/{resource['resourceType']}",
        json.dumps(resource).encode(),
        {"Content-Type": "application/fhir+json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 -- loopback
        return str(json.load(answer)["id"])


def test_it_says_what_it_can(server: FhirServer) -> None:
    assert server.capabilities()["fhirVersion"].startswith("4.0")
    server.ping()


def test_a_resource_is_read_by_its_relative_or_its_own_absolute_reference(
    sekmet: Sekmet, server: FhirServer
) -> None:
    patient_id = post(sekmet, {"resourceType": "Patient"})
    assert server.read(f"Patient/{patient_id}")["id"] == patient_id
    assert server.read(f"{sekmet.base_url}/Patient/{patient_id}")["id"] == patient_id
    with pytest.raises(NotFound):
        server.read("Patient/there-is-none")
    with pytest.raises(EgressRefused):
        server.read(f"http://127.0.0.1:1/fhir/Patient/{patient_id}")


def test_a_search_goes_through_all_its_pages(sekmet: Sekmet, server: FhirServer) -> None:
    for number in range(7):
        post(sekmet, observation(f"page-{number}", "paged"))
    found = list(server.search("Observation", {"_count": "3"}))
    texts = [resource["code"]["text"] for resource in found]
    assert texts.count("paged") == 7


def test_a_search_by_identifier_finds_the_one(sekmet: Sekmet, server: FhirServer) -> None:
    post(sekmet, observation("a/b c"))
    (found,) = server.search("Observation", {"identifier": f"{SYSTEM}|a/b c"})
    assert found["identifier"][0]["value"] == "a/b c"


def test_a_conditional_update_twice_is_there_once(server: FhirServer) -> None:
    first = server.transact(updating("twice"))
    second = server.transact(updating("twice", "second"))
    assert first.entries[0].created
    assert not second.entries[0].created
    assert first.entries[0].reference == second.entries[0].reference
    (found,) = server.search("Observation", {"identifier": f"{SYSTEM}|twice"})
    assert found["code"]["text"] == "second"


def test_a_condition_that_matches_several_is_a_conflict_and_changes_nothing(
    sekmet: Sekmet, server: FhirServer
) -> None:
    """R4 http.html#cond-update: 412 Precondition Failed."""
    for _ in range(2):
        post(sekmet, observation("double"))
    bundle = updating("double", "changed")
    bundle["entry"] += updating("not written")["entry"]
    with pytest.raises(Conflict):
        server.transact(bundle)
    assert not list(server.search("Observation", {"identifier": f"{SYSTEM}|not written"}))


def clients_of(key: SigningKey, scopes: str) -> list[dict[str, Any]]:
    jwks = {"keys": [key.public_jwk]}
    return [{"client_id": "scanhook", "jwks": jwks, "scopes": scopes}]


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
@pytest.mark.parametrize("found", ["discovered", "configured"])
def test_backend_services_write_with_a_signed_assertion(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path, algorithm: str, found: str
) -> None:
    """SMART Backend Services, with either key type that a client must support."""
    key = generate_signing_key(tmp_path / "key.jwk", algorithm)
    peer = sekmet_factory(clients=clients_of(key, " ".join(SCOPES)))
    base = allowance(peer)
    with pytest.raises(Refused):
        FhirServer(base).read("Patient/1")
    credential = BackendServices(
        base,
        AllowList(),
        "scanhook",
        lambda: key,
        SCOPES,
        token_url=peer.token_url if found == "configured" else "",
    )
    server = FhirServer(base, credential=credential)
    assert server.transact(updating("signed")).entries[0].created
    assert credential.granted == set(SCOPES)


def test_less_may_be_granted_than_was_asked_for(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path
) -> None:
    key = generate_signing_key(tmp_path / "key.jwk")
    peer = sekmet_factory(clients=clients_of(key, "system/Observation.rs"))
    base = allowance(peer)
    credential = BackendServices(
        base, AllowList(), "scanhook", lambda: key, ("system/Observation.rs", "system/Patient.rs")
    )
    server = FhirServer(base, credential=credential)
    assert list(server.search("Observation", {})) == []
    assert credential.granted == {"system/Observation.rs"}
    with pytest.raises(Refused):
        server.transact(updating("not allowed"))


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_rotated_key_goes_on_where_the_one_before_it_left_off(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path, algorithm: str
) -> None:
    """The server knows what is published; each key signs in its time, and nothing restarts."""
    path = tmp_path / "key.jwk"
    generate_signing_key(path, algorithm)
    clock = {"s": time.time()}
    keys = KeyFile(path, lambda: clock["s"])
    rotate(path, clock["s"])
    registered = {"client_id": "scanhook", "jwks": public_jwks(keys.published())}
    peer = sekmet_factory(clients=[{**registered, "scopes": " ".join(SCOPES)}])
    signed = []

    def signing() -> SigningKey:
        signed.append(keys.signing().kid)
        return keys.signing()

    for after_s, name in ((0, "old"), (LEAD_S + 1, "new"), (KEPT_S + 1, "alone")):
        clock["s"] += after_s
        credential = BackendServices(allowance(peer), AllowList(), "scanhook", signing, SCOPES)
        server = FhirServer(allowance(peer), credential=credential)
        assert server.transact(updating(name)).entries[0].created
    assert len(set(signed)) == 2
    assert signed[1:] == [signed[-1]] * 2


def test_what_still_works_goes_on_when_less_is_granted(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path
) -> None:
    """Reports are not tried, searches work, and one token is enough for all of it."""
    key = generate_signing_key(tmp_path / "key.jwk")
    peer = sekmet_factory(clients=clients_of(key, "system/Observation.rs system/Patient.rs"))
    heard: list[frozenset[str]] = []
    asked = ("system/Observation.crus", "system/DiagnosticReport.crus", "system/Patient.rs")
    credential = BackendServices(
        allowance(peer), AllowList(), "scanhook", lambda: key, asked, told=heard.append
    )
    server = FhirServer(allowance(peer), credential=credential)
    assert list(server.search("Patient", {})) == []
    assert not credential.allows("DiagnosticReport", "cu")
    assert [feature.name for feature in lost(asked, heard[0])] == ["results"]
    assert len(heard) == 1


def test_an_unknown_key_gets_no_token(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path
) -> None:
    known = generate_signing_key(tmp_path / "known.jwk")
    other = generate_signing_key(tmp_path / "other.jwk")
    peer = sekmet_factory(clients=clients_of(known, "system/*.rs"))
    base = allowance(peer)
    credential = BackendServices(base, AllowList(), "scanhook", lambda: other, ("system/*.rs",))
    with pytest.raises(UpstreamError) as caught:
        FhirServer(base, credential=credential).read("Patient/1")
    assert caught.value.kind == "refused"


@pytest.mark.faults
def test_a_server_that_restarts_with_another_secret_gets_a_new_token(
    sekmet_factory: Callable[..., Sekmet], tmp_path: Path
) -> None:
    """A 401 to a token that was good is answered with one new token, then with an error."""
    key = generate_signing_key(tmp_path / "key.jwk")
    clients = clients_of(key, "system/*.cruds")
    port = free_port()
    first = sekmet_factory(clients=clients, port=port)
    base = allowance(first)
    credential = BackendServices(base, AllowList(), "scanhook", lambda: key, ("system/*.cruds",))
    server = FhirServer(base, credential=credential, policy=HttpPolicy(deadline_s=20))
    server.transact(updating("before"))
    first.process.stop()
    sekmet_factory(clients=clients, port=port)
    assert server.transact(updating("after")).entries[0].created
