"""Charts of another FHIR server: read with its token, and never written to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, jsonify, request
from flask.testing import FlaskClient

from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.fhir import FhirServer
from cds_service.sandbox import SandboxPlan, serve
from cds_service.sandbox.ehr import Ehr, Elsewhere, create_ehr_app
from cds_service.sandbox.hook_client import FixedToken, Site
from cds_service.sandbox.records import OtherRecords
from cds_service.sandbox.visit import PROCEDURES
from cds_service.security.egress import Allowance
from cds_service.security.keys import generate_signing_key
from tests.doubles.cds_service import CdsServiceDouble
from tests.doubles.listening import listening

PATIENT = {"resourceType": "Patient", "id": "7", "name": [{"text": "田中 花子"}]}
REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "status": "preliminary",
    "conclusion": "AI suggests something",
}


@dataclass
class OtherServer:
    """A FHIR server that knows one patient, and no search for Media."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)
    base_url: str = ""

    def app(self) -> Flask:
        app = Flask(__name__)

        @app.before_request
        def remember() -> None:
            token = request.headers.get("Authorization", "")
            self.asked.append((request.method, request.full_path, token))

        @app.get("/fhir/Patient/7")
        def read() -> Any:
            return _fhir(PATIENT)

        @app.get("/fhir/<kind>")
        def search(kind: str) -> Any:
            if kind == "Media":
                return _fhir({"resourceType": "OperationOutcome", "issue": []}), 400
            rows = {"Patient": [PATIENT], "DiagnosticReport": [REPORT]}.get(kind, [])
            entries = [{"resource": row, "search": {"mode": "match"}} for row in rows]
            return _fhir({"resourceType": "Bundle", "type": "searchset", "entry": entries})

        return app


def _fhir(body: dict[str, Any]) -> Any:
    answer = jsonify(body)
    answer.mimetype = "application/fhir+json"
    return answer


@pytest.fixture
def other() -> Iterator[OtherServer]:
    server = OtherServer()
    with listening(server.app()) as url:
        server.base_url = f"{url}/fhir"
        yield server


@pytest.fixture
def service() -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble() as double:
        yield double


@pytest.fixture
def browser(
    other: OtherServer, service: CdsServiceDouble, tmp_path_factory: pytest.TempPathFactory
) -> FlaskClient:
    key = generate_signing_key(tmp_path_factory.mktemp("key") / "ehr.json")
    base = Allowance("other", other.base_url, http_ok=True)
    records = OtherRecords(FhirServer(base, credential=FixedHeaders.bearer("theirs")))
    site = Site("http://localhost", other.base_url, "", service.base_url)
    elsewhere = Elsewhere(records, FixedToken("theirs"))
    return create_ehr_app(Ehr(site, key, (), {}, elsewhere=elsewhere)).test_client()


def test_its_patients_are_listed_and_a_chart_hands_its_token_on(
    browser: FlaskClient, service: CdsServiceDouble, other: OtherServer
) -> None:
    assert "田中 花子" in browser.get("/").get_data(as_text=True)
    page = browser.get("/patients/7").get_data(as_text=True)
    (call,) = service.calls
    assert call["fhirServer"] == other.base_url
    assert call["fhirAuthorization"]["access_token"] == "theirs"
    assert call["prefetch"]["patient"] == PATIENT
    assert "AI suggests something" in page
    assert "theirs" not in page
    assert {token for _, _, token in other.asked} == {"Bearer theirs"}
    reports = [path for _, path, _ in other.asked if "/DiagnosticReport?" in path]
    assert reports
    assert all("_lastUpdated=ge20" in path for path in reports)


def test_a_hook_names_the_server_as_the_service_knows_it(
    service: CdsServiceDouble, other: OtherServer, tmp_path: Path
) -> None:
    """In containers the service has another way to that server than the charts have."""
    known_as = "http://fhir:8080/fhir"
    plan = SandboxPlan(
        service.base_url, tmp_path, with_demo=False, other_fhir=other.base_url, fhir_as=known_as
    )
    with serve(plan) as sandbox:
        opened = requests.post(f"{sandbox.ehr_url}/sandbox/open/7", timeout=20)
    assert opened.json()["status"] == 200
    (call,) = service.calls
    assert call["fhirServer"] == known_as
    assert call["prefetch"]["patient"] == PATIENT
    assert sandbox.fhir_url == other.base_url


def test_an_order_is_not_written_there(
    browser: FlaskClient, service: CdsServiceDouble, other: OtherServer
) -> None:
    form = {"procedure": PROCEDURES[0], "step": "dispatch"}
    assert browser.post("/patients/7/order", data=form).status_code == 200
    assert service.calls[-1]["hook"] == "order-dispatch"
    assert {method for method, _, _ in other.asked} == {"GET"}


@pytest.mark.parametrize("path", ["/fhir/metadata", "/auth/token", "/fhir/Patient/7"])
def test_there_is_no_server_of_our_own_then(browser: FlaskClient, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_a_server_that_does_not_answer_is_a_sentence(
    service: CdsServiceDouble, tmp_path: Any
) -> None:
    base = Allowance("other", "http://127.0.0.1:1/fhir", http_ok=True)
    key = generate_signing_key(tmp_path / "ehr.json")
    records = OtherRecords(FhirServer(base))
    site = Site("http://localhost", base.base_url, "", service.base_url)
    ehr = Ehr(site, key, (), {}, elsewhere=Elsewhere(records, FixedToken("")))
    answer = create_ehr_app(ehr).test_client().get("/")
    assert answer.status_code == 502
    assert "This cannot be shown" in answer.get_data(as_text=True)
