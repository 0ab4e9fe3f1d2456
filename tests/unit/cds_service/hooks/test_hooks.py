"""Each hook's context, and which cards it shows of the same chart."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cds_service.claims import EXTENSION
from cds_service.feedback import Feedback
from cds_service.hooks.discovery import SERVICES, discovery
from cds_service.hooks.errors import InvalidCall
from cds_service.hooks.request import CONTEXTS, parse_request
from tests.doubles import ehr
from tests.doubles.hooking import (
    CALLS,
    DISCHARGE,
    ENCOUNTER_START,
    ORDER_DISPATCH,
    ORDER_SELECT,
    ORDER_SIGN,
    PATIENT_VIEW,
    Site,
    authorization,
    bundle,
    discharge,
    encounter,
    imaging_study,
    known,
    order_dispatch,
    order_sign,
    patient,
    site,
)
from tests.reference.hooks.chart import answer_to, chart_site, golden

HOOKS = [service.hook for service in SERVICES.values()]


def cards(at: Site, path: str, body: Any = None) -> list[dict[str, Any]]:
    body = CALLS[path]() if body is None else body
    answer = at.client().post(path, json=body, headers=at.ehr.bearer(path))
    assert answer.status_code == 200, answer.get_json()
    found: list[dict[str, Any]] = answer.get_json()["cards"]
    return found


def test_every_service_has_a_context_and_a_call_of_its_own() -> None:
    assert set(CONTEXTS) == set(HOOKS)
    assert len(HOOKS) == len(set(HOOKS))
    assert {f"/cds-services/{name}" for name in SERVICES} == set(CALLS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_golden_request_of_each_hook_has_its_golden_answer(hook: str) -> None:
    pair = golden(hook)
    at, _ = chart_site()
    assert answer_to(at, hook, pair["request"]) == pair["answer"]
    assert at.chart.asked == []
    assert at.queue.orders == []


SHOWN = {
    "patient-view": ["failed", "running", "no-finding", "finding", "finding-of-2019"],
    "order-select": ["finding", "finding-of-2019"],
    "order-sign": ["finding", "finding-of-2019"],
    "order-dispatch": ["finding", "finding-of-2019"],
    "encounter-start": ["finding", "finding-of-2019"],
    "encounter-discharge": ["running", "finding"],
}


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_shows_what_its_moment_asks_for(hook: str) -> None:
    at, records = chart_site()
    names = {record.id: name for name, record in records.items()}
    shown = answer_to(at, hook, golden(hook)["request"])["cards"]
    assert [names[card["extension"][EXTENSION]["study"]] for card in shown] == SHOWN[hook]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_card_that_was_answered_interrupts_nobody_again(hook: str) -> None:
    at, _ = chart_site()
    request = golden(hook)["request"]
    first = answer_to(at, hook, request)["cards"]
    at.ledger.note("ehr", [Feedback(card["uuid"], "accepted", "none", 0) for card in first])
    again = answer_to(at, hook, request)["cards"]
    assert again == (first if hook == "patient-view" else [])


@pytest.mark.parametrize("hook", HOOKS)
def test_a_card_that_was_overridden_comes_back_nowhere(hook: str) -> None:
    at, _ = chart_site()
    shown = answer_to(at, "patient-view", golden("patient-view")["request"])["cards"]
    at.ledger.note("ehr", [Feedback(card["uuid"], "overridden", "none", 0) for card in shown])
    assert answer_to(at, hook, golden(hook)["request"])["cards"] == []


PRIORITIES = {
    PATIENT_VIEW: "stat",
    ORDER_SELECT: "routine",
    ORDER_SIGN: "routine",
    ORDER_DISPATCH: "routine",
    ENCOUNTER_START: "routine",
    DISCHARGE: "stat",
}


@pytest.mark.parametrize("path", CALLS)
def test_each_hook_starts_what_is_missing_with_its_own_priority(path: str) -> None:
    at = site()
    shown = cards(at, path)
    assert at.queue.priorities == [PRIORITIES[path]]
    assert len(shown) == (path in (PATIENT_VIEW, DISCHARGE))


FIELDS = [
    (ORDER_SIGN, "userId"),
    (ORDER_SIGN, "patientId"),
    (ORDER_SIGN, "draftOrders"),
    (ORDER_DISPATCH, "patientId"),
    (ORDER_DISPATCH, "dispatchedOrders"),
    (ORDER_DISPATCH, "performer"),
    (ENCOUNTER_START, "userId"),
    (ENCOUNTER_START, "patientId"),
    (ENCOUNTER_START, "encounterId"),
    (DISCHARGE, "userId"),
    (DISCHARGE, "patientId"),
    (DISCHARGE, "encounterId"),
]


@pytest.mark.parametrize(("path", "name"), FIELDS)
@pytest.mark.parametrize("wrong", ["absent", None, 7, "", "a b/c?", {"a": 1}, ["<x>"], []])
def test_each_required_field_is_checked(path: str, name: str, wrong: Any) -> None:
    body = CALLS[path]()
    if wrong == "absent":
        del body["context"][name]
    else:
        body["context"][name] = wrong
    answer = site().client().post(path, json=body, headers=site().ehr.bearer(path))
    assert answer.status_code == 400
    assert name in answer.get_json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("user", ["Practitioner/1", "PractitionerRole/1", "Patient/p1"])
def test_a_user_is_a_person(user: str) -> None:
    context = {"userId": user, "patientId": "p1"}
    assert parse_call("patient-view", context).context.user_reference == user
    for other in ("Device/1", "Practitioner/", "practitioner/1", "https://e.example/Patient/1"):
        with pytest.raises(InvalidCall):
            parse_call("patient-view", context | {"userId": other})


def test_a_user_without_a_type_may_call_and_is_not_named() -> None:
    context = {"userId": "e3MBXCOmcoLKl7ayLD51AWA3", "patientId": "p1"}
    assert parse_call("patient-view", context).context.user_reference is None


def test_a_selection_may_be_named_by_the_full_url_of_its_draft() -> None:
    draft = f"urn:uuid:{uuid.uuid4()}"
    orders = {"resourceType": "Bundle"}
    context = {"userId": "Practitioner/1", "patientId": "p1", "draftOrders": orders}
    parsed = parse_call("order-select", context | {"selections": [draft, "ServiceRequest/1"]})
    assert parsed.context.selections == (draft, "ServiceRequest/1")
    for other in ("urn:uuid:1", f"{draft}x", "urn:oid:1.2"):
        with pytest.raises(InvalidCall):
            parse_call("order-select", context | {"selections": [other]})


def parse_call(hook: str, context: Any) -> Any:
    body = {"hook": hook, "hookInstance": str(uuid.uuid4()), "context": context}
    return parse_request(body, hook)


def test_signed_orders_may_be_signed_again() -> None:
    drafts = bundle({"resourceType": "ServiceRequest", "id": "s1", "status": "active"})
    body = order_sign()
    body["context"]["draftOrders"] = drafts
    assert cards(site(), ORDER_SIGN, body) == []


def test_a_dispatch_names_orders_performer_and_tasks_and_no_user() -> None:
    context = parse_call("order-dispatch", order_dispatch()["context"]).context
    assert context.user_reference is None
    assert context.dispatched_orders == ("ServiceRequest/s1",)
    assert context.performer_reference == "Organization/o1"
    assert [task["resourceType"] for task in context.fulfillment_tasks] == ["Task"]


@pytest.mark.parametrize("tasks", [None, {}, ["Task/1"], [{"resourceType": "Goal"}]])
def test_fulfilment_tasks_are_tasks_if_there_are_any(tasks: Any) -> None:
    context = order_dispatch()["context"]
    with pytest.raises(InvalidCall, match="fulfillmentTasks"):
        parse_call("order-dispatch", context | {"fulfillmentTasks": tasks})
    del context["fulfillmentTasks"]
    assert parse_call("order-dispatch", context).context.fulfillment_tasks == ()


def test_only_the_discharge_asks_for_the_encounter() -> None:
    asked = {s["hook"]: set(s["prefetch"]) for s in discovery(5)["services"]}
    assert asked.pop("encounter-discharge") == {"patient", "studies", "encounter"}
    assert all(keys == {"patient", "studies"} for keys in asked.values())


# the stay that ends


def leaving(study: dict[str, Any], **prefetch: Any) -> dict[str, Any]:
    body = discharge()
    body["prefetch"] |= {"studies": bundle(study), **prefetch}
    return body


OTHER_VISIT = {"encounter": {"reference": "Encounter/e0"}}
THIS_VISIT = {"encounter": {"reference": f"{ehr.FHIR_BASE}/Encounter/e1"}}


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"started": "2026-03-03T09:00:00Z"}, True),
        ({"started": "2026-03-02T08:00:01Z", **OTHER_VISIT}, True),
        ({"started": "2026-03-02T07:59:59Z", **OTHER_VISIT}, False),
        ({"started": "2026-03-02T07:59:59Z"}, False),
        ({"started": "2025"}, False),
        ({"started": "2025-12", **OTHER_VISIT}, False),
        ({"started": "0001-01-01T00:00:00+14:00"}, False),
        ({"started": "9999-12-31T23:59:59-14:00"}, True),
        ({"started": "2020-01-01", **THIS_VISIT}, True),
        ({"started": None}, True),
        ({"started": None, **OTHER_VISIT}, False),
    ],
)
def test_a_discharge_looks_at_the_studies_of_the_stay(members: Any, shown: bool) -> None:
    at = site()
    study = imaging_study(**members)
    known(at, study=study)
    assert len(cards(at, DISCHARGE, leaving(study))) == shown


@pytest.mark.parametrize(
    "sent",
    [None, {"resourceType": "Patient"}, encounter() | {"id": "e2"}, encounter("yesterday")],
)
def test_without_the_time_of_admission_only_another_visits_studies_are_left_out(sent: Any) -> None:
    for members, shown in (({}, 1), (OTHER_VISIT, 0), (THIS_VISIT, 1)):
        at = site()
        study = imaging_study(started="2019-01-01", **members)
        known(at, study=study)
        assert len(cards(at, DISCHARGE, leaving(study, encounter=sent))) == shown


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ("user/*.read", ["Encounter/e1"]),
        ("user/Encounter.r", ["Encounter/e1"]),
        ("user/Patient.r", []),
    ],
)
def test_an_encounter_that_was_not_sent_is_read_once_where_the_token_allows_it(
    scope: str, asked: list[str]
) -> None:
    at = site()
    study = imaging_study(started="2019-01-01")
    known(at, study=study)
    at.chart.resources = [encounter()]
    body = leaving(study) | {
        "fhirServer": ehr.FHIR_BASE,
        "fhirAuthorization": authorization(scope=scope),
    }
    del body["prefetch"]["encounter"]
    assert len(cards(at, DISCHARGE, body)) == (0 if asked else 1)
    assert at.chart.asked == asked


def test_studies_that_name_the_encounter_cost_no_reading_of_it() -> None:
    at = site()
    study = imaging_study(**THIS_VISIT)
    known(at, study=study)
    body = leaving(study) | {"fhirServer": ehr.FHIR_BASE, "prefetch": {"patient": patient()}}
    at.chart.resources = [study]
    assert len(cards(at, DISCHARGE, body)) == 1
    assert at.chart.asked == ["ImagingStudy"]


def test_a_discharge_orders_nothing_of_earlier_stays() -> None:
    at = site()
    assert cards(at, DISCHARGE, leaving(imaging_study(started="2019-01-01"))) == []
    assert at.queue.orders == []
