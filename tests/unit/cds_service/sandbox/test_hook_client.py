"""The EHR's side of CDS Hooks, against a service that checks what it is sent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.hook_client import HookClient, Site
from cds_service.sandbox.results import card_result
from cds_service.sandbox.seed import seed
from cds_service.sandbox.tokens import Tokens
from cds_service.sandbox.visit import PROCEDURES, open_chart, patients, select_order
from cds_service.security.keys import SigningKey, generate_signing_key, public_jwks
from tests.doubles.cds_service import HOOKS, CdsServiceDouble
from tests.unit.cds_service.sandbox.conftest import Clock, Folder


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return generate_signing_key(tmp_path_factory.mktemp("keys") / "ehr.json")


@pytest.fixture
def service(key: SigningKey) -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble() as double:
        double.caller_keys = lambda: public_jwks([key])
        yield double


@pytest.fixture
def store(folder: Folder) -> FhirStore:
    store = FhirStore()
    with store.change() as draft:
        for resource in seed(folder.catalogue, "http://archive.test/dicom-web"):
            draft.update(resource, resource["id"])
    return store


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(time.time)


@pytest.fixture
def hooks(
    service: CdsServiceDouble, key: SigningKey, store: FhirStore, tokens: Tokens
) -> HookClient:
    site = Site("http://ehr.test", "http://ehr.test/fhir", "http://ehr.test/keys", service.base_url)
    return HookClient(site, key, store, tokens, keep=3)


def test_a_call_has_what_the_specification_requires(
    hooks: HookClient, service: CdsServiceDouble, store: FhirStore
) -> None:
    patient = patients(store)[0]
    (exchange,) = open_chart(hooks, store, patient.id)
    assert exchange.status == 200
    (body,) = service.calls
    assert body["hook"] == "patient-view"
    assert uuid.UUID(body["hookInstance"])
    assert body["context"]["patientId"] == patient.id
    assert body["context"]["userId"].startswith("Practitioner/")
    authorization = body["fhirAuthorization"]
    assert authorization["token_type"] == "Bearer"
    assert authorization["patient"] == patient.id
    assert set(authorization) >= {"access_token", "expires_in", "scope", "subject"}
    claims = service.claims[-1]
    assert claims["iss"] == "http://ehr.test"
    assert claims["exp"] - claims["iat"] == 300
    assert len({claim["jti"] for claim in service.claims}) == len(service.claims)


def test_prefetch_is_what_the_templates_ask_for(
    hooks: HookClient, service: CdsServiceDouble, store: FhirStore
) -> None:
    patient = patients(store)[0]
    open_chart(hooks, store, patient.id)
    prefetch = service.calls[0]["prefetch"]
    assert prefetch["patient"]["id"] == patient.id
    (study,) = (entry["resource"] for entry in prefetch["studies"]["entry"])
    assert study["subject"]["reference"] == f"Patient/{patient.id}"
    assert study["identifier"][0]["value"].startswith("urn:oid:2.25.")


def test_prefetch_of_what_is_not_there_is_null_and_of_a_bad_template_an_outcome(
    hooks: HookClient, service: CdsServiceDouble, monkeypatch: pytest.MonkeyPatch, store: FhirStore
) -> None:
    templates = {"gone": "Patient/{{context.patientId}}", "bad": "Observation?tooth=1"}
    row = {"id": "imaging-ai-patient-view", "hook": "patient-view", "prefetch": templates}
    monkeypatch.setattr(hooks, "services", lambda: (row,))
    open_chart(hooks, store, "nobody")
    prefetch = service.calls[0]["prefetch"]
    assert prefetch["gone"] is None
    assert prefetch["bad"]["resourceType"] == "OperationOutcome"


def test_the_access_token_is_good_during_the_call_and_not_after_it(
    hooks: HookClient, service: CdsServiceDouble, store: FhirStore, tokens: Tokens
) -> None:
    seen: list[bool] = []

    def answer(body: Mapping[str, Any]) -> Mapping[str, Any]:
        grant = tokens.grant(body["fhirAuthorization"]["access_token"])
        seen.append(grant is not None and grant.allows("ImagingStudy", "s"))
        return {"cards": []}

    service.answer = answer
    (exchange,) = open_chart(hooks, store, patients(store)[0].id)
    token = service.calls[0]["fhirAuthorization"]["access_token"]
    assert seen == [True]
    assert tokens.grant(token) is None
    assert token not in repr(hooks.exchanges)
    assert token not in repr(exchange)


def test_an_order_select_call_selects_a_draft(
    hooks: HookClient, service: CdsServiceDouble, store: FhirStore
) -> None:
    select_order(hooks, store, patients(store)[0].id, PROCEDURES[0])
    context = service.calls[0]["context"]
    (order,) = (entry["resource"] for entry in context["draftOrders"]["entry"])
    assert context["selections"] == [f"ServiceRequest/{order['id']}"]
    assert order["status"] == "draft"


@pytest.mark.parametrize(
    ("answer", "status", "problem"),
    [
        (lambda _: ("boom", 500), 500, "answer is not JSON"),
        (lambda _: ({"resourceType": "OperationOutcome"}, 412), 412, "answered 412"),
        (lambda _: ("<html>", 200), 200, "answer is not JSON"),
        (lambda _: {"cards": "none"}, 200, ""),
        (lambda _: {"cards": [1, "x"]}, 200, ""),
    ],
)
def test_a_bad_answer_has_no_cards_and_says_why(
    hooks: HookClient,
    service: CdsServiceDouble,
    answer: Any,
    status: int,
    problem: str,
    store: FhirStore,
) -> None:
    service.answer = answer
    (exchange,) = open_chart(hooks, store, "p")
    assert exchange.status == status
    assert exchange.cards == ()
    assert problem in exchange.problem


def test_a_service_that_is_not_there_is_a_problem_and_no_exception(
    key: SigningKey, store: FhirStore, tokens: Tokens
) -> None:
    site = Site("http://ehr.test", "http://ehr.test/fhir", "", "http://127.0.0.1:1")
    (exchange,) = open_chart(HookClient(site, key, store, tokens), store, "p")
    assert (exchange.status, exchange.cards) == (0, ())
    assert "cannot be reached" in exchange.problem


def test_only_the_newest_exchanges_are_kept(hooks: HookClient, store: FhirStore) -> None:
    for _ in range(5):
        open_chart(hooks, store, "p")
    assert [exchange.number for exchange in hooks.exchanges] == [5, 4, 3]


def test_feedback_names_the_card_the_reason_and_the_time(
    hooks: HookClient, service: CdsServiceDouble
) -> None:
    reason = {"system": "s", "code": "disagree", "display": "I disagree"}
    entry = {"card": "card-1", "outcome": "overridden", "overrideReason": {"reason": reason}}
    assert hooks.feedback("imaging-ai-order-select", "p", entry).status == 200
    (sent,) = service.feedback
    assert sent["service"] == "imaging-ai-order-select"
    (entry,) = sent["feedback"]
    assert (entry["card"], entry["outcome"]) == ("card-1", "overridden")
    assert entry["overrideReason"] == {"reason": reason}
    assert entry["outcomeTimestamp"].endswith("Z")


def test_discovery_is_asked_for_once_a_minute(
    service: CdsServiceDouble, key: SigningKey, store: FhirStore, clock: Clock
) -> None:
    service.caller_keys = None
    site = Site("http://ehr.test", "http://ehr.test/fhir", "", service.base_url)
    hooks = HookClient(site, key, store, Tokens(clock), now=clock)
    first = hooks.services()
    assert {one["hook"] for one in first} == set(HOOKS)
    assert hooks.services() is first
    clock.now_s += 61
    assert hooks.services() is not first


def test_another_audience_is_refused_by_the_double(
    hooks: HookClient, service: CdsServiceDouble, store: FhirStore
) -> None:
    """The double checks tokens: what it lets through was signed for that address."""
    open_chart(hooks, store, "p")
    good = service.claims[-1]["aud"]
    assert good.endswith("/cds-services/imaging-ai-patient-view")
    answer = requests.post(f"{service.base_url}/cds-services/x", json={}, timeout=5)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("extension", "state", "pending"),
    [
        ({"org.scanhook.result": {"state": "final", "probability": 0.9}}, "final", False),
        ({"org.scanhook.result": {"state": "inferring"}}, "inferring", True),
        ({"org.scanhook.result": {"state": "received"}}, "received", True),
        ({"org.scanhook.result": {"state": "failed"}}, "failed", False),
        ({"org.scanhook.result": {"state": "unavailable"}}, "unavailable", False),
        ({"org.scanhook.result": {"state": 4, "steps_ms": [], "label": 1}}, "unknown", False),
        ({"org.scanhook.result": "final"}, "unknown", False),
        ("x", "unknown", False),
        (None, "unknown", False),
    ],
)  # fmt: skip
def test_a_cards_extension_is_read_with_tolerance(
    extension: Any, state: str, pending: bool
) -> None:
    result = card_result({"extension": extension})
    assert (result.state, result.pending) == (state, pending)
