"""The FHIR client: what is read, what is refused, what a transaction must answer."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cds_service.clients.errors import BadAnswer, Conflict, EgressRefused, TooLarge, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.policy import MIB, HttpPolicy
from cds_service.security.egress import Allowance
from tests.doubles.faulty_http import FaultyServer, Reply, Respond, Seen, answer, json_answer

FHIR_JSON = "application/fhir+json"
QUICK = HttpPolicy(deadline_s=5, backoff_s=0, backoff_cap_s=0)


def fhir(server: FaultyServer, policy: HttpPolicy = QUICK) -> FhirServer:
    return FhirServer(Allowance("the EHR", f"{server.base_url}/r4", http_ok=True), policy=policy)


def saying(value: object) -> Respond:
    return lambda seen: json_answer(json.dumps(value), FHIR_JSON)


def bundle(*resources: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    link = [{"relation": "next", "url": following}] if following else []
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries}


PATIENT = {"resourceType": "Patient", "id": "1"}


@pytest.mark.parametrize(
    "reference",
    ["Patient/1", "Patient/1/_history/3", "{base}/r4/Patient/1", "{base}/r4/Patient/1/_history/2"],
)
def test_a_reference_into_the_server_is_read(reference: str) -> None:
    with FaultyServer(saying(PATIENT)) as server:
        assert fhir(server).read(reference.format(base=server.base_url)) == PATIENT
        assert server.seen[0].target == "/r4/Patient/1"
        assert server.seen[0].headers["accept"] == FHIR_JSON


@pytest.mark.parametrize(
    "reference",
    [
        "https://elsewhere.example/r4/Patient/1",
        "{base}/r5/Patient/1",
        "{base}/r4/Patient/1?x=1",
        "urn:uuid:7f1b5c2e-0000-4000-8000-000000000000",
        "#contained",
        "Patient",
        "Patient/",
        "Patient/1/2",
        "Patient/../metadata",
        "patient/1",
        "Patient/1?_format=xml",
        "",
    ],
)
def test_a_reference_to_anything_else_is_refused_without_a_request(reference: str) -> None:
    with FaultyServer(saying(PATIENT)) as server:
        with pytest.raises(EgressRefused):
            fhir(server).read(reference.format(base=server.base_url))
        assert server.connections == 0


def test_a_search_follows_its_pages_and_leaves_outcomes_out() -> None:
    def respond(seen: Seen) -> Reply:
        if "page=2" in seen.query:
            return json_answer(json.dumps(bundle({**PATIENT, "id": "2"})), FHIR_JSON)
        first = bundle(PATIENT, following=f"{server.base_url}/r4?_getpages=a%2Fb&page=2")
        first["entry"] += [
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
            {"resource": {"resourceType": "OperationOutcome"}},
            {"fullUrl": "urn:x"},
            "not an object",
        ]
        return json_answer(json.dumps(first), FHIR_JSON)

    with FaultyServer(respond) as server:
        found = list(fhir(server).search("Patient", {"name": "Ä b", "_count": "1"}))
        assert [resource["id"] for resource in found] == ["1", "2"]
        assert server.seen[0].target == "/r4/Patient?name=%C3%84%20b&_count=1"
        assert server.seen[1].target == "/r4?_getpages=a%2Fb&page=2"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("Patient?page=2", "/r4/Patient?page=2"),
        ("?page=2", "/r4/Patient?page=2"),
        ("/r4/Patient?page=2", "/r4/Patient?page=2"),
        ("/r4?page=2", "/r4?page=2"),
        ("/r4/?page=2", "/r4?page=2"),
        ("../r4/./Patient?page=2", "/r4/Patient?page=2"),
        ("//{host}/r4?page=2", "/r4?page=2"),
        (
            "Patient?page=2&profile=http://x.example/a",
            "/r4/Patient?page=2&profile=http://x.example/a",
        ),
        ("/r4?page=2&self=https://x.example/r4", "/r4?page=2&self=https://x.example/r4"),
    ],
)
def test_a_relative_next_link_is_resolved_against_its_page(link: str, target: str) -> None:
    """RFC 3986, 5.2."""

    def respond(seen: Seen) -> Reply:
        following = link.format(host=server.base_url.partition("//")[2])
        page = bundle(PATIENT, following=None if "page" in seen.query else following)
        return json_answer(json.dumps(page), FHIR_JSON)

    with FaultyServer(respond) as server:
        assert len(list(fhir(server).search("Patient", {}))) == 2
        assert server.seen[1].target == target


def test_a_next_link_relative_to_a_page_of_the_base_itself_is_below_the_base() -> None:
    following = {"": "/r4?page=2", "page=2": "Patient?page=3", "page=3": None}

    def respond(seen: Seen) -> Reply:
        page = bundle(PATIENT, following=following[seen.query])
        return json_answer(json.dumps(page), FHIR_JSON)

    with FaultyServer(respond) as server:
        assert len(list(fhir(server).search("Patient", {}))) == 3
        assert server.seen[2].target == "/r4/Patient?page=3"


@pytest.mark.parametrize(
    "link",
    [
        "/r5?page=2",
        "../metadata",
        "/r4/../x",
        "//elsewhere.example/r4?page=2",
        "https://elsewhere.example/r4?page=2",
        "//[/r4",
        "http:Patient?page=2",
        "urn:uuid:7f1b5c2e-0000-4000-8000-000000000000",
        "/r4/%2e%2e/x",
    ],
)
def test_a_next_link_out_of_the_base_is_refused(link: str) -> None:
    with FaultyServer(saying(bundle(PATIENT, following=link))) as server:
        with pytest.raises(EgressRefused):
            list(fhir(server).search("Patient", {}))
        assert len(server.seen) == 1


def test_pages_that_lead_back_end_the_search() -> None:
    def respond(seen: Seen) -> Reply:
        return json_answer(json.dumps(bundle(following=f"{server.base_url}/r4?page=2")), FHIR_JSON)

    with FaultyServer(respond) as server:
        with pytest.raises(BadAnswer):
            list(fhir(server).search("Patient", {}))
        assert len(server.seen) == 2


def test_pages_without_end_are_stopped_at_fifty() -> None:
    def respond(seen: Seen) -> Reply:
        following = f"{server.base_url}/r4?page={len(server.seen)}"
        return json_answer(json.dumps(bundle(following=following)), FHIR_JSON)

    with FaultyServer(respond) as server:
        with pytest.raises(BadAnswer):
            list(fhir(server).search("Patient", {}))
        assert len(server.seen) == 50


def test_the_cap_holds_for_all_pages_together() -> None:
    big = {**PATIENT, "text": {"div": "x" * 600_000}}

    def respond(seen: Seen) -> Reply:
        following = f"{server.base_url}/r4?page={len(server.seen)}"
        return json_answer(json.dumps(bundle(big, following=following)), FHIR_JSON)

    with FaultyServer(respond) as server:
        with pytest.raises(TooLarge):
            list(fhir(server, HttpPolicy(bytes_cap=MIB)).search("Patient", {}))
        assert len(server.seen) == 2


def sent(*requests: dict[str, str]) -> dict[str, Any]:
    entries = [{"resource": PATIENT, "request": request} for request in requests]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def answered(*responses: object) -> dict[str, Any]:
    entries = [{"response": response} for response in responses]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


PUT = {"method": "PUT", "url": "Observation?identifier=s|v"}


@pytest.mark.parametrize(
    ("response", "created", "reference", "version"),
    [
        (
            {"status": "201 Created", "location": "Observation/9/_history/1"},
            True,
            "Observation/9",
            "1",
        ),
        (
            {"status": "201", "location": "https://x.example/r4/Observation/a-b/_history/7f"},
            True,
            "Observation/a-b",
            "7f",
        ),
        ({"status": "200 OK", "location": "Observation/9"}, False, "Observation/9", None),
        ({"status": "200"}, False, None, None),
    ],
)
def test_the_answer_to_an_entry_is_read(
    response: dict[str, str], created: bool, reference: str | None, version: str | None
) -> None:
    with FaultyServer(saying(answered(response))) as server:
        (entry,) = fhir(server).transact(sent(PUT)).entries
        assert (entry.created, entry.reference, entry.version) == (created, reference, version)
        assert server.seen[0].headers["content-type"] == FHIR_JSON
        assert server.seen[0].target == "/r4"


@pytest.mark.parametrize(
    ("answer_", "error"),
    [
        (answered({"status": "412 Precondition Failed"}), Conflict),
        (answered({"status": "500"}), UpstreamError),
        (answered(), BadAnswer),
        (answered({"status": "201"}, {"status": "201"}), BadAnswer),
        (answered({"status": "fine"}), BadAnswer),
        (answered({}), BadAnswer),
        (answered("201"), BadAnswer),
        ({"resourceType": "Bundle", "type": "batch-response", "entry": []}, BadAnswer),
        ({"resourceType": "OperationOutcome", "issue": []}, BadAnswer),
    ],
)
def test_an_answer_that_does_not_confirm_every_entry_is_an_error(
    answer_: object, error: type[UpstreamError]
) -> None:
    policy = HttpPolicy(deadline_s=5, attempts=1)
    with FaultyServer(saying(answer_)) as server, pytest.raises(error):
        fhir(server, policy).transact(sent(PUT))


@pytest.mark.parametrize(
    "bundle_",
    [
        sent({"method": "POST", "url": "Observation"}),
        sent({"method": "DELETE", "url": "Observation/1"}),
        sent(),
        {**sent(PUT), "type": "message"},
        {"resourceType": "Patient"},
    ],
)
def test_a_transaction_that_may_not_be_done_twice_is_not_sent(bundle_: dict[str, Any]) -> None:
    with FaultyServer() as server:
        with pytest.raises(ValueError, match=r"Bundle"):
            fhir(server).transact(bundle_)
        assert server.connections == 0


def test_a_conditional_create_may_be_sent() -> None:
    create = {"method": "POST", "url": "Observation", "ifNoneExist": "identifier=s|v"}
    with FaultyServer(saying(answered({"status": "201"}))) as server:
        assert fhir(server).transact(sent(create)).entries[0].created


def test_several_matches_are_a_conflict_and_the_outcome_is_not_quoted() -> None:
    secret = json.dumps({"resourceType": "OperationOutcome", "text": {"div": "DOE^JANE"}})
    with FaultyServer(lambda seen: json_answer(secret, FHIR_JSON, 412)) as server:
        with pytest.raises(Conflict) as caught:
            fhir(server).transact(sent(PUT))
        assert "DOE" not in str(caught.value)
        assert len(server.seen) == 1


def test_a_transaction_is_sent_again_after_a_failure_that_may_pass() -> None:
    replies = [answer(503), json_answer(json.dumps(answered({"status": "201"})), FHIR_JSON)]
    with FaultyServer(lambda seen: replies.pop(0)) as server:
        assert fhir(server).transact(sent(PUT)).entries[0].created
        assert server.seen[0].body == server.seen[1].body


KEYS = st.sampled_from(
    ["resourceType", "entry", "link", "relation", "url", "resource", "search", "mode", "id", "x"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_a_lying_server_causes_errors_of_ours_or_resources(value: object) -> None:
    said = {"resourceType": "Bundle", **value} if isinstance(value, dict) else value
    with FaultyServer(saying(said)) as server:
        begun = time.thread_time()
        try:
            found = list(fhir(server).search("Patient", {}))
        except UpstreamError:
            found = []
        assert all(isinstance(resource, dict) for resource in found)
        assert time.thread_time() - begun < 2
