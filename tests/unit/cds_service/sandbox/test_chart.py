"""The charts: hostile cards stay text, waiting is bounded, setting aside is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.hooks.request import parse_request
from cds_service.sandbox.chart import MOST_REFRESHES
from cds_service.sandbox.ehr import Ehr, create_ehr_app
from cds_service.sandbox.hook_client import Site
from cds_service.sandbox.seed import patient_key, seed
from cds_service.sandbox.shown import shown_resource
from cds_service.sandbox.visit import PROCEDURES
from cds_service.security.keys import generate_signing_key
from tests.doubles.cds_service import CdsServiceDouble
from tests.unit.cds_service.sandbox.conftest import Folder

CARD: dict[str, Any] = {
    "uuid": "6f5bbd6e-8a3d-4a0e-9a49-6f0b7c5f6f00",
    "summary": "AI suggests <b>something</b>",
    "indicator": "warning",
    "source": {"label": "scanhook"},
    "detail": "**bold**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>alert(1)</script>\n\n"
    "[x](javascript:alert(1)) ![y](https://elsewhere.test/z.png)",
    "links": [
        {"label": "Why", "url": "https://scanhook.test/e/1", "type": "absolute"},
        {"label": "App", "url": "https://scanhook.test/app", "type": "smart"},
        {"label": "Bad", "url": "javascript:alert(2)", "type": "absolute"},
    ],
    "overrideReasons": [{"code": "disagree", "system": "urn:r", "display": "I disagree"}],
    "extension": {"org.scanhook.result": {"state": "final", "outcome": "finding"}},
}
SUGGESTION = {"label": "Order a follow-up", "uuid": "2b1f"}
WAITING = {
    "summary": "running",
    "indicator": "info",
    "source": {"label": "s"},
    "extension": {"org.scanhook.result": {"state": "inferring"}},
}


@pytest.fixture
def service() -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble() as double:
        yield double


@pytest.fixture
def browser(
    service: CdsServiceDouble, folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> FlaskClient:
    key = generate_signing_key(tmp_path_factory.mktemp("key") / "ehr.json")
    site = Site("http://localhost", "http://localhost/fhir", "", service.base_url)
    resources = seed(folder.catalogue, "http://archive.test/dicom-web")
    return create_ehr_app(Ehr(site, key, resources, {})).test_client()


@pytest.fixture
def chart(folder: Folder) -> str:
    return f"/patients/{patient_key(next(iter(folder.catalogue.studies.values())))}"


def test_every_patient_is_listed_with_the_study(browser: FlaskClient) -> None:
    page = browser.get("/").get_data(as_text=True)
    assert page.count('<a href="/patients/') == 3
    assert "Ada Demo Synthetic" in page


def test_every_page_links_to_operations_where_there_are_some(
    service: CdsServiceDouble, tmp_path: Path
) -> None:
    key = generate_signing_key(tmp_path / "ehr.json")
    site = Site("http://localhost", "http://localhost/fhir", "", service.base_url)
    for address in ("", "http://scanhook.test/ops"):
        ehr = Ehr(site, key, (), {}, operations=address)
        page = create_ehr_app(ehr).test_client().get("/").get_data(as_text=True)
        assert ("Operations" in page) is bool(address)
        assert f'href="{address}"' in page or not address


def test_a_hostile_card_stays_text(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: {"cards": [CARD]}
    page = browser.get(chart).get_data(as_text=True)
    card = page.partition("<article")[2].partition("</article>")[0]
    assert "AI suggests &lt;b&gt;something&lt;/b&gt;" in card
    assert "<strong>bold</strong>" in card
    assert "<td>1</td>" in card
    assert "<script" not in card
    assert "<img" not in card
    assert 'href="javascript' not in card
    assert 'href="https://scanhook.test/e/1"' in card
    assert 'href="https://scanhook.test/app"' not in card


def test_no_page_asks_anybody_else_for_anything(browser: FlaskClient, chart: str) -> None:
    for path in ("/", chart):
        answer = browser.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        page = answer.get_data(as_text=True)
        assert 'src="http' not in page
        assert "style=" not in page
    for name in ("chart.css", "chart.js", "icon.svg"):
        assert browser.get(f"/chart/{name}").status_code == 200


def test_a_running_analysis_is_asked_for_again_but_not_for_ever(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: {"cards": [WAITING]}
    page = browser.get(chart).get_data(as_text=True)
    assert '<meta http-equiv="refresh" content="2; url=?again=1">' in page
    late = browser.get(f"{chart}?again={MOST_REFRESHES}").get_data(as_text=True)
    assert "http-equiv" not in late
    assert "Still no result" in late
    service.answer = lambda _: {"cards": [CARD]}
    assert "http-equiv" not in browser.get(chart).get_data(as_text=True)


def test_a_card_that_was_set_aside_is_not_shown_again(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: {"cards": [CARD]}
    browser.get(chart)
    form = {"card": CARD["uuid"], "reason": "disagree", "comment": " twice "}
    answer = browser.post(f"{chart}/feedback", data=form)
    assert (answer.status_code, answer.location) == (303, chart)
    (entry,) = service.feedback[0]["feedback"]
    assert service.feedback[0]["service"] == "imaging-ai-patient-view"
    assert (entry["card"], entry["outcome"]) == (CARD["uuid"], "overridden")
    assert entry["overrideReason"] == {"reason": CARD["overrideReasons"][0], "userComment": "twice"}
    page = browser.get(chart).get_data(as_text=True)
    assert "<article" not in page
    assert "Set aside: I disagree" in page
    assert "overridden: I disagree" in page.partition("Feedback sent")[2]


def test_a_chart_without_a_card_says_why_and_where_other_answers_go(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: {"cards": []}
    page = browser.get(chart).get_data(as_text=True)
    assert "No card: there is nothing to say" in page
    assert "this EHR does not see them" in page.partition("Feedback sent")[2]


def test_a_suggestion_that_was_accepted_is_told_by_its_id(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: {"cards": [{**CARD, "suggestions": [SUGGESTION]}]}
    assert SUGGESTION["label"] in browser.get(chart).get_data(as_text=True)
    browser.post(f"{chart}/feedback", data={"card": CARD["uuid"], "accept": SUGGESTION["uuid"]})
    (entry,) = service.feedback[0]["feedback"]
    assert entry["outcome"] == "accepted"
    assert entry["acceptedSuggestions"] == [{"id": SUGGESTION["uuid"]}]
    assert "overrideReason" not in entry
    assert "Accepted: Order a follow-up" in browser.get(chart).get_data(as_text=True)


def test_a_number_stays_with_its_per_cent_sign(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    said = {**CARD, "summary": "over 95 %", "detail": "95 %, a % b"}
    service.answer = lambda _: {"cards": [said]}
    page = browser.get(chart).get_data(as_text=True)
    assert "<h3>over 95\u00a0%</h3>" in page
    assert "<p>95\u00a0%, a % b</p>" in page


@pytest.mark.parametrize("card", ["", "never-shown"])
def test_there_is_no_feedback_on_a_card_that_was_not_shown(
    browser: FlaskClient, service: CdsServiceDouble, chart: str, card: str
) -> None:
    assert browser.post(f"{chart}/feedback", data={"card": card}).status_code == 404
    assert service.feedback == []


@pytest.mark.parametrize(
    ("path", "step", "hook"),
    [
        ("order", "select", "order-select"),
        ("order", "sign", "order-sign"),
        ("order", "dispatch", "order-dispatch"),
        ("encounter", "start", "encounter-start"),
        ("encounter", "discharge", "encounter-discharge"),
    ],
)
def test_each_step_fires_its_hook_as_our_own_service_reads_it(
    browser: FlaskClient, service: CdsServiceDouble, chart: str, path: str, step: str, hook: str
) -> None:
    service.answer = lambda _: {"cards": [CARD]}
    form = {"step": step, "procedure": PROCEDURES[0]}
    page = browser.post(f"{chart}/{path}", data=form).get_data(as_text=True)
    asked = parse_request(service.calls[-1], hook)
    assert asked.context.patient_id == chart.rpartition("/")[2]
    assert page.count("<article") == 1


@pytest.mark.parametrize("path", ["order", "encounter"])
@pytest.mark.parametrize("form", [{}, {"step": "fly"}, {"step": "sign", "procedure": "Surgery"}])
def test_a_step_that_is_none_is_refused(
    browser: FlaskClient, service: CdsServiceDouble, chart: str, path: str, form: dict[str, str]
) -> None:
    assert browser.post(f"{chart}/{path}", data=form).status_code == 400
    assert service.calls == []


def test_a_signed_order_stands_in_the_chart(browser: FlaskClient, chart: str) -> None:
    def ordered() -> int:
        page = browser.get(chart).get_data(as_text=True)
        return page.partition("<h2>Orders")[2].partition("</section>")[0].count(PROCEDURES[1])

    form = {"procedure": PROCEDURES[1]}
    for step, times in (("select", 0), ("sign", 0), ("dispatch", 1), ("dispatch", 1)):
        browser.post(f"{chart}/order", data=form | {"step": step})
        assert ordered() == times


def test_an_encounter_ends_and_another_begins(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    browser.get(chart)
    first = service.calls[-1]["context"]["encounterId"]
    browser.post(f"{chart}/encounter", data={"step": "end"})
    assert "Start encounter" in browser.get(chart).get_data(as_text=True)
    assert "encounterId" not in service.calls[-1]["context"]
    browser.post(f"{chart}/encounter", data={"step": "start"})
    assert service.calls[-1]["context"]["encounterId"] != first
    assert "Discharge" in browser.get(chart).get_data(as_text=True)


def test_a_hook_that_the_service_does_not_offer_is_said(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.hooks = ("patient-view",)
    form = {"step": "sign", "procedure": PROCEDURES[0]}
    page = browser.post(f"{chart}/order", data=form).get_data(as_text=True)
    assert "offers nothing for order-sign" in page


def test_another_service_is_found_by_its_hook(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.ids = {"patient-view": ("sepsis", "lung")}
    service.answer = lambda _: {"cards": [CARD]}
    page = browser.get(chart).get_data(as_text=True)
    assert service.called == ["sepsis", "lung"]
    assert page.count("<article") == 2


def test_another_sites_page_cannot_press_a_button(browser: FlaskClient, chart: str) -> None:
    form = {"step": "select", "procedure": PROCEDURES[0]}
    url = f"{chart}/order"
    other = browser.post(url, data=form, headers={"Origin": "https://elsewhere.test"})
    own = browser.post(url, data=form, headers={"Origin": "http://localhost"})
    assert (other.status_code, own.status_code) == (403, 200)


def test_a_chart_works_without_the_service(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    service.answer = lambda _: ("", 503)
    page = browser.get(chart)
    assert page.status_code == 200
    assert "answered 503" in page.get_data(as_text=True)


def test_what_was_sent_can_be_read_without_its_token(
    browser: FlaskClient, service: CdsServiceDouble, chart: str
) -> None:
    page = browser.get(chart).get_data(as_text=True)
    token = service.calls[0]["fhirAuthorization"]["access_token"]
    assert service.calls[0]["hookInstance"] in page
    assert token not in page


def test_a_patient_who_is_not_there_is_a_404(browser: FlaskClient) -> None:
    assert browser.get("/patients/nobody").status_code == 404
    assert browser.get("/nothing").status_code == 404
    assert browser.get("/fhir").get_json()["resourceType"] == "OperationOutcome"


def test_the_key_set_is_public_and_holds_no_private_part(browser: FlaskClient) -> None:
    answer = browser.get("/.well-known/jwks.json")
    (key,) = answer.get_json()["keys"]
    assert {"kty", "crv", "x", "y", "kid"} <= set(key)
    assert "d" not in key
    assert "max-age" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("status", "shown"), [("final", "Possible tumour"), ("entered-in-error", "Withdrawn: MRI")]
)
def test_what_was_withdrawn_is_not_shown_as_a_finding(status: str, shown: str) -> None:
    report = {"resourceType": "DiagnosticReport", "status": status, "code": {"text": "MRI"}}
    stated = {**report, "conclusion": "Possible tumour"}
    assert shown_resource(stated)["what"] == shown
    value = {"code": {"text": "MRI"}, "valueCodeableConcept": {"text": "Tumour"}}
    observed = {"resourceType": "Observation", "status": status, **value}
    assert ("Tumour" in shown_resource(observed)["what"]) is (status == "final")
