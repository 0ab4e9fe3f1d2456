"""Results into servers of every kind: once each, whole, and never over a person's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.policy import HttpPolicy
from cds_service.reports import FhirReports
from cds_service.security.egress import Allowance
from cds_service.security.links import Links
from cds_service.writing.writer import FhirWriter
from fhir_mapping.context import WriteForm
from inference.analysis import Analysis
from tests.doubles.faulty_http import Reply, Seen, answer, json_answer
from tests.doubles.fhir_server import FHIR_JSON, FhirDouble, Quirks
from tests.unit.fhir_mapping.cases import FULL_REF, NEGATIVE, RESULT, analysis_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUICK = HttpPolicy(deadline_s=20, attempts=3, backoff_s=0, backoff_cap_s=0)

NO_BUNDLES = Quirks(transaction=False, batch=False)
SERVERS = {
    "complete": Quirks(),
    "a total in its answers": Quirks(total=True),
    "batch only": Quirks(transaction=False),
    "one by one": NO_BUNDLES,
    "conditional create only": replace(NO_BUNDLES, conditional_update=False),
    "ids of ours only": replace(NO_BUNDLES, conditional_update=False, conditional_create=False),
    "ids of ours, and only UUIDs": replace(
        NO_BUNDLES, conditional_update=False, conditional_create=False, uuid_ids=True
    ),
    "plain create only": replace(
        NO_BUNDLES, conditional_update=False, conditional_create=False, update_create=False
    ),
    "transaction of plain creates": Quirks(
        conditional_update=False, conditional_create=False, update_create=False
    ),
    "states nothing": Quirks(statement=False),
    "states nothing and does the least": Quirks(
        statement=False,
        transaction=False,
        batch=False,
        conditional_update=False,
        conditional_create=False,
        update_create=False,
    ),
    "states nonsense": Quirks(states={"resourceType": "CapabilityStatement", "rest": [7, {}]}),
    "says not where": replace(NO_BUNDLES, locations=False, bodies=False),
}
OVERSTATED = json.loads(
    '{"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "interaction": '
    '[{"code": "transaction"}, {"code": "batch"}], "resource": []}]}'
)
SERVERS["states more than it does"] = replace(SERVERS["plain create only"], states=OVERSTATED)


def reports(double: FhirDouble, wanted: WriteForm | None = None) -> FhirReports:
    base = Allowance("north-fhir", double.base_url, http_ok=True)
    return FhirReports(
        writer=FhirWriter(FhirServer(base, policy=QUICK), wanted),
        tenant="north",
        links=Links(["0123456789-0123456789-0123456789"], "https://ai.example.org", 900),
        organisation="North Hospital",
        demo=False,
    )


def write(writer: FhirReports, analysis: Analysis | None = None) -> str:
    return writer.write(analysis or analysis_of(RESULT), FULL_REF, "ab" * 16, AT)


def live(double: FhirDouble, kind: str) -> list[dict[str, Any]]:
    return [r for r in double.of(kind) if r.get("status") != "entered-in-error"]


def check_whole(double: FhirDouble) -> None:
    """One report, its one result, and every reference leads to something."""
    (report,) = live(double, "DiagnosticReport")
    (observation,) = live(double, "Observation")
    assert [r["reference"] for r in report["result"]] == [f"Observation/{observation['id']}"]
    (provenance,) = double.of("Provenance")
    targets = {target["reference"] for target in provenance["target"]}
    assert targets == {f"DiagnosticReport/{report['id']}", f"Observation/{observation['id']}"}
    (device,) = double.of("Device")
    assert observation["device"]["reference"] == f"Device/{device['id']}"


@pytest.fixture(params=SERVERS)
def double(request: pytest.FixtureRequest) -> Iterator[FhirDouble]:
    with FhirDouble(SERVERS[request.param]) as made:
        yield made


def test_writing_again_makes_nothing_new(double: FhirDouble) -> None:
    for _ in range(2):
        first = write(reports(double))
        assert write(reports(double), analysis_of(NEGATIVE)) == first
        check_whole(double)
    (observation,) = double.of("Observation")
    assert observation["interpretation"][0]["coding"][0]["code"] == "NEG"


def test_what_a_person_signed_is_left_as_it_is(double: FhirDouble) -> None:
    place = write(reports(double))
    signed = double.edit("DiagnosticReport", status="final", conclusion="Meningioma.")
    assert write(reports(double), analysis_of(NEGATIVE)) == place
    assert double.of("DiagnosticReport") == [signed]


def test_a_failure_at_any_place_heals_with_the_next_attempt(double: FhirDouble) -> None:
    """Wherever the server goes away: no report without its results, and then all is there."""
    for failing in range(1, 30):
        asked = 0

        def before(seen: Seen, failing: int = failing) -> Reply | None:
            nonlocal asked
            asked += seen.path != "/fhir/metadata"
            return answer(503) if asked >= failing else None

        double.store.clear()
        double.before = before
        with suppress(UpstreamError):
            write(reports(double))
        for report in double.of("DiagnosticReport"):
            assert all(r["reference"] in double.store for r in report["result"])
        double.before = lambda seen: None
        write(reports(double))
        check_whole(double)
        if asked < failing:
            return


@pytest.mark.parametrize("name", ["complete", "conditional create only", "plain create only"])
def test_writers_in_a_race_leave_one_report(name: str) -> None:
    """A server whose conditions are not atomic makes two (HAPI #3141); one of them stays."""
    barrier = threading.Barrier(2, timeout=10)
    waited: set[int] = set()

    def before(seen: Seen) -> Reply | None:
        if seen.method == "GET" and "DiagnosticReport?" in seen.target and len(waited) < 2:
            waited.add(len(waited))
            with suppress(threading.BrokenBarrierError):
                barrier.wait()
        return None

    with FhirDouble(SERVERS[name], before) as double:
        made: list[str] = []
        threads = [
            threading.Thread(target=lambda: made.append(write(reports(double)))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 1
        write(reports(double))
        (report,) = live(double, "DiagnosticReport")
        assert made[0] == f"DiagnosticReport/{report['id']}"
        (observation,) = live(double, "Observation")
        assert report["result"][0]["reference"] == f"Observation/{observation['id']}"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"status": "final"}, "DiagnosticReport"),
        ({"status": "amended"}, "DiagnosticReport"),
        ({"status": "entered-in-error"}, "DiagnosticReport"),
        ({"conclusion": "I see a cyst."}, "DiagnosticReport"),
        ({"resultsInterpreter": [{"reference": "Practitioner/7"}]}, "DiagnosticReport"),
        ({"performer": [{"reference": "Practitioner/7"}]}, "DiagnosticReport"),
        ({"status": "final"}, "Observation"),
        ({"note": [{"text": "Not so."}]}, "Observation"),
        ({"valueCodeableConcept": {"text": "Cyst"}}, "Observation"),
    ],
)
def test_after_a_persons_edit_other_images_make_a_report_beside_it(
    change: dict[str, Any], kind: str
) -> None:
    with FhirDouble() as double:
        first = write(reports(double))
        edited = double.edit(kind, **change)
        before = dict(double.store)
        assert write(reports(double)) == first
        assert double.store == before
        grown = replace(analysis_of(NEGATIVE), instance_digest="ef" * 32)
        second = write(reports(double), grown)
        assert second != first
        assert write(reports(double), grown) == second
        assert double.store[f"{kind}/{edited['id']}"] == edited
        assert len(double.of("DiagnosticReport")) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"meta": {"tag": [{"code": "x"}], "profile": ["http://example.org/p"]}},
        {"identifier_added": True},
        {"issued": "2026-01-02T03:04:05.000+00:00"},
        {"language": "en"},
    ],
)
def test_what_a_server_changes_by_itself_is_no_edit(change: dict[str, Any]) -> None:
    with FhirDouble() as double:
        first = write(reports(double))
        if change.pop("identifier_added", False):
            (report,) = double.of("DiagnosticReport")
            change["identifier"] = [*report["identifier"], {"system": "urn:ehr", "value": "9"}]
        double.edit("DiagnosticReport", **change)
        grown = replace(analysis_of(NEGATIVE), instance_digest="ef" * 32)
        assert write(reports(double), grown) == first


def test_a_sign_off_between_reading_and_writing_is_not_overwritten() -> None:
    signed: list[dict[str, Any]] = []

    def before(seen: Seen) -> Reply | None:
        if signed == [] and seen.method == "POST":
            signed.append(double.edit("DiagnosticReport", status="final"))
        return None

    with FhirDouble() as double:
        place = write(reports(double))
        double.before = before
        assert write(reports(double), analysis_of(NEGATIVE)) == place
        assert double.of("DiagnosticReport") == signed


@pytest.mark.parametrize("bundles", [True, False])
@pytest.mark.parametrize("kind", ["Device", "ImagingStudy", "Encounter", "ServiceRequest"])
def test_a_reference_that_is_refused_becomes_a_logical_one(kind: str, bundles: bool) -> None:
    quirks = Quirks(refused_references=(kind,), transaction=bundles, batch=bundles)
    with FhirDouble(quirks) as double:
        for _ in range(2):
            write(reports(double))
        (report,), (observation,) = double.of("DiagnosticReport"), double.of("Observation")
        assert f'"{kind}/' not in json.dumps([report, observation])
        assert report["subject"] == {"reference": FULL_REF.patient_reference}
        assert report["result"][0]["reference"] == f"Observation/{observation['id']}"
        assert report["imagingStudy"][0]["identifier"]["value"].startswith("urn:oid:")
        if kind == "Device":
            assert observation["device"]["identifier"]["system"] == "urn:scanhook:device"


@pytest.mark.parametrize(
    ("quirks", "gone"),
    [(Quirks(html_refused=True), "text/html"), (Quirks(labels_refused=True), "AIAST")],
)
def test_what_a_strict_server_does_not_take_is_left_out(quirks: Quirks, gone: str) -> None:
    with FhirDouble(quirks) as double:
        write(reports(double))
        check_whole(double)
        assert gone not in json.dumps(double.of("DiagnosticReport"))


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("closed", ["Device", "Provenance", "Observation"])
def test_a_type_that_is_not_taken_is_left_out_of_the_rest(closed: str, stated: bool) -> None:
    types = tuple(k for k in Quirks().types if k != closed)
    with FhirDouble(Quirks(types=types, statement=stated)) as double:
        place = write(reports(double))
        assert write(reports(double)) == place
        (report,) = double.of("DiagnosticReport")
        assert ("result" in report) == (closed != "Observation")
        assert report["conclusion"]


def test_a_422_is_final_and_told_in_words_of_our_own() -> None:
    def before(seen: Seen) -> Reply | None:
        if seen.method == "GET":
            return None
        outcome = {"resourceType": "OperationOutcome"} | {
            "issue": [{"code": "business-rule", "diagnostics": "DOE^JANE is deceased"}]
        }
        return json_answer(json.dumps(outcome), FHIR_JSON, 422)

    with FhirDouble(NO_BUNDLES, before) as double:
        with pytest.raises(UpstreamError) as caught:
            write(reports(double))
        assert not caught.value.retryable
        assert caught.value.sentence == (
            "north-fhir does not take the Observation (422: one of its own rules is against it)."
        )
        assert len(double.seen) < 30


@pytest.mark.parametrize("after", ["0", "1"])
def test_a_server_that_asks_for_patience_gets_it(after: str) -> None:
    said: list[int] = []

    def before(seen: Seen) -> Reply | None:
        if len(said) < 2 and seen.path != "/fhir/metadata":
            said.append(1)
            return answer(429, headers={"Retry-After": after})
        return None

    with FhirDouble(Quirks(), before) as double:
        write(reports(double))
        check_whole(double)


def test_a_server_that_asks_for_an_hour_ends_the_attempt() -> None:
    with FhirDouble(before=lambda seen: answer(429, headers={"Retry-After": "3600"})) as double:
        with pytest.raises(UpstreamError) as caught:
            write(reports(double))
        assert caught.value.kind == "throttled"
        assert caught.value.retryable
        assert len(double.seen) <= 3


def test_what_was_learnt_is_not_tried_again() -> None:
    quirks = SERVERS["states more than it does"]
    with FhirDouble(quirks) as double:
        writer = reports(double)
        write(writer)
        seen = len(double.seen)
        write(writer, analysis_of(NEGATIVE))
        again = double.seen[seen:]
        assert not [
            s for s in again if s.path.rstrip("/") == "/fhir" or s.path.endswith("metadata")
        ]
