"""One test for each requirement of CDS Hooks; its name has the id, its docstring says it.

The ids are those of the project's list of requirements, read from CDS Hooks 2.0.1 (and the 3.0
ballot where said), its Inferno test kit and Da Vinci CRD. ``docs/conformance.md`` is made from the
docstrings: ``LEVEL: sentence``, and where we do not do it, ``Not offered: reason`` below.
Where the requirement can be seen from outside, what looks is the check of ``scanhook conformance``;
the cases of each rule are in ``tests/unit/cds_service/hooks``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cds_service.claims import EXTENSION
from cds_service.clients.errors import TimedOut
from cds_service.conformance.catalogue import CHECKS, of_requirements
from cds_service.conformance.findings import Verdict, examine
from cds_service.flow import StudyChanged, check_unchanged
from cds_service.hooks.authorization import parse_scopes
from cds_service.hooks.discovery import SERVICES
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import State
from cds_service.settings import Settings
from models.contract import SeriesFacts
from tests.doubles import ehr
from tests.doubles.examined import ORIGIN, ClientSender, examination, prefetched
from tests.doubles.hooking import (
    CALLS,
    DISCHARGE,
    ENCOUNTER_START,
    ORDER_DISPATCH,
    ORDER_SELECT,
    ORDER_SIGN,
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
    settings,
    site,
)
from tests.reference.cards.states import FINDING
from tests.reference.hooks.chart import answer_to, chart_site, golden

ROOT = Path(__file__).parents[2]
FEEDBACK = f"{PATIENT_VIEW}/feedback"


def keeps(id_: str, at: Site | None = None, **subject: Any) -> bool:
    """Whether the checks of a requirement find nothing on our service, and one of them looked."""
    if at is None:
        at = site({"cors_origins": (ORIGIN,)})
        known(at)
    findings = examine(examination(at, origin=ORIGIN, **subject), of_requirements(id_))
    broken = [(f.check.name, f.sentences) for f in findings if f.verdict is Verdict.BROKEN]
    assert broken == []
    return any(finding.verdict is Verdict.KEPT for finding in findings)


def call(at: Site, body: Any = None, path: str = PATIENT_VIEW, **headers: str) -> Any:
    """A signed call; a good one of its service unless `body` is given."""
    given = {**at.ehr.bearer(path), **headers}
    return at.client().post(path, json=CALLS[path]() if body is None else body, headers=given)


def cards(at: Site, body: Any = None, path: str = PATIENT_VIEW) -> list[dict[str, Any]]:
    answer = call(at, body, path)
    assert answer.status_code == 200, answer.get_json()
    found: list[dict[str, Any]] = answer.get_json()["cards"]
    return found


def feedback(at: Site, **changes: Any) -> int:
    entry = {
        "card": str(uuid.uuid4()),
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-03T10:00:00Z",
        **changes,
    }
    answer = at.client().post(FEEDBACK, json={"feedback": [entry]}, headers=at.ehr.bearer(FEEDBACK))
    status: int = answer.status_code
    return status


def by_server(**changes: Any) -> dict[str, Any]:
    """A call without prefetch that may read from the EHR's server."""
    members = {"fhirServer": ehr.FHIR_BASE, "fhirAuthorization": authorization(), **changes}
    return patient_view(prefetch=None, **members)


def test_no_check_of_the_conformance_tool_finds_anything() -> None:
    at = site({"cors_origins": (ORIGIN,)})
    known(at)
    findings = examine(examination(at, origin=ORIGIN), CHECKS)
    assert [(f.check.name, f.sentences) for f in findings if f.verdict is Verdict.BROKEN] == []
    assert sum(finding.verdict is Verdict.KEPT for finding in findings) > 70


# a.1 Discovery


def test_a01_discovery() -> None:
    """SHALL: GET /cds-services always answers 200 with an object with the array services."""
    assert keeps("A01")
    assert keeps("A01", site({"discovery_open": False}))


def test_a02_services() -> None:
    """SHALL: A service has hook, description and id as strings; it is called at its id."""
    assert keeps("A02")


def test_a03_title() -> None:
    """SHOULD: A service has a title."""
    assert keeps("A03")


def test_a04_prefetch_and_usage_requirements() -> None:
    """MAY: prefetch is an object of strings, usageRequirements is a string."""
    assert keeps("A04")


def test_a05_version() -> None:
    """SHOULD: version states the version of the specification (3.0 ballot)."""
    assert keeps("A05")
    services = site().client().get("/cds-services").get_json()["services"]
    assert {service["version"] for service in services} == {"2.0.1"}


def test_a06_ids() -> None:
    """SHALL: An id stands once for each hook; who calls is told apart by id and hook."""
    assert keeps("A06")
    assert len({service.hook for service in SERVICES.values()}) == len(SERVICES)


@pytest.mark.parametrize("state", list(State))
def test_a07_nothing_empty(state: State) -> None:
    """SHALL: No null, empty string, array or object is sent, but empty cards and services."""
    at = site()
    known(at, state, error_kind="timeout" if state is State.FAILED else "")
    assert keeps("A07", at)


def test_a08_potentially_long_running() -> None:
    """MAY: potentiallyLongRunning tells a client that a service may take long (proposed).

    Not offered: a call is answered from what is known, whatever the analysis takes; strict clients
    refuse unknown members.
    """
    assert keeps("A08")
    assert "potentiallyLongRunning" not in site().client().get("/cds-services").get_data(True)


def test_a09_unknown_members() -> None:
    """SHALL: Members of a request that are not known are passed over (Da Vinci CRD)."""
    assert keeps("A09")


def test_a10_extensions() -> None:
    """SHALL: Extensions are objects in a member extension, their names in reverse DNS (SHOULD)."""
    assert keeps("A10")


@pytest.mark.parametrize(("is_open", "status"), [(True, 200), (False, 401)])
def test_a11_discovery_without_a_token(is_open: bool, status: int) -> None:
    """MAY: Discovery answers without a token where it is configured so, for clients that probe."""
    at = site({"discovery_open": is_open})
    assert at.client().get("/cds-services").status_code == status


# a.2 Request


def test_a20_required_members() -> None:
    """SHALL: hook, hookInstance (a UUID) and context are required, fhirServer with a token."""
    assert keeps("A20")
    at = site()
    for path, good in CALLS.items():
        answer = call(at, good(context=None, hook=good()["hook"]), path)
        assert answer.status_code == 400
        assert "context" in answer.get_json()["issue"][0]["diagnostics"]
        assert call(at, good(hookInstance="1"), path).status_code == 400
        assert call(at, good(fhirAuthorization=authorization()), path).status_code == 400


def test_a21_own_hook() -> None:
    """SHALL: The hook of a call is one that the service is listed for."""
    assert keeps("A21")
    for path in CALLS:
        other = next(body for name, body in CALLS.items() if name != path)
        assert call(site(), other(), path).status_code == 400


def test_a22_authorization() -> None:
    """SHALL: access_token, token_type Bearer and scope; what is not read may be missing."""
    for name in ("access_token", "token_type", "scope"):
        given = authorization(**{name: None})
        assert call(site(), by_server(fhirAuthorization=given)).status_code == 400
    for borne in ({"expires_in": None}, {"expires_in": "300"}, {"subject": None}):
        given = authorization(**borne)
        assert call(site(), by_server(fhirAuthorization=given)).status_code == 200
    for odd in ({"expires_in": "soon"}, {"expires_in": True}, {"subject": 7}):
        given = authorization(**odd)
        assert call(site(), by_server(fhirAuthorization=given)).status_code == 400
    other = authorization(token_type="MAC")
    assert call(site(), by_server(fhirAuthorization=other)).status_code == 400


@pytest.mark.parametrize(
    ("scope", "letters"),
    [
        ("user/ImagingStudy.read", "rs"),
        ("patient/ImagingStudy.write", "cud"),
        ("system/*.*", "cruds"),
        ("user/ImagingStudy.rs", "rs"),
        ("user/ImagingStudy.rs?status=available", "rs"),
        ("user/ImagingStudy.sr", ""),
        ("openid launch", ""),
    ],
)
def test_a23_scopes(scope: str, letters: str) -> None:
    """SHALL: Scopes are read as SMART 1 (2.0) and as SMART 2 (3.0 ballot) writes them."""
    assert {letter for s in parse_scopes(scope) for letter in s.access} == set(letters)
    chart = {"fhir_server": ehr.FHIR_BASE, "access_token": "a-token"}
    assert keeps("A23", prefetch=prefetched(), **chart)


def test_a24_access_token(caplog: pytest.LogCaptureFixture) -> None:
    """SHALL: The access token is transient: never stored, shared or logged."""
    caplog.set_level("DEBUG")
    at = site()
    at.chart.resources = [imaging_study(), patient()]
    assert len(cards(at, by_server())) == 1
    assert at.chart.opened == [("ehr", "secret-token")]
    kept = json.dumps([at.queue.orders, str(at.redis.values), str(at.queue.records)])
    assert "secret-token" not in kept + caplog.text


def test_a25_token_after_the_answer() -> None:
    """SHOULD: Nothing needs the token once the call is answered, since the client revokes it."""
    at = site()
    at.chart.resources = [imaging_study(), patient()]
    cards(at, by_server())
    assert at.chart.closed == len(at.chart.opened) == 1
    assert "secret-token" not in str(at.queue.orders)


def test_a26_https() -> None:
    """SHALL: fhirServer is https in production."""
    answer = call(site(), by_server(fhirServer=ehr.FHIR_BASE.replace("https", "http")))
    assert answer.status_code == 403
    with pytest.raises(ValidationError, match="fhir_base must be https"):
        production(tenants=(ehr.tenant(fhir_base="http://ehr.example.org/fhir"),))


@pytest.mark.parametrize(
    "server",
    [
        "http://169.254.169.254/latest",
        "https://ehr.example.org.evil.example/fhir",
        "https://ehr.example.org@evil.example/fhir",
        "https://ehr.example.org/fhir/../admin",
        "file:///etc/passwd",
    ],
)
def test_a27_server_of_the_tenant(server: str) -> None:
    """SHALL: fhirServer is the one configured for the caller, or nothing is asked of it."""
    at = site()
    assert call(at, by_server(fhirServer=server)).status_code == 403
    assert at.chart.opened == []


def test_a28_time() -> None:
    """SHOULD: A call is answered in the order of 500 ms."""
    assert keeps("A28")


def test_a29_deadline() -> None:
    """SHALL: 90 % of answers come within 5 s (Da Vinci CRD): reading the chart has a deadline."""
    assert keeps("A29")
    at = site({"fhir_deadline_s": 2, "wait_ms": 500})
    at.chart.error = TimedOut("late", deadline_s=2)
    assert call(at, by_server()).status_code == 412
    known(at, State.INFERRING)
    cards(at)
    assert 0 < at.slept_s < 0.6


def test_a30_cold_start() -> None:
    """SHOULD: A cold start is no slow answer: a call loads no FHIR library."""
    code = """
import sys
from tests.doubles.hooking import PATIENT_VIEW, known, patient_view, site
at = site()
known(at)
answer = at.client().post(PATIENT_VIEW, json=patient_view(), headers=at.ehr.bearer(PATIENT_VIEW))
loaded = [name for name in sys.modules if name.startswith("fhir.resources")]
print(answer.status_code, len(answer.get_json()["cards"]), loaded)
"""
    run = [sys.executable, "-c", code]
    ran = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "200 1 []"


# a.3 Prefetch


def test_a40_tokens() -> None:
    """SHALL: Tokens are primitives at the root of the hook's context, or the current user."""
    assert keeps("A40")


def test_a41_subset() -> None:
    """SHALL: Templates stay in the portable subset: no _include, no chaining."""
    assert keeps("A41")


def test_a42_ballot_tokens() -> None:
    """SHOULD: No template has simple FHIRPath or a variable of the 3.0 ballot."""
    assert keeps("A42")


@pytest.mark.parametrize(
    ("sent", "asked", "shown"),
    [
        ({}, ["ImagingStudy"], 1),
        ({"studies": None}, [], 0),
        ({"studies": {"resourceType": "OperationOutcome", "issue": []}}, ["ImagingStudy"], 1),
        ({"studies": bundle()}, [], 0),
    ],
)
def test_a43_absent_null_failed_empty(sent: Any, asked: list[str], shown: int) -> None:
    """SHALL: An absent key is read, null is known to be empty, a failure is tried once."""
    assert keeps("A43")
    at = site()
    at.chart.resources = [imaging_study()]
    body = by_server() | {"prefetch": {"patient": patient(), **sent}}
    assert len(cards(at, body)) == shown
    assert at.chart.asked == asked


def test_a44_partial_prefetch() -> None:
    """SHALL: What a partial prefetch leaves out is read from fhirServer, and nothing else."""
    assert keeps("A44")
    at = site()
    at.chart.resources = [patient()]
    cards(at, by_server() | {"prefetch": {"studies": bundle(imaging_study())}})
    assert at.chart.asked == ["Patient/p1"]


@pytest.mark.parametrize("path", CALLS)
def test_a45_412(path: str) -> None:
    """SHALL: 412 when what is needed was neither prefetched nor can be read."""
    assert keeps("A45")
    body = {key: value for key, value in CALLS[path]().items() if key != "prefetch"}
    assert call(site(), body, path).status_code == 412


def test_a46_no_412_without_studies() -> None:
    """SHALL: 412 is not for a chart in which there is nothing: that is 200 without cards."""
    assert keeps("A46")
    assert cards(site(), by_server()) == []


def test_a47_pages() -> None:
    """MAY: A prefetch of several pages is completed from the configured server alone."""
    at = site()
    at.chart.resources = [imaging_study(), imaging_study(STUDY_UID + ".2"), patient()]
    page = bundle(imaging_study(), link=[{"relation": "next", "url": "https://evil.example/2"}])
    assert len(cards(at, by_server() | {"prefetch": {"studies": page}})) == 2
    assert len(cards(site(), patient_view(prefetch={"studies": page}))) == 1


def test_a48_odd_prefetch() -> None:
    """SHOULD: A prefetch of another shape counts as absent and makes nothing crash."""
    assert keeps("A48")
    assert call(site(), patient_view(prefetch={"studies": "<html>"})).status_code == 412


def test_a49_prefetch_alone_and_server_alone() -> None:
    """SHOULD: A service works by prefetch alone and by the FHIR server alone."""
    by_prefetch, at = site(), site()
    known(by_prefetch)
    known(at)
    at.chart.resources = [imaging_study(), patient()]
    assert cards(by_prefetch) == cards(at, by_server())
    assert keeps("A49", at, fhir_server=ehr.FHIR_BASE, access_token="a-token")


def test_a50_stale_prefetch() -> None:
    """SHOULD: What was sent grows old: a study that changed while it was read is read again."""
    before, after = SeriesFacts("1.2", "MR", instances=3), SeriesFacts("1.2", "MR", instances=4)
    check_unchanged([before], [before])
    with pytest.raises(StudyChanged):
        check_unchanged([before], [after])


# a.4 Hooks


@pytest.mark.parametrize("name", ["userId", "patientId", "encounterId"])
def test_a4_patient_view(name: str) -> None:
    """SHALL: patient-view 1.0 has userId, patientId and perhaps encounterId."""
    is_checked("patient-view", PATIENT_VIEW, name)


@pytest.mark.parametrize("name", ["userId", "patientId", "selections", "draftOrders"])
def test_a4_order_select(name: str) -> None:
    """SHALL: order-select 1.0 has userId, patientId, selections, draftOrders."""
    is_checked("order-select", ORDER_SELECT, name)


@pytest.mark.parametrize("name", ["userId", "patientId", "draftOrders"])
def test_a4_order_sign(name: str) -> None:
    """SHALL: order-sign 1.0 has userId, patientId, draftOrders, whether drafts or signed before."""
    is_checked("order-sign", ORDER_SIGN, name)


@pytest.mark.parametrize("name", ["patientId", "dispatchedOrders", "performer", "fulfillmentTasks"])
def test_a4_order_dispatch(name: str) -> None:
    """SHALL: order-dispatch 1.1 has patientId, dispatchedOrders, performer, and no userId."""
    is_checked("order-dispatch", ORDER_DISPATCH, name)


@pytest.mark.parametrize("name", ["userId", "patientId", "encounterId"])
def test_a4_encounter_start(name: str) -> None:
    """SHALL: encounter-start 1.0 has userId, patientId, encounterId."""
    is_checked("encounter-start", ENCOUNTER_START, name)


@pytest.mark.parametrize("name", ["userId", "patientId", "encounterId"])
def test_a4_encounter_discharge(name: str) -> None:
    """SHALL: encounter-discharge 1.0 has userId, patientId, encounterId."""
    is_checked("encounter-discharge", DISCHARGE, name)


OPTIONAL = {(PATIENT_VIEW, "encounterId"), (ORDER_DISPATCH, "fulfillmentTasks")}


def is_checked(hook: str, path: str, name: str) -> None:
    """The golden call has its golden answer; one without the field, or with an odd one, is 400."""
    pair = golden(hook)
    at, _ = chart_site()
    assert answer_to(at, hook, pair["request"]) == pair["answer"]
    context = pair["request"]["context"]
    without = {key: value for key, value in context.items() if key != name}
    status = call(at, pair["request"] | {"context": without}, path).status_code
    assert status == (200 if (path, name) in OPTIONAL else 400)
    for odd in ("a b/c?", {"a": 1}):
        body = pair["request"] | {"context": context | {name: odd}}
        assert call(at, body, path).status_code == 400
    assert keeps("a.4")


# a.5 Cards


def test_a60_cards() -> None:
    """SHALL: A call is answered 200 with the array cards, which is empty if nothing is to say."""
    assert keeps("A60")
    assert cards(site(), patient_view(prefetch={"studies": None})) == []


@pytest.mark.parametrize("state", list(State))
def test_a61_required_members(state: State) -> None:
    """SHALL: A card has summary, indicator and source.label."""
    at = site()
    known(at, state)
    assert keeps("A61", at)


@pytest.mark.parametrize("state", list(State))
def test_a62_summary(state: State) -> None:
    """SHALL: A summary is one sentence of fewer than 140 characters."""
    label = FINDING.results[0].finding
    assert label is not None
    long = label.model_copy(update={"display": "glioma " * 60})
    result = FINDING.results[0].model_copy(update={"finding": long})
    at = site(organisation="Hospital " * 40)
    known(at, state, summary=FINDING.model_copy(update={"results": (result,)}).to_json())
    assert keeps("A62", at)


def test_a63_indicator() -> None:
    """SHALL: indicator is info, warning or critical, as the site configures it."""
    for indicator in ("info", "warning", "critical"):
        at = site({"finding_indicator": indicator})
        known(at)
        assert keeps("A63", at)
        assert cards(at)[0]["indicator"] == indicator


def test_a64_detail() -> None:
    """SHALL: detail is GitHub Flavored Markdown; nothing from outside is markup in it."""
    label = FINDING.results[0].finding
    assert label is not None
    hostile = label.model_copy(update={"display": "<script>x</script>[a](javascript:x)"})
    result = FINDING.results[0].model_copy(
        update={"finding": hostile, "model_title": "<iframe src=x>", "probabilities": (hostile,)}
    )
    at = site(organisation="<b>St. Elsewhere</b>")
    known(at, summary=FINDING.model_copy(update={"results": (result,)}).to_json())
    assert keeps("A64", at)


def test_a65_uuid() -> None:
    """SHALL: uuid is unique among the cards, and the same for the same card."""
    assert keeps("A65")
    at = site()
    second = imaging_study(STUDY_UID + ".2")
    known(at)
    known(at, study=second)
    body = patient_view(prefetch={"studies": bundle(imaging_study(), second)})
    first, again = cards(at, body), cards(at, body)
    assert len({str(uuid.UUID(card["uuid"])) for card in first}) == 2
    assert first == again


def test_a66_source() -> None:
    """SHALL: source.url and source.icon are absolute; source.topic is a Coding (Da Vinci CRD)."""
    assert keeps("A66")
    at = site()
    known(at)
    assert set(cards(at)[0]["source"]["topic"]) >= {"system", "code"}


def test_a67_selection_behavior() -> None:
    """SHALL: With suggestions, selectionBehavior is at-most-one or any; our cards have neither."""
    assert keeps("A67")
    assert {"suggestions", "selectionBehavior"}.isdisjoint(one_card())


def test_a68_suggestions() -> None:
    """SHALL: Suggestions have labels, and one is recommended at most.

    Not offered: an AI that no person reviewed suggests no order; what it found is shown.
    """
    assert keeps("A68")
    assert "suggestions" not in one_card()


def test_a69_actions() -> None:
    """SHALL: Actions are create, update or delete, with a description and a resource.

    Not offered: there are no suggestions to have actions.
    """
    assert keeps("A69")
    assert "actions" not in json.dumps(one_card())


def test_a70_action_selection_behavior() -> None:
    """SHALL: actionSelectionBehavior goes to no client that is not known to support it."""
    assert keeps("A70")
    assert "actionSelectionBehavior" not in json.dumps(one_card())


def test_a71_override_reasons() -> None:
    """SHALL: overrideReasons are Codings with code, system and display."""
    assert keeps("A71")
    assert len(one_card()["overrideReasons"]) == 5


def test_a72_links() -> None:
    """SHALL: Links have label, absolute url and type; appContext goes with smart alone."""
    assert keeps("A72")
    assert {link["type"] for link in one_card()["links"]} == {"absolute"}


def test_a73_app_context() -> None:
    """SHOULD: Links work in EHRs that do not support appContext."""
    assert "appContext" not in json.dumps(one_card())


def test_a74_few_links() -> None:
    """SHOULD: All links lead to one host that an EHR can put on its list."""
    assert all(link["url"].startswith(f"{ehr.BASE_URL}/") for link in one_card()["links"])


def test_a75_opaque_links() -> None:
    """SHALL: A link has no secret of the EHR and nothing of the patient in it."""
    assert keeps("A75")
    urls = " ".join(link["url"] for link in one_card()["links"])
    assert not any(word in urls for word in ("p1", STUDY_UID, "MRN", "secret"))


def test_a76_transient_cards() -> None:
    """SHOULD: The next call of the hook has the study's card again, not one more."""
    at = site()
    known(at, State.INFERRING)
    before = cards(at)
    known(at)
    after = cards(at)
    assert (len(before), len(after)) == (1, 1)
    assert before[0]["extension"][EXTENSION]["study"] == after[0]["extension"][EXTENSION]["study"]


def test_a77_relevance() -> None:
    """SHALL: Only what is relevant is returned: one card a study, while ordering findings alone."""
    at = site({"studies": 2})
    many = [imaging_study(f"{STUDY_UID}.{n}", started=f"2026-03-0{n}") for n in range(1, 7)]
    assert len(cards(at, patient_view(prefetch={"studies": bundle(*many)}))) == 2
    assert cards(site(), order_select(), ORDER_SELECT) == []


# a.6 systemActions, feedback, errors


def test_a80_no_system_actions() -> None:
    """SHOULD: No system action is returned that was not agreed on.

    Not offered: results are written by the service itself, as preliminary, and reviewed by people.
    """
    at = site()
    known(at)
    assert set(call(at).get_json()) == {"cards"}


def test_a81_no_repeated_system_actions() -> None:
    """SHALL: A system action is not returned again for what has not changed (Da Vinci CRD)."""
    for path in CALLS:
        at = site()
        known(at, State.INFERRING)
        waiting = call(at, path=path)
        known(at)
        again = [call(at, path=path) for _ in range(2)]
        members = [set(answer.get_json()) for answer in (waiting, *again)]
        assert members == [{"cards"}] * 3, path


def test_a82_feedback() -> None:
    """SHALL: Feedback of the specified form is accepted, repeats count once, others are 400."""
    assert keeps("A82")
    at = site()
    known(at)
    (card,) = cards(at)
    assert [feedback(at, card=card["uuid"]) for _ in range(3)] == [200, 200, 200]
    (tally,) = at.ledger.tallies()
    assert (tally.model, tally.outcome, tally.cards) == ("brain-mri-tumour", "overridden", 1)


def test_a83_ignored() -> None:
    """SHALL: A card that is ignored is not reported, and nobody may say so."""
    assert feedback(site(), outcome="ignored") == 400


def test_a84_comments() -> None:
    """SHALL: A comment may name a patient: it is forgotten."""
    at = site()
    known(at)
    (card,) = cards(at)
    assert feedback(at, card=card["uuid"], overrideReason={"userComment": "Mrs Canary"}) == 200
    assert "Canary" not in str(at.redis.values)


def test_a85_errors() -> None:
    """SHOULD: Errors have an OperationOutcome (3.0 ballot); a stack trace is never shown."""
    assert keeps("A85")
    at = site()
    at.queue.error = RuntimeError("of Mrs Canary")
    answer = call(at)
    assert answer.status_code == 500
    assert answer.get_json()["resourceType"] == "OperationOutcome"
    assert "Canary" not in answer.get_data(as_text=True)


def test_a86_refusals() -> None:
    """SHOULD: A token that is not accepted is 401 without a reason, always the same."""
    assert keeps("A86")


def test_a87_statuses() -> None:
    """SHALL: 404 for an unknown service, 405, 415; application/json may state UTF-8."""
    assert keeps("A87")
    text = json.dumps(patient_view())
    for kind, status in (("application/json;charset=UTF-8", 200), ("text/plain", 415)):
        at = site()
        headers = at.ehr.bearer(PATIENT_VIEW)
        answer = at.client().post(PATIENT_VIEW, data=text, content_type=kind, headers=headers)
        assert answer.status_code == status


def test_a88_the_ehr_goes_on() -> None:
    """SHALL: Nothing that fails behind us stops the EHR: a queue that is down is one card."""
    at = site()
    at.queue.error = QueueUnavailable("down")
    (card,) = cards(at)
    assert card["extension"][EXTENSION] == {"state": "unavailable"}
    at.redis.down = True
    assert len(cards(at)) == 1


# a.7 Security


def production(**changes: Any) -> Settings:
    """Settings of a site in production."""
    return settings(environment="production", site_secrets=("s" * 40,), **changes)


def test_a90_tls() -> None:
    """SHALL: All production traffic is over TLS: another public address is refused at start."""
    assert production().base_url.startswith("https://")
    with pytest.raises(ValidationError, match="base_url must be https"):
        production(base_url="http://scanhook.example.org")


def test_a91_authentication() -> None:
    """SHOULD: Who calls is authenticated, since data may leak: without a token it is 401."""
    assert keeps("A91")
    for path in (*CALLS, FEEDBACK):
        assert site().client().post(path, json={}).status_code == 401


def test_a92_claims() -> None:
    """SHALL: iss, aud, exp, iat and jti are required; alg, kid and typ JWT; others do no harm."""
    assert keeps("A92")
    at = site()
    for header in ({"kid": None}, {"typ": None}, {"typ": "at+jwt"}):
        token = at.ehr.token(ehr.BASE_URL + PATIENT_VIEW, header)
        assert call(at, Authorization=f"Bearer {token}").status_code == 401


def test_a93_algorithms() -> None:
    """SHALL: none and symmetric algorithms are never accepted; the signature is verified."""
    assert keeps("A93")


def test_a94_audience() -> None:
    """SHALL: aud is the URL of this very endpoint, made from our public address."""
    assert keeps("A94")
    at = site()
    elsewhere = at.ehr.bearer(ORDER_SELECT)
    assert call(at, **elsewhere).status_code == 401
    assert call(at, Host="internal:8080").status_code == 200


def test_a95_issuers() -> None:
    """SHALL: Issuers and their key sets are configured; a jku is never followed."""
    assert keeps("A95")
    at = site()
    token = at.ehr.token(
        ehr.BASE_URL + PATIENT_VIEW, {"jku": "https://evil.example/jwks.json", "kid": "x"}
    )
    assert call(at, Authorization=f"Bearer {token}").status_code == 401
    assert set(at.fetched) <= {ehr.JWKS_URL}


def test_a96_replay() -> None:
    """SHOULD: A token is good once, over all processes; without Redis no card is shown."""
    assert keeps("A96")
    at = site()
    known(at)
    same = at.ehr.bearer(PATIENT_VIEW)
    assert [call(at, **same).status_code for _ in range(2)] == [200, 401]
    at.redis.down = True
    assert [card["extension"][EXTENSION] for card in cards(at)] == [{"state": "unavailable"}]


@pytest.mark.parametrize(("skew_s", "status"), [(-59, 200), (59, 200), (-400, 401), (61, 401)])
def test_a97_clock_skew(skew_s: int, status: int) -> None:
    """SHOULD: exp, iat and nbf hold, with a small difference of the clocks."""
    assert keeps("A97")
    at = site()
    at.ehr.now_s += skew_s
    assert call(at).status_code == status


def test_a98_key_rotation() -> None:
    """SHOULD: A rotated key is found without a restart; invented kids cause one look a minute."""
    at = site()
    client, path = at.client(), PATIENT_VIEW
    for _ in range(20):
        token = at.ehr.token(ehr.BASE_URL + path, {"kid": str(uuid.uuid4())})
        client.post(path, json=patient_view(), headers={"Authorization": f"Bearer {token}"})
    assert len(at.fetched) == 1
    at.keys.append(ehr.jwks(ehr.jwk(ehr.OTHER_KEY, "new")))
    at.now_s += 61
    rotated = ehr.Ehr(now_s=at.now_s, key=ehr.OTHER_KEY, kid="new").bearer(path)
    assert client.post(path, json=patient_view(), headers=rotated).status_code == 200
    assert len(at.fetched) == 2


def test_a99_tenant() -> None:
    """SHOULD: Where the claim tenant is used, tenants are listed."""
    north, south = (
        ehr.tenant(name=name, tenant_claim=name, fhir_base=f"https://{name}.example.org/fhir")
        for name in ("north", "south")
    )
    at = site(tenants=(north, south))

    def of(claim: str | None, whose: str = "south") -> int:
        token = at.ehr.token(ehr.BASE_URL + PATIENT_VIEW, tenant=claim)
        body = patient_view(fhirServer=f"https://{whose}.example.org/fhir")
        return call(at, body, Authorization=f"Bearer {token}").status_code

    assert of("south") == 200
    assert of("south", whose="north") == 403
    assert [of("east"), of(None), of("")] == [401, 401, 401]


def test_a100_logs(caplog: pytest.LogCaptureFixture) -> None:
    """SHOULD: A token is never logged, accepted or not."""
    caplog.set_level("DEBUG")
    at = site()
    good = at.ehr.bearer(PATIENT_VIEW)
    statuses = [call(at, **good).status_code for _ in range(2)]
    assert statuses == [200, 401]
    assert good["Authorization"].split(".")[2] not in caplog.text


def test_a101_sandbox_issuer() -> None:
    """SHALL: The public sandbox, whose private key is public, is no issuer in production."""
    assert settings().tenant_of("https://sandbox.cds-hooks.org") is None
    with pytest.raises(ValidationError, match="private key"):
        production(tenants=(ehr.tenant(issuer="https://sandbox.cds-hooks.org"),))


def test_a102_mutual_tls() -> None:
    """MAY: Mutual TLS joins the token: a certificate that a listed proxy hands on is compared."""
    at = site(
        tenants=(ehr.tenant(client_certificates=["CN=ehr.example.org"]),),
        mutual_tls={"proxies": ["127.0.0.1/32"], "header": "X-SSL-Client-S-DN"},
    )
    names = ({}, {"X-SSL-Client-S-DN": "CN=else"}, {"X-SSL-Client-S-DN": "CN=ehr.example.org"})
    assert [call(at, **name).status_code for name in names] == [401, 401, 200]
    without_token = at.client().post(PATIENT_VIEW, json=patient_view(), headers=names[-1])
    assert without_token.status_code == 401


def test_a103_browser_clients() -> None:
    """SHALL: Browser clients of listed origins may call; preflights and errors have the headers,
    but for a refusal by the server itself where no Origin could be read of the request (400, 431),
    and for its last resort (500).
    """
    assert keeps("A103")
    at = site({"cors_origins": (ORIGIN,)})
    for path in ("/cds-services", PATIENT_VIEW, FEEDBACK):
        answer = at.client().options(path, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a104_wrong_audience(caplog: pytest.LogCaptureFixture) -> None:
    """MAY: An audience that an EHR has wrong is accepted where a site says so, with a warning."""
    strict, lenient = site(), site(tenants=(ehr.tenant(accepted_audiences=["sand_man"]),))
    for at, status in ((strict, 401), (lenient, 200)):
        token = at.ehr.token("sand_man")
        assert call(at, Authorization=f"Bearer {token}").status_code == status
    assert [r.message for r in caplog.records].count("audience of another endpoint") == 1
    assert "accepted_audiences" in str(lenient.client().get("/readyz").get_json()["warnings"])
    assert "warnings" not in strict.client().get("/readyz").get_json()


def one_card() -> dict[str, Any]:
    at = site()
    known(at)
    (card,) = cards(at)
    return card


def test_calls_of_the_tool_are_those_that_it_says_it_makes() -> None:
    """Every call is to discovery, a listed service, its feedback, or one that does not exist."""
    at = site({"cors_origins": (ORIGIN,)})
    known(at)
    exam = examination(at, origin=ORIGIN)
    examine(exam, CHECKS)
    assert isinstance(exam.sender, ClientSender)
    paths = {sent.path for sent in exam.sender.calls}
    unknown = "/cds-services/no-service-has-this-id"
    called = (*CALLS, unknown)
    assert paths <= {"/cds-services", *called, *(f"{path}/feedback" for path in called)}
    assert len(exam.sender.calls) == exam.requests < 150
