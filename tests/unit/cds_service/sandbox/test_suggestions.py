"""Accepting a suggestion carries its actions out: all of them or none, for this patient alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.sandbox.ehr import Ehr, Elsewhere, create_ehr_app
from cds_service.sandbox.fhir_errors import FhirRefusal, NotFound
from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.fhir_transaction import transact
from cds_service.sandbox.hook_client import FixedToken, Site
from cds_service.sandbox.suggestions import Done, carry_out
from cds_service.security.keys import generate_signing_key
from tests.doubles.cds_service import CdsServiceDouble

Json = dict[str, Any]
HOSTILE = "<script>alert(1)</script>"
PATIENTS = [{"resourceType": "Patient", "id": each, "name": [{"text": each}]} for each in "pq"]


def order(name: str, patient: str = "p", **more: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"text": name},
        **more,
    }


def create(resource: Any, words: str = "Order it") -> Json:
    return {"type": "create", "description": words, "resource": resource}


def update(resource: Any) -> Json:
    return {"type": "update", "description": "Change it", "resource": resource}


def delete(reference: Any) -> Json:
    return {"type": "delete", "description": "Take it away", "resourceId": reference}


def suggestion(uuid: str, *actions: Any, **more: Any) -> Json:
    return {"label": f"Do {uuid}", "uuid": uuid, "actions": list(actions), **more}


@pytest.fixture
def store() -> FhirStore:
    found = FhirStore()
    for resource in (*PATIENTS, order("X-ray", id="old"), order("CT", "q", id="other")):
        found.keep(resource)
    return found


def accepted(store: FhirStore, *actions: Any) -> tuple[Done, ...]:
    chosen = [suggestion("one", *actions)]
    return carry_out(chosen, "p", store, lambda bundle: transact(store, bundle), 1.0)


def names(store: FhirStore) -> list[str]:
    found = store.search("ServiceRequest", [("patient", "p")]).resources
    return sorted(each["code"]["text"] for each in found)


def test_create_update_and_delete_are_carried_out_in_their_order(store: FhirStore) -> None:
    store.keep(order("US", id="gone"))
    done = accepted(
        store,
        create(order("MR", id="mine")),
        update(order("X-ray, two views", id="old", status="active")),
        delete("ServiceRequest/gone"),
    )
    assert names(store) == ["MR", "X-ray, two views"]
    assert [(each.kind, each.written.created, each.written.deleted) for each in done] == [
        ("create", True, False),
        ("update", False, False),
        ("delete", False, True),
    ]
    assert store.read("ServiceRequest", "old")["meta"]["versionId"] == "2"
    with pytest.raises(NotFound):
        store.read("ServiceRequest", "mine")  # a new resource has the server's id


def test_what_one_action_creates_another_may_refer_to(store: FhirStore) -> None:
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "for": {"reference": "Patient/p"},
        "focus": {"reference": "ServiceRequest/n"},
    }
    done = accepted(store, create(task), create(order("MR", id="n")))
    made = done[1].written.resource["id"]
    assert done[0].written.resource["focus"] == {"reference": f"ServiceRequest/{made}"}


@pytest.mark.parametrize(
    "action",
    [update(order("Draft", id="draft")), delete("ServiceRequest/draft"), None],
    ids=["update", "delete", "no action"],
)
def test_a_draft_that_was_never_written_may_be_changed_or_dropped(
    store: FhirStore, action: Json | None
) -> None:
    accepted(store, *([action] if action else []))
    assert names(store) == (["Draft", "X-ray"] if action and "resource" in action else ["X-ray"])


@pytest.mark.parametrize(
    "bad",
    [
        create(order("MR", "q")),
        create({**order("MR"), "subject": {"reference": "http://else.test/fhir/Patient/q"}}),
        update(order("CT", "q", id="other")),
        update(order("CT", "p", id="other")),
        delete("ServiceRequest/other"),
        delete("Patient/p"),
        update({"resourceType": "Patient", "id": "p", "gender": "other"}),
        create({"resourceType": "Spaceship"}),
        create({"resourceType": 7}),
        create(order("MR", contained=[{"resourceType": "Spaceship"}])),
        create(order("MR", contained=[{"resourceType": 7}])),
        create({**order("MR"), "status": 7}),
        create({**order("MR"), "code": "MR"}),
        create(None),
        update(order("MR")),
        delete(None),
        delete("ServiceRequest"),
        delete("ServiceRequest/a/b"),
        {"type": "explode", "description": "?", "resource": order("MR")},
        {"description": "?"},
        "create",
    ],
)
def test_one_bad_action_leaves_nothing_done(store: FhirStore, bad: Any) -> None:
    before = store.all()
    with pytest.raises(FhirRefusal):
        accepted(store, create(order("MR")), bad)
    assert store.all() == before


@pytest.fixture
def service() -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble() as double:
        yield double


@pytest.fixture
def site(service: CdsServiceDouble) -> Site:
    return Site("http://localhost", "http://localhost/fhir", "", service.base_url)


@pytest.fixture
def browser(site: Site, tmp_path: Path) -> FlaskClient:
    key = generate_signing_key(tmp_path / "ehr.json")
    return create_ehr_app(Ehr(site, key, PATIENTS, {})).test_client()


def card(*suggestions: Json, **more: Any) -> Json:
    shown = {"uuid": "c1", "summary": "An order?", "indicator": "info", "source": {"label": "s"}}
    return {**shown, "suggestions": list(suggestions), "selectionBehavior": "at-most-one", **more}


def after(browser: FlaskClient, *accept: str) -> str:
    """The chart after these suggestions of the card were accepted on it."""
    browser.get("/patients/p")
    answer = browser.post("/patients/p/feedback", data={"card": "c1", "accept": [*accept]})
    assert answer.status_code == 303
    return browser.get("/patients/p").get_data(as_text=True)


def section(page: str, heading: str) -> str:
    return page.partition(heading)[2].partition("</section>")[0]


def test_the_chart_has_the_order_and_the_drawer_shows_what_was_done(
    browser: FlaskClient, service: CdsServiceDouble
) -> None:
    asked = create(order(HOSTILE), f"Order {HOSTILE}")
    service.answer = lambda _: {"cards": [card(suggestion("s1", asked))]}
    before = browser.get("/patients/p").get_data(as_text=True)
    assert "Order &lt;script&gt;" in before  # what a button does is said beside it
    assert "Done for an accepted suggestion" not in before
    page = after(browser, "s1")
    assert "&lt;script&gt;" in section(page, "<h2>Orders</h2>")
    assert "Order &lt;script&gt;" in section(page, "Done for an accepted suggestion")
    assert HOSTILE not in page
    assert "Accepted: Do s1" in page
    (entry,) = service.feedback[0]["feedback"]
    assert (entry["outcome"], entry["acceptedSuggestions"]) == ("accepted", [{"id": "s1"}])


@pytest.mark.parametrize(
    ("behaviour", "accept", "done"),
    [
        ("any", ("s1", "s2"), ["s1", "s2"]),
        ("any", ("s2",), ["s2"]),
        ("any", ("s2", "", "unknown"), ["s2"]),
        ("at-most-one", ("s1", "s2"), ["s1"]),
    ],
)
def test_as_many_suggestions_are_taken_as_the_card_allows(
    browser: FlaskClient,
    service: CdsServiceDouble,
    behaviour: str,
    accept: tuple[str, ...],
    done: list[str],
) -> None:
    offered = [suggestion(each, create(order(f"Order {each}"))) for each in ("s1", "s2")]
    service.answer = lambda _: {"cards": [card(*offered, selectionBehavior=behaviour)]}
    page = after(browser, *accept)
    orders = section(page, "<h2>Orders</h2>")
    assert [each for each in ("s1", "s2") if f"Order {each}" in orders] == done
    (entry,) = service.feedback[0]["feedback"]
    assert entry["acceptedSuggestions"] == [{"id": each} for each in done]


def test_nothing_ticked_is_no_answer(browser: FlaskClient, service: CdsServiceDouble) -> None:
    service.answer = lambda _: {"cards": [card(suggestion("s1"), selectionBehavior="any")]}
    assert "An order?" in after(browser, "")
    assert service.feedback == []


def test_a_button_that_is_pressed_twice_acts_once(
    browser: FlaskClient, service: CdsServiceDouble
) -> None:
    service.answer = lambda _: {"cards": [card(suggestion("s1", create(order("MR"))))]}
    after(browser, "s1")
    orders = section(after(browser, "s1"), "<h2>Orders</h2>")
    assert orders.count("MR") == 1
    assert len(service.feedback) == 1


def test_what_cannot_be_carried_out_is_said_and_the_card_stays(
    browser: FlaskClient, service: CdsServiceDouble
) -> None:
    service.answer = lambda _: {"cards": [card(suggestion("s1", create(order("MR", "q"))))]}
    browser.get("/patients/p")
    answer = browser.post("/patients/p/feedback", data={"card": "c1", "accept": "s1"})
    assert answer.status_code == 409
    assert "about another patient" in answer.get_data(as_text=True)
    assert service.feedback == []
    page = browser.get("/patients/p").get_data(as_text=True)
    assert "<article" in page
    assert "No order." in page


def test_nothing_is_written_to_another_server_and_the_chart_says_so(
    site: Site, service: CdsServiceDouble, store: FhirStore, tmp_path: Path
) -> None:
    service.answer = lambda _: {"cards": [card(suggestion("s1", create(order("MR"))))]}
    key = generate_signing_key(tmp_path / "ehr.json")
    elsewhere = Elsewhere(store, FixedToken(""))
    browser = create_ehr_app(Ehr(site, key, (), {}, elsewhere=elsewhere)).test_client()
    assert "nothing was written" in after(browser, "s1")
    assert names(store) == ["X-ray"]
    assert service.feedback[0]["feedback"][0]["outcome"] == "accepted"
