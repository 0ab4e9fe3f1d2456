"""The rules of CDS Hooks case by case; each name has the id of the requirement it belongs to.

One test for each requirement, with its text, is in ``tests/contract/test_cds_hooks.py``.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.cards import OVERRIDE_REASONS, override_reasons
from cds_service.claims import EXTENSION
from cds_service.clients.errors import TimedOut
from cds_service.hooks.authorization import parse_scopes
from cds_service.queue.errors import QueueFull, QueueUnavailable
from cds_service.queue.state import State, StudyRecord
from tests.doubles import ehr
from tests.doubles.hooking import (
    CALLS,
    ORDER_SELECT,
    PATIENT_VIEW,
    STUDY_UID,
    Site,
    authorization,
    bundle,
    imaging_study,
    known,
    order_select,
    patient,
    patient_view,
    site,
)
from tests.reference.cards.states import FINDING, NO_FINDING

ROUTES = CALLS


def call(
    at: Site, body: Any = None, path: str = PATIENT_VIEW, client: FlaskClient | None = None
) -> TestResponse:
    """A signed call; `body` is patient-view's unless given."""
    body = patient_view() if body is None else body
    return (client or at.client()).post(path, json=body, headers=at.ehr.bearer(path))


def nothing_empty(value: Any, path: str = "") -> Iterator[str]:
    """Paths of every null, empty string, array or object."""
    if value in (None, "", [], {}) and path not in ("/cards", "/services"):
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from nothing_empty(item, f"{path}/{name}")


# a.1 Discovery


def test_a08_discovery_has_no_member_that_2_0_does_not_know() -> None:
    allowed = {"hook", "title", "description", "id", "prefetch", "usageRequirements", "version"}
    for service in site().client().get("/cds-services").get_json()["services"]:
        assert set(service) == allowed


# a.2 Request


@pytest.mark.parametrize("member", ["hook", "hookInstance", "context"])
@pytest.mark.parametrize("path", ROUTES)
def test_a20_a_missing_member_is_400_with_an_operation_outcome(path: str, member: str) -> None:
    body = ROUTES[path]()
    del body[member]
    answer = call(site(), body, path)
    assert answer.status_code == 400
    outcome = answer.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert member in outcome["issue"][0]["diagnostics"]


def test_a20_a_hook_instance_is_a_uuid() -> None:
    assert call(site(), patient_view(hookInstance="not one")).status_code == 400


def test_a20_a_token_without_a_server_is_400() -> None:
    assert call(site(), patient_view(fhirAuthorization=authorization())).status_code == 400


@pytest.mark.parametrize("path", ROUTES)
def test_a21_the_hook_must_be_the_services_own(path: str) -> None:
    other = next(p for p in ROUTES if p != path)
    assert call(site(), ROUTES[other](), path).status_code == 400


@pytest.mark.parametrize("member", ["access_token", "token_type", "scope"])
def test_a22_members_of_the_authorization_are_required(member: str) -> None:
    given = authorization(**{member: None})
    body = patient_view(fhirServer=ehr.FHIR_BASE, fhirAuthorization=given)
    assert call(site(), body).status_code == 400


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("user/ImagingStudy.read", "rs"),
        ("user/ImagingStudy.rs", "rs"),
        ("patient/ImagingStudy.write", "cud"),
        ("system/*.*", "cruds"),
        ("user/*.cruds", "cruds"),
        ("user/ImagingStudy.rs?status=available", "rs"),
        ("user/ImagingStudy.sr", ""),
        ("user/ImagingStudy.", ""),
        ("openid fhirUser launch", ""),
    ],
)
def test_a23_scopes_of_smart_1_and_2_are_read(scope: str, granted: str) -> None:
    letters = {a for s in parse_scopes(scope) for a in s.access}
    assert letters == set(granted)


@pytest.mark.parametrize(
    "server",
    [
        "http://169.254.169.254/latest",
        "https://ehr.example.org.evil.example/fhir",
        "https://ehr.example.org@evil.example/fhir",
        "http://ehr.example.org/fhir",
        "https://ehr.example.org:8443/fhir",
        "https://ehr.example.org/fhir/../admin",
        "https://ehr.example.org/fhir2",
        "https://ehr.example.org",
        "https://ehr.example.org/fhir?x=1",
        "file:///etc/passwd",
        "not a url",
    ],
)
def test_a26_a27_no_server_but_the_configured_one_is_asked(server: str) -> None:
    at = site()
    body = patient_view(fhirServer=server, fhirAuthorization=authorization(), prefetch=None)
    assert call(at, body).status_code == 403
    assert at.chart.opened == []


def test_a27_the_configured_server_may_be_written_with_a_slash() -> None:
    at = site()
    body = patient_view(fhirServer=ehr.FHIR_BASE.upper().replace("FHIR", "fhir") + "/")
    assert call(at, body | {"fhirServer": ehr.FHIR_BASE + "/"}).status_code == 200


# a.3 Prefetch


def test_a43_prefetch_null_is_known_empty() -> None:
    at = site()
    body = patient_view(
        prefetch={"patient": patient(), "studies": None},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    assert call(at, body).get_json() == {"cards": []}
    assert at.chart.asked == []


def test_a43_an_absent_key_is_read_from_the_server() -> None:
    at = site()
    at.chart.resources = [imaging_study()]
    body = patient_view(
        prefetch={"patient": patient()},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    assert len(call(at, body).get_json()["cards"]) == 1
    assert at.chart.asked == ["ImagingStudy"]


FAILED_PREFETCH = {"resourceType": "OperationOutcome", "issue": []}


def test_a43_what_the_client_could_not_read_is_read_once_with_the_token_of_the_call() -> None:
    """Not a blind repeat: clients fail on our search's parameters, or run it for another user."""
    at = site()
    at.chart.resources = [imaging_study()]
    body = patient_view(
        prefetch={"patient": patient(), "studies": FAILED_PREFETCH},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    assert len(call(at, body).get_json()["cards"]) == 1
    assert at.chart.asked == ["ImagingStudy"]
    assert at.chart.opened == [("ehr", "secret-token")]


def test_f20_the_chart_is_read_for_the_user_who_fired_the_hook_and_nobody_else_hears_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The audit trail alone is told: neither queue nor log nor Redis."""
    caplog.set_level("DEBUG")
    at = site()
    at.chart.resources = [imaging_study(), patient()]
    body = patient_view(prefetch=None, fhirServer=ehr.FHIR_BASE, fhirAuthorization=authorization())
    body["context"]["userId"] = "Practitioner/canary"
    assert len(call(at, body).get_json()["cards"]) == 1
    assert at.chart.users == ["Practitioner/canary"]
    kept = f"{at.queue.orders}{at.redis.values}{at.queue.records}{caplog.text}"
    assert "canary" not in kept


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ({}, []),
        ({"fhirServer": ehr.FHIR_BASE, "fhirAuthorization": {"scope": "user/Patient.read"}}, []),
        ({"fhirServer": ehr.FHIR_BASE, "fhirAuthorization": {}}, ["ImagingStudy"]),
    ],
)
def test_a43_what_neither_could_read_is_412_after_one_try_at_most(
    members: dict[str, Any], asked: list[str]
) -> None:
    at = site()
    at.chart.error = TimedOut("late", deadline_s=2)
    if "fhirAuthorization" in members:
        members = {**members, "fhirAuthorization": authorization(**members["fhirAuthorization"])}
    body = patient_view(prefetch={"patient": patient(), "studies": FAILED_PREFETCH}, **members)
    assert call(at, body).status_code == 412
    assert at.chart.asked == asked


def test_a43_an_empty_bundle_is_a_chart_without_studies() -> None:
    for empty in (bundle(), {"resourceType": "Bundle", "type": "searchset", "total": 0}):
        body = patient_view(prefetch={"studies": empty})
        assert call(site(), body).get_json() == {"cards": []}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"resourceType": "OperationOutcome"},
        {"resourceType": "Practitioner", "id": "p1", "identifier": [{"value": "X"}]},
        {"resourceType": "Patient", "identifier": [{"value": "X"}]},
        {"resourceType": "Patient", "id": "p1"},
        [patient()],
        "p1",
    ],
)
def test_a43_a_patient_without_identifiers_is_read_from_the_server(value: Any) -> None:
    """``null`` is an answer about studies; who the patient is, the images are checked against."""
    at = site()
    at.chart.resources = [patient()]
    body = patient_view(
        prefetch={"patient": value, "studies": bundle(imaging_study())},
        fhirServer=ehr.FHIR_BASE,
    )
    assert call(at, body).status_code == 200
    assert at.chart.asked == ["Patient/p1"]
    assert at.queue.orders[0]["patient_identifiers"] == ["MRN-1"]


def test_a43_the_patient_is_read_once_for_all_studies() -> None:
    at = site()
    studies = [imaging_study(f"1.2.3.{i}") for i in range(4)]
    body = patient_view(prefetch={"studies": bundle(*studies)}, fhirServer=ehr.FHIR_BASE)
    assert call(at, body).status_code == 200
    assert at.chart.asked == ["Patient/p1"]
    assert len(at.queue.orders) == 4


@pytest.mark.parametrize("studies", [bundle(), bundle(imaging_study())])
def test_a43_the_patient_resource_of_somebody_else_is_400(studies: Any) -> None:
    at = site()
    body = patient_view(prefetch={"patient": patient("p2"), "studies": studies})
    answer = call(at, body)
    assert answer.status_code == 400
    assert "prefetch.patient" in answer.get_json()["issue"][0]["diagnostics"]
    assert at.queue.orders == []


def test_a44_only_what_is_missing_is_read() -> None:
    at = site()
    at.chart.resources = [patient()]
    body = patient_view(
        prefetch={"studies": bundle(imaging_study())},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    assert call(at, body).status_code == 200
    assert at.chart.asked == ["Patient/p1"]
    assert at.queue.orders[0]["patient_identifiers"] == ["MRN-1"]


@pytest.mark.parametrize("path", ROUTES)
def test_a45_without_data_and_without_a_server_it_is_412(path: str) -> None:
    body = ROUTES[path]()
    del body["prefetch"]
    answer = call(site(), body, path)
    assert answer.status_code == 412
    assert answer.get_json()["resourceType"] == "OperationOutcome"


def test_a45_a_server_that_does_not_answer_is_412() -> None:
    at = site()
    at.chart.error = TimedOut("late", deadline_s=2)
    body = patient_view(prefetch=None, fhirServer=ehr.FHIR_BASE, fhirAuthorization=authorization())
    assert call(at, body).status_code == 412


def test_a45_a_token_that_may_not_search_is_412_without_a_call() -> None:
    at = site()
    given = authorization(scope="user/Patient.read user/Observation.read")
    body = patient_view(prefetch=None, fhirServer=ehr.FHIR_BASE, fhirAuthorization=given)
    assert call(at, body).status_code == 412
    assert at.chart.asked == []


def test_a47_a_page_of_several_is_completed_from_the_server() -> None:
    at = site()
    second = imaging_study(STUDY_UID + ".2")
    at.chart.resources = [imaging_study(), second, patient()]
    page = bundle(
        imaging_study(), link=[{"relation": "next", "url": "https://evil.example/fhir?page=2"}]
    )
    body = patient_view(
        prefetch={"patient": patient(), "studies": page},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    assert len(call(at, body).get_json()["cards"]) == 2
    assert at.chart.opened == [("ehr", "secret-token")]


def test_a47_without_a_server_the_first_page_is_used() -> None:
    page = bundle(imaging_study(), link=[{"relation": "next", "url": f"{ehr.FHIR_BASE}?page=2"}])
    answer = call(site(), patient_view(prefetch={"studies": page}))
    assert len(answer.get_json()["cards"]) == 1


@pytest.mark.parametrize(
    "value",
    ["<html>502</html>", 7, True, [], [{}], {}, {"resourceType": "Patient"}, {"entry": []}],
)
def test_a48_another_shape_counts_as_absent(value: Any) -> None:
    at = site()
    assert call(at, patient_view(prefetch={"studies": value})).status_code == 412
    at.chart.resources = [imaging_study()]
    body = patient_view(prefetch={"studies": value}, fhirServer=ehr.FHIR_BASE)
    assert len(call(at, body).get_json()["cards"]) == 1


# a.4 Hooks


CONTEXT_FIELDS = [
    (PATIENT_VIEW, "userId"),
    (PATIENT_VIEW, "patientId"),
    (ORDER_SELECT, "userId"),
    (ORDER_SELECT, "patientId"),
    (ORDER_SELECT, "selections"),
    (ORDER_SELECT, "draftOrders"),
]


@pytest.mark.parametrize(("path", "name"), CONTEXT_FIELDS)
@pytest.mark.parametrize("wrong", ["absent", None, 7, "", "a b/c?", {"a": 1}, ["<x>"]])
def test_a4_each_context_field_is_required_and_checked(path: str, name: str, wrong: Any) -> None:
    body = ROUTES[path]()
    if wrong == "absent":
        del body["context"][name]
    else:
        body["context"][name] = wrong
    answer = call(site(), body, path)
    assert answer.status_code == 400
    assert name in answer.get_json()["issue"][0]["diagnostics"]


def test_a4_an_encounter_is_optional() -> None:
    for encounter in ("e1", None):
        body = patient_view()
        body["context"]["encounterId"] = encounter
        assert call(site(), body).status_code == 200


# a.5 Cards


def test_a71_override_reasons_are_codings_of_our_own_system() -> None:
    at = site()
    known(at)
    (card,) = call(at).get_json()["cards"]
    assert card["overrideReasons"] == override_reasons()
    assert len(OVERRIDE_REASONS) == 5
    assert all(set(reason) == {"code", "system", "display"} for reason in override_reasons())


def test_a77_there_is_one_card_for_each_study_and_no_more_than_configured() -> None:
    at = site({"studies": 2})
    studies = [
        imaging_study(f"{STUDY_UID}.{i}", started=f"2026-03-{i:02}T10:00:00Z") for i in range(1, 7)
    ]
    cards = call(at, patient_view(prefetch={"studies": bundle(*studies)})).get_json()["cards"]
    assert len(cards) == 2
    assert "2026-03-06" in cards[0]["summary"]
    assert "2026-03-05" in cards[1]["summary"]


# a.6 systemActions, feedback, errors


def entry(card_uuid: str, /, **changes: Any) -> dict[str, Any]:
    """One feedback entry: overridden with one of our reasons."""
    given = {
        "card": card_uuid,
        "outcome": "overridden",
        "overrideReason": {"reason": override_reasons()[0], "userComment": "Mrs Canary says no"},
        "outcomeTimestamp": "2026-03-03T10:00:00Z",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


FEEDBACK = f"{PATIENT_VIEW}/feedback"


def feedback(at: Site, *entries: Any, client: FlaskClient | None = None) -> TestResponse:
    return call(at, {"feedback": list(entries)}, FEEDBACK, client)


def test_a82_feedback_is_kept_without_its_comment_and_counted_once() -> None:
    at = site()
    known(at)
    client = at.client()
    (card,) = call(at, client=client).get_json()["cards"]
    for _ in range(3):
        given = entry(card["uuid"])
        assert feedback(at, given, given, client=client).status_code == 200
    assert "Canary" not in str(at.redis.values)
    labels = 'model="brain-mri-tumour",outcome="overridden",reason="already-known",version="1.0.0"'
    text = client.get("/metrics").get_data(as_text=True)
    assert f"scanhook_feedback_cards{{{labels}}} 1.0" in text


def test_a82_an_unknown_card_is_200_and_not_kept() -> None:
    at = site()
    before = set(at.redis.values)
    answer = feedback(at, entry(str(uuid.uuid4())))
    assert answer.status_code == 200
    assert {name for name in set(at.redis.values) - before if name.startswith("cds:card:")} == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"card": None},
        {"card": "../etc"},
        {"outcome": None},
        {"outcome": "ignored"},
        {"outcome": "accepted"},
        {"outcome": "accepted", "acceptedSuggestions": []},
        {"outcome": "accepted", "acceptedSuggestions": [{}]},
        {"overrideReason": {}},
        {"overrideReason": "no"},
        {"overrideReason": {"reason": "no"}},
        {"overrideReason": {"userComment": 7}},
        {"outcomeTimestamp": None},
        {"outcomeTimestamp": "yesterday"},
        {"outcomeTimestamp": "2026-03-03T10:00:00"},
    ],
)
def test_a82_feedback_of_another_shape_is_400(changes: dict[str, Any]) -> None:
    assert feedback(site(), entry(str(uuid.uuid4()), **changes)).status_code == 400


def test_a82_accepted_and_overridden_without_reason_are_fine() -> None:
    accepted = entry(
        str(uuid.uuid4()),
        outcome="accepted",
        overrideReason=None,
        acceptedSuggestions=[{"id": "s1"}],
    )
    plain = entry(str(uuid.uuid4()), overrideReason=None)
    assert feedback(site(), accepted, plain).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/cds-services/", 404),
        ("GET", "//cds-services", 404),
        ("POST", "/cds-services/unknown", 404),
        ("POST", "/cds-services/unknown/feedback", 404),
        ("GET", PATIENT_VIEW, 405),
        ("DELETE", "/cds-services", 405),
        ("POST", PATIENT_VIEW, 401),
        ("POST", FEEDBACK, 401),
    ],
)
def test_a85_a87_every_error_is_an_operation_outcome(method: str, path: str, status: int) -> None:
    answer = site().client().open(path, method=method)
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert answer.get_json()["resourceType"] == "OperationOutcome"
    assert list(nothing_empty(answer.get_json())) == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json;charset=UTF-8", 200),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_a87_content_types(content_type: str, status: int) -> None:
    at = site()
    headers = at.ehr.bearer(PATIENT_VIEW)
    body = json.dumps(patient_view())
    answer = at.client().post(PATIENT_VIEW, data=body, content_type=content_type, headers=headers)
    assert answer.status_code == status


def test_a87_a_compressed_body_is_415() -> None:
    at = site()
    headers = at.ehr.bearer(PATIENT_VIEW) | {"Content-Encoding": "gzip"}
    answer = at.client().post(PATIENT_VIEW, json=patient_view(), headers=headers)
    assert answer.status_code == 415


def test_a87_too_large_a_body_is_413() -> None:
    at = site({"body_bytes": 1000})
    assert call(at, patient_view(padding="x" * 2000)).status_code == 413


def test_a87_a_prefetch_that_lists_thousands_of_images_is_read() -> None:
    body = patient_view()
    images = [
        {
            "uid": f"1.2.826.0.1.3680043.8.498.1234567890123456789012345678901{number:05}",
            "sopClass": {
                "system": "urn:ietf:rfc:3986",
                "code": "urn:oid:1.2.840.10008.5.1.4.1.1.4",
            },
            "number": number,
        }
        for number in range(8000)
    ]
    study = body["prefetch"]["studies"]["entry"][0]["resource"]
    modality = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}
    study["series"] = [{"uid": "1.2.3", "modality": modality, "instance": images}]
    assert len(json.dumps(body)) > 1_300_000
    answer = call(site(), body)
    assert (answer.status_code, len(answer.get_json()["cards"])) == (200, 1)


@pytest.mark.parametrize("error", [QueueUnavailable("down"), QueueFull("full")])
def test_a88_a_queue_that_is_down_or_full_is_one_card_that_says_so(error: Exception) -> None:
    at = site()
    at.queue.submit_error = error
    answer = call(at)
    assert answer.status_code == 200
    (card,) = answer.get_json()["cards"]
    assert card["summary"] == "AI analysis is not available at the moment"
    assert call(at, order_select(), ORDER_SELECT).get_json() == {"cards": []}


def test_a88_records_that_cannot_be_read_are_one_card_that_says_so() -> None:
    at = site()
    at.queue.error = QueueUnavailable("down")
    (card,) = call(at).get_json()["cards"]
    assert card["extension"][EXTENSION] == {"state": "unavailable"}


def test_a88_a_redis_that_is_down_answers_with_nothing_of_anybody() -> None:
    at = site()
    known(at)
    at.redis.down = True
    answer = call(at)
    assert answer.status_code == 200
    (card,) = answer.get_json()["cards"]
    assert card["extension"][EXTENSION] == {"state": "unavailable"}
    assert "links" not in card
    assert at.queue.orders == []
    assert feedback(at, entry(card["uuid"])).status_code == 503


def test_a88_one_refused_order_does_not_hide_a_result_that_is_ready() -> None:
    at = site()
    known(at)
    at.queue.submit_error = QueueUnavailable("down")
    second = imaging_study(STUDY_UID + ".2", started="2025-01-01")
    body = patient_view(prefetch={"studies": bundle(imaging_study(), second)})
    cards = call(at, body).get_json()["cards"]
    assert [card["extension"][EXTENSION]["state"] for card in cards] == ["final", "unavailable"]


# a.7 CORS (tokens are in tests/security)


ORIGIN = "https://sandbox.example.org"


@pytest.mark.parametrize("path", ["/cds-services", PATIENT_VIEW, FEEDBACK])
def test_a103_a_preflight_is_answered_before_authentication(path: str) -> None:
    at = site({"cors_origins": (ORIGIN,), "discovery_open": False})
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = at.client().options(path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("path", ["/cds-services", PATIENT_VIEW, FEEDBACK, "/cds-services/none"])
def test_a103_errors_carry_the_headers_too(path: str) -> None:
    at = site({"cors_origins": (ORIGIN,), "discovery_open": False})
    method = at.client().get if path == "/cds-services" else at.client().post
    answer = method(path, headers={"Origin": ORIGIN})
    assert answer.status_code in (401, 404)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["https://evil.example", ORIGIN + ".evil.example", "null"])
def test_a103_other_origins_may_read_nothing(origin: str) -> None:
    at = site({"cors_origins": (ORIGIN,)})
    for path in ("/cds-services", PATIENT_VIEW):
        answer = at.client().options(path, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a103_credentials_are_never_allowed_and_other_pages_have_no_cors() -> None:
    at = site({"cors_origins": (ORIGIN, "*")})
    for path in ("/cds-services", "/healthz", "/metrics"):
        answer = at.client().get(path, headers={"Origin": ORIGIN})
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert ("Access-Control-Allow-Origin" in answer.headers) == (path == "/cds-services")


# (b) Long work against a short hook


def test_b01_a_result_that_is_ready_costs_no_call() -> None:
    at = site()
    endpoint = [{"reference": "Endpoint/e1"}]
    study = imaging_study(endpoint=endpoint)
    known(at, study=study)
    body = patient_view(
        prefetch={"studies": bundle(study)},
        fhirServer=ehr.FHIR_BASE,
        fhirAuthorization=authorization(),
    )
    (card,) = call(at, body).get_json()["cards"]
    assert card["extension"][EXTENSION]["state"] == "final"
    assert at.chart.asked == []
    assert at.queue.orders == []


def test_b01_an_endpoint_is_read_for_an_order_and_selects_the_archive() -> None:
    from cds_service.settings import ArchiveSettings

    archives = (
        ArchiveSettings(name="pacs", base_url="https://pacs.example.org/wado"),
        ArchiveSettings(name="vna", base_url="https://vna.example.org/dicomweb"),
    )
    at = site(archives=archives)
    at.chart.resources = [
        {
            "resourceType": "Endpoint",
            "id": "e1",
            "status": "active",
            "connectionType": {"code": "dicom-wado-rs"},
            "address": "https://vna.example.org/dicomweb",
        }
    ]
    study = imaging_study(endpoint=[{"reference": "Endpoint/e1"}])
    body = patient_view(
        prefetch={"patient": patient(), "studies": bundle(study)}, fhirServer=ehr.FHIR_BASE
    )
    call(at, body)
    assert at.queue.orders[0]["archive"] == "vna"


def test_b01_an_endpoint_that_cannot_be_read_leaves_the_default_archive() -> None:
    at = site()
    study = imaging_study(endpoint=[{"reference": "Endpoint/e1"}])
    call(at, patient_view(prefetch={"studies": bundle(study)}))
    assert at.queue.orders[0]["archive"] == "pacs"


def test_b02_the_same_call_again_orders_nothing_new() -> None:
    at = site()
    client = at.client()
    for _ in range(3):
        assert call(at, client=client).status_code == 200
    assert len(at.queue.orders) == 1


@pytest.mark.parametrize(
    ("state", "setting"),
    [
        (State.RECEIVED, "show_pending"),
        (State.INFERRING, "show_pending"),
        (State.FAILED, "show_failed"),
    ],
)
def test_b03_what_is_not_done_has_one_information_card_or_none(state: State, setting: str) -> None:
    for shown in (True, False):
        at = site({setting: shown})
        known(at, state)
        cards = call(at).get_json()["cards"]
        assert len(cards) == int(shown)
        assert all(card["indicator"] == "info" for card in cards)


@pytest.mark.parametrize("state", [s for s in State if s is not State.FINAL])
def test_b04_nothing_negative_is_said_before_the_record_is_final(state: State) -> None:
    at = site()
    known(at, state, summary=NO_FINDING.to_json())
    text = json.dumps(call(at).get_json())
    if state is not State.ABSTAINED:
        assert "found none" not in text
    assert "no finding" not in text.lower()


def test_b06_a_study_that_grew_is_ordered_again() -> None:
    at = site()
    known(at)
    grown = imaging_study(numberOfInstances=48)
    (card,) = call(at, patient_view(prefetch={"studies": bundle(grown)})).get_json()["cards"]
    assert len(at.queue.orders) == 1
    assert card["extension"][EXTENSION]["state"] == "received"
    assert "Outdated" in card["detail"]


def announced(count: int | None) -> dict[str, Any]:
    """A call for the study with this number of instances, or none stated."""
    study = imaging_study(numberOfInstances=count)
    return patient_view(prefetch={"patient": patient(), "studies": bundle(study)})


@pytest.mark.parametrize(
    ("counts", "orders"),
    [
        ((24, None, 24, None), 1),
        ((None, 24, None, 24), 1),
        ((24, None, 48, None, 48), 2),
        ((None, 24, None, 48), 2),
        ((24, 12, 24), 1),
        ((24, 48, 24, 48), 2),
    ],
)
def test_b06_a_count_that_is_not_stated_is_no_growth(
    counts: tuple[int | None, ...], orders: int
) -> None:
    at = site()
    client = at.client()
    for count in counts:
        assert call(at, announced(count), client=client).status_code == 200
        for record in at.queue.records.values():
            done = replace(record, state=State.FINAL, summary=FINDING.to_json())
            at.queue.records[record.id] = done
    assert len(at.queue.orders) == orders


def test_b06_a_queue_that_cannot_note_the_count_does_not_hide_the_result() -> None:
    at = site()
    known(at, content_key="")
    at.queue.learn = refuse  # type: ignore[method-assign]  # the double's fault of this test
    (card,) = call(at).get_json()["cards"]
    assert card["extension"][EXTENSION]["state"] == "final"


def refuse(*_: Any) -> StudyRecord:
    raise QueueUnavailable("down")


def test_b06_other_models_are_a_reason_to_order_again() -> None:
    at = site()
    known(at, models="older")
    call(at)
    assert len(at.queue.orders) == 1


def test_b07_a_late_result_is_waited_for_as_long_as_configured() -> None:
    at = site({"wait_ms": 500})
    record = known(at, State.INFERRING)
    reads = []

    def finish(queue: Any) -> None:
        reads.append(1)
        if len(reads) == 3:
            queue.records[record.id] = replace(record, state=State.FINAL, summary=FINDING.to_json())

    at.queue.after_read = finish
    (card,) = call(at).get_json()["cards"]
    assert card["extension"][EXTENSION]["state"] == "final"
    assert 0 < at.slept_s <= 0.5


def test_b07_the_wait_ends() -> None:
    at = site({"wait_ms": 500})
    known(at, State.INFERRING)
    (card,) = call(at).get_json()["cards"]
    assert card["extension"][EXTENSION]["state"] == "inferring"
    assert at.slept_s == pytest.approx(0.5, abs=0.03)


def test_b09_a_failed_study_is_tried_again_after_an_hour_and_not_before() -> None:
    at = site()
    known(at, State.FAILED)
    call(at)
    assert at.queue.orders == []
    known(at, State.FAILED, updated_ms=int((ehr.NOW_S - 3601) * 1000))
    call(at)
    assert len(at.queue.orders) == 1


@pytest.mark.parametrize(("path", "priority"), [(PATIENT_VIEW, "stat"), (ORDER_SELECT, "routine")])
def test_b10_an_open_chart_comes_before_an_order(path: str, priority: str) -> None:
    at = site()
    call(at, ROUTES[path](), path)
    assert at.queue.priorities == [priority]


def test_b11_a_result_says_when_with_what_and_on_how_many_images() -> None:
    at = site()
    known(at)
    (card,) = call(at).get_json()["cards"]
    for said in ("2026-03-03 14:05 UTC", "version 1.0.0", "images 10–12 of 24"):
        assert said in card["detail"]


def test_an_order_interrupts_with_findings_alone() -> None:
    at = site()
    known(at)
    assert len(call(at, order_select(), ORDER_SELECT).get_json()["cards"]) == 1
    known(at, summary=NO_FINDING.to_json())
    assert call(at, order_select(), ORDER_SELECT).get_json() == {"cards": []}


def test_a_study_of_another_patient_is_left_out() -> None:
    at = site()
    body = patient_view(prefetch={"studies": bundle(imaging_study(patient="p2"))})
    assert call(at, body).get_json() == {"cards": []}
    assert at.queue.orders == []


def test_a_chart_that_names_another_patients_study_does_not_get_its_finding() -> None:
    at = site()
    known(at)
    client = at.client()
    assert call(at, client=client).get_json()["cards"][0]["extension"][EXTENSION]["label"]
    body = patient_view(
        context={"userId": "Practitioner/example", "patientId": "p2"},
        prefetch={"patient": patient("p2"), "studies": bundle(imaging_study(patient="p2"))},
    )
    (card,) = call(at, body, client=client).get_json()["cards"]
    said = card["extension"][EXTENSION]
    assert said["state"] == "received"
    assert "label" not in said
    assert ["/e/" in link["url"] for link in card["links"]] == [False]
    assert [order["patient_reference"] for order in at.queue.orders] == ["Patient/p2"]
    assert len(at.queue.records) == 2


def test_no_route_sets_a_cookie_and_every_answer_has_the_security_headers() -> None:
    at = site()
    client = at.client()
    for rule in at.app.url_map.iter_rules():
        for method in ("GET", "POST"):
            path = re.sub(r"<[^>]+>", "x", rule.rule)
            answer = client.open(path, method=method)
            assert "Set-Cookie" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"]
