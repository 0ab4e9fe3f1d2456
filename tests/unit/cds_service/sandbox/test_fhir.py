"""The demo FHIR server keeps the rules of R4 that writers of results lean on."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.sandbox.fhir_routes import FHIR_JSON, fhir_routes
from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.tokens import Tokens
from tests.unit.cds_service.sandbox.conftest import Clock

BASE = "http://ehr.test/fhir"
SYSTEM = "urn:scanhook"


class Server:
    """The server with a token that may do everything."""

    def __init__(self, client: FlaskClient, store: FhirStore, tokens: Tokens) -> None:
        self.client, self.store, self.tokens = client, store, tokens
        self.token = tokens.issue("test", ["system/*.cruds"], 300)

    def send(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> Any:
        sent = {"Authorization": f"Bearer {self.token if token is None else token}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {"content_type": FHIR_JSON} if body is not None else {}
        return self.client.open(
            f"/fhir{path}", method=method, json=body, headers={**sent, **named}, **kind
        )

    def count(self, kind: str) -> int:
        return len(self.store.search(kind, []).resources)


@pytest.fixture
def server(tokens: Tokens) -> Server:
    app, store = Flask("test"), FhirStore()
    app.register_blueprint(fhir_routes(store, tokens, lambda: BASE), url_prefix="/fhir")
    return Server(app.test_client(), store, tokens)


def observation(value: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "identifier": [{"system": SYSTEM, "value": value}],
        "code": {"text": "finding"},
        "subject": {"reference": "Patient/p1"},
        **more,
    }


def put_where(value: str, resource: dict[str, Any], urn: str = "") -> dict[str, Any]:
    url = f"{resource['resourceType']}?identifier={SYSTEM}|{value}"
    entry: dict[str, Any] = {"resource": resource, "request": {"method": "PUT", "url": url}}
    return {**entry, "fullUrl": urn} if urn else entry


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


REPORT = {
    "resourceType": "DiagnosticReport",
    "status": "preliminary",
    "identifier": [{"system": SYSTEM, "value": "report"}],
    "code": {"text": "report"},
    "subject": {"reference": "Patient/p1"},
    "result": [{"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"}],
}
BUNDLE = transaction(
    put_where("a", observation("a"), "urn:uuid:11111111-1111-4111-8111-111111111111"),
    put_where("report", REPORT, "urn:uuid:22222222-2222-4222-8222-222222222222"),
)


def test_a_resource_that_is_created_can_be_read_by_its_location(server: Server) -> None:
    made = server.send("POST", "/Observation", observation("a"))
    assert made.status_code == 201
    assert made.headers["Location"].startswith(f"{BASE}/Observation/")
    assert made.headers["ETag"] == 'W/"1"'
    path = made.headers["Location"].removeprefix(BASE)
    assert server.send("GET", path).get_json() == made.get_json()


def test_a_change_is_a_new_version_and_the_same_content_is_not(server: Server) -> None:
    first = server.send("PUT", "/Observation/o1", observation("a"))
    assert (first.status_code, first.get_json()["meta"]["versionId"]) == (201, "1")
    same = server.send("PUT", "/Observation/o1", observation("a"))
    assert (same.status_code, same.get_json()["meta"]["versionId"]) == (200, "1")
    other = server.send("PUT", "/Observation/o1", observation("b"))
    assert (other.status_code, other.get_json()["meta"]["versionId"]) == (200, "2")
    old = server.send("GET", "/Observation/o1/_history/1").get_json()
    assert old["identifier"][0]["value"] == "a"


@pytest.mark.parametrize(("if_match", "status"), [('W/"1"', 200), ('W/"7"', 412), ('"1"', 200)])
def test_a_change_of_another_version_than_the_one_read_is_refused(
    server: Server, if_match: str, status: int
) -> None:
    server.send("PUT", "/Observation/o1", observation("a"))
    answer = server.send("PUT", "/Observation/o1", observation("b"), If_Match=if_match)
    assert answer.status_code == status


def test_a_conditional_create_makes_one_resource_however_often(server: Server) -> None:
    condition = f"identifier={SYSTEM}|a"
    statuses = [
        server.send("POST", "/Observation", observation("a"), If_None_Exist=condition).status_code
        for _ in range(3)
    ]
    assert statuses == [201, 200, 200]
    assert server.count("Observation") == 1


def test_a_conditional_update_finds_its_resource_again(server: Server) -> None:
    path = f"/Observation?identifier={SYSTEM}%7Ca"
    assert server.send("PUT", path, observation("a")).status_code == 201
    assert server.send("PUT", path, observation("a", note=[{"text": "n"}])).status_code == 200
    assert server.count("Observation") == 1


def test_a_refusal_is_logged_as_a_fixed_sentence(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """What was asked for may name a patient."""
    server.send("GET", "/Patient/nobody-we-know")
    said = [record for record in caplog.records if record.name.endswith("fhir_routes")]
    assert [(record.msg, record.args) for record in said] == [("a FHIR request was refused", ())]
    assert [vars(record)["status"] for record in said] == [404]


def test_a_condition_that_matches_several_is_refused(server: Server) -> None:
    for _ in range(2):
        server.send("POST", "/Observation", observation("a"))
    path = f"/Observation?identifier={SYSTEM}|a"
    assert server.send("PUT", path, observation("a")).status_code == 412


def test_a_transaction_rewrites_references_and_is_safe_to_repeat(server: Server) -> None:
    first, second = (server.send("POST", "", BUNDLE) for _ in range(2))
    statuses = [
        [entry["response"]["status"] for entry in answer.get_json()["entry"]]
        for answer in (first, second)
    ]
    assert statuses == [["201", "201"], ["200", "200"]]
    (report,) = server.store.search("DiagnosticReport", []).resources
    (finding,) = server.store.search("Observation", []).resources
    assert report["result"] == [{"reference": f"Observation/{finding['id']}"}]
    location = second.get_json()["entry"][0]["response"]["location"]
    assert location == f"Observation/{finding['id']}/_history/1"


@pytest.mark.parametrize(
    "bad",
    [
        put_where("x", {"resourceType": "Spaceship", "identifier": []}),
        put_where("a", observation("a")),
        {"request": {"method": "DELETE", "url": "Observation?status=final"}},
        {"resource": observation("b"), "request": {"method": "PUT", "url": "Observation"}},
        {"resource": observation("b"), "request": {"method": "PUT", "url": "Device/1"}},
        {"resource": observation("b")},
        {**put_where("b", observation("b")), "request": {
            "method": "PUT", "url": f"Observation?identifier={SYSTEM}|b", "ifMatch": 'W/"9"'}},
        put_where("b", observation("b")) | {"resource": observation("b") | {"meta": 1}},
        {"resource": observation("b"),
         "request": {"method": "PUT", "url": "Observation?toothNumber=1"}},
    ],
    ids=["type", "same resource twice", "delete where", "no condition", "other type", "no request",
         "version", "meta", "unknown condition"],
)  # fmt: skip
def test_one_bad_entry_leaves_nothing_of_a_transaction(server: Server, bad: dict[str, Any]) -> None:
    answer = server.send("POST", "", transaction(*BUNDLE["entry"], bad))
    assert 400 <= answer.status_code < 500
    assert answer.get_json()["resourceType"] == "OperationOutcome"
    assert server.count("Observation") == server.count("DiagnosticReport") == 0


def test_what_was_deleted_is_gone_and_may_come_back(server: Server) -> None:
    for _ in range(2):
        assert server.send("PUT", "/Observation/o", observation("a", id="o")).status_code == 201
        assert server.send("DELETE", "/Observation/o").status_code == 204
        assert server.send("GET", "/Observation/o").status_code == 404
        assert server.send("GET", "/Observation/o/_history/1").status_code == 404
    assert server.send("DELETE", "/Observation/o").status_code == 204
    token = server.tokens.issue("test", ["system/*.crus"], 300)
    assert server.send("DELETE", "/Observation/o", token=token).status_code == 403


def test_a_transaction_deletes_first_and_answers_in_the_order_of_its_entries(
    server: Server,
) -> None:
    server.send("PUT", "/Observation/o", observation("a", id="o"))
    bundle = transaction(
        put_where("a", observation("a")),
        {"request": {"method": "DELETE", "url": "Observation/o"}},
    )
    answers = server.send("POST", "", bundle).get_json()["entry"]
    assert [each["response"]["status"] for each in answers] == ["201", "204"]
    (left,) = server.store.search("Observation", []).resources
    assert left["id"] != "o"


STUDIES = [
    {
        "resourceType": "ImagingStudy",
        "id": f"s{number}",
        "status": status,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:1.2.{number}"}],
        "subject": {"reference": f"Patient/{patient}"},
        "started": f"2026-01-0{number}T10:00:00+00:00",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
    }
    for number, (status, patient) in enumerate(
        [("available", "p1"), ("available", "p1"), ("cancelled", "p1"), ("available", "p2")], 1
    )
]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("patient=p1&status=available&_sort=-started&_count=5", "s2 s1"),
        ("patient=Patient/p1&_sort=started", "s1 s2 s3"),
        ("subject=Patient/p2", "s4"),
        ("subject:Patient=p2", "s4"),
        ("identifier=urn:dicom:uid|urn:oid:1.2.3", "s3"),
        ("identifier=urn:oid:1.2.3", "s3"),
        ("identifier=urn:dicom:uid|", "s1 s2 s3 s4"),
        ("identifier=|urn:oid:1.2.3", ""),
        ("identifier=urn:other|urn:oid:1.2.3", ""),
        ("_id=s1,s4", "s1 s4"),
        ("started=ge2026-01-03", "s3 s4"),
        ("started=2026-01-02", "s2"),
        ("started=lt2026-01-02&modality=MR", "s1"),
        ("patient=p", ""),
        ("status=available&_sort=-started&_count=2", "s4 s2"),
    ],
)
def test_a_search_finds_by_parameters(server: Server, query: str, ids: str) -> None:
    for study in STUDIES:
        server.send("PUT", f"/ImagingStudy/{study['id']}", study)
    bundle = server.send("GET", f"/ImagingStudy?{query}").get_json()
    assert [entry["resource"]["id"] for entry in bundle.get("entry", [])] == ids.split()
    assert "total" not in bundle
    assert bundle.get("entry") != []


def test_the_pages_of_a_search_lead_through_all_of_it(server: Server) -> None:
    for number in range(5):
        server.send("PUT", f"/Observation/o{number}", observation(str(number)))
    found, path = [], "/Observation?patient=p1&_count=2"
    while path:
        bundle = server.send("GET", path).get_json()
        found += [entry["resource"]["id"] for entry in bundle["entry"]]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = following[0].removeprefix(BASE) if following else ""
    assert found == [f"o{number}" for number in range(5)]


@pytest.mark.parametrize(
    "path", ["/Observation?tooth=1", "/ImagingStudy?started=soon", "/Observation?code:text=x"]
)
def test_a_parameter_that_is_not_understood_is_an_error(server: Server, path: str) -> None:
    server.send("PUT", "/ImagingStudy/s1", STUDIES[0])
    answer = server.send("GET", path)
    assert answer.status_code == 400
    assert answer.get_json()["issue"][0]["code"] == "not-supported"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/Observation/none", None, 404),
        ("GET", "/Spaceship", None, 404),
        ("POST", "/Observation", {"resourceType": "Device"}, 400),
        ("PUT", "/Observation/o1", {"resourceType": "Observation", "id": "o2"}, 400),
        ("PUT", "/Observation/o_1", {"resourceType": "Observation"}, 400),
        ("POST", "", {"resourceType": "Bundle", "type": "batch"}, 400),
    ],
)
def test_what_is_wrong_is_answered_with_an_outcome(
    server: Server, method: str, path: str, body: Any, status: int
) -> None:
    answer = server.send(method, path, body)
    assert answer.status_code == status
    assert answer.get_json()["resourceType"] == "OperationOutcome"


def test_a_body_that_is_not_fhir_json_is_refused(server: Server) -> None:
    sent = {"Authorization": f"Bearer {server.token}"}
    form = server.client.post("/fhir/Observation", data="x", headers=sent)
    assert form.status_code == 415
    broken = server.client.post("/fhir/Observation", data="{", headers=sent, content_type=FHIR_JSON)
    assert broken.status_code == 400


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ("system/Observation.crus", "read search create update"),
        ("system/Observation.rs", "read search"),
        ("system/Observation.r", "read"),
        ("system/Observation.read", "read search"),
        ("system/Observation.write", "create update"),
        ("system/*.*", "read search create update"),
        ("system/Device.cruds", ""),
        ("launch openid", ""),
    ],
)
def test_a_token_is_good_for_its_scopes(server: Server, scopes: str, allowed: str) -> None:
    server.send("PUT", "/Observation/o1", observation("a"))
    token = server.tokens.issue("client", scopes.split(), 300)
    tries = {
        "read": server.send("GET", "/Observation/o1", token=token),
        "search": server.send("GET", "/Observation", token=token),
        "create": server.send("POST", "/Observation", observation("b"), token=token),
        "update": server.send("PUT", "/Observation/o1", observation("c"), token=token),
    }
    granted = {name for name, answer in tries.items() if answer.status_code < 400}
    assert granted == set(allowed.split())
    assert {a.status_code for n, a in tries.items() if n not in granted} <= {403}


def test_a_transaction_needs_the_scope_of_each_entry(server: Server) -> None:
    token = server.tokens.issue("client", ["system/Observation.crus"], 300)
    assert server.send("POST", "", BUNDLE, token=token).status_code == 403
    assert server.count("Observation") == 0


def test_a_token_for_one_patient_shows_no_other(server: Server) -> None:
    for study in STUDIES:
        server.send("PUT", f"/ImagingStudy/{study['id']}", study)
    token = server.tokens.issue("cds", ["patient/ImagingStudy.rs"], 300, "p2")
    bundle = server.send("GET", "/ImagingStudy", token=token).get_json()
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["s4"]
    assert server.send("GET", "/ImagingStudy/s1", token=token).status_code == 404
    assert server.send("GET", "/ImagingStudy/s4", token=token).status_code == 200


def test_without_a_good_token_nothing_is_shown(server: Server, clock: Clock) -> None:
    assert server.send("GET", "/Observation", token="guessed").status_code == 401
    revoked = server.tokens.issue("client", ["system/*.rs"], 300)
    server.tokens.revoke(revoked)
    assert server.send("GET", "/Observation", token=revoked).status_code == 401
    clock.now_s += 301
    late = server.send("GET", "/Observation")
    assert late.status_code == 401
    assert "WWW-Authenticate" in late.headers


def test_what_the_server_can_do_is_open_to_all(server: Server) -> None:
    statement = server.client.get("/fhir/metadata").get_json()
    assert statement["fhirVersion"] == "4.0.1"
    kinds = {resource["type"] for resource in statement["rest"][0]["resource"]}
    assert {"Patient", "ImagingStudy", "DiagnosticReport", "Observation", "Device"} <= kinds
    smart = server.client.get("/fhir/.well-known/smart-configuration").get_json()
    assert smart["token_endpoint"] == "http://ehr.test/auth/token"
