"""A recalled model version: what it wrote is void, with the reason; what is a person's stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cds_service.clients.errors import NotFound, Rejected
from cds_service.clients.fhir import FhirServer
from cds_service.clients.policy import HttpPolicy
from cds_service.recalls import Recalled, Recalls
from cds_service.security.egress import Allowance
from cds_service.writing.recall import ALREADY, AMENDED, DONE, KEPT, OPEN, Recaller
from fhir_mapping.existing import standing
from fhir_mapping.identity import device_identity, report_identity
from fhir_mapping.recall import DOUBLE, PARTLY, RECALLED, Recall, taken_back, voided
from inference.analysis import Analysis, ModelResult
from tests.doubles.faulty_http import Reply, Seen, answer
from tests.doubles.fhir_server import FhirDouble, Quirks
from tests.unit.cds_service.writing.test_superseding import elsewhere, nothing
from tests.unit.cds_service.writing.test_writer import reports, write
from tests.unit.fhir_mapping.cases import FULL_REF, NEGATIVE, RESULT, UNCODED_FINDING, analysis_of

RECALL = Recall(
    RESULT.model_id,
    RESULT.model_version,
    "Threshold <i>wrong</i>",
    datetime(2026, 2, 3, tzinfo=UTC),
    "North Hospital",
)
OTHER = replace(RESULT, model_id="other", model_version="9", series_uid="1.2.3.4")


def recaller(double: FhirDouble, **options: Any) -> Recaller:
    base = Allowance("north-fhir", double.base_url, http_ok=True)
    quick = HttpPolicy(deadline_s=20, attempts=2, backoff_s=0, backoff_cap_s=0)
    return Recaller(FhirServer(base, policy=quick), RECALL, **options)


VOID = "entered-in-error"


def narrated(resource: dict[str, Any]) -> dict[str, Any]:
    """What a server makes that writes every narrative itself, from the status."""
    return {
        **resource,
        "text": {"status": "generated", "div": f"<div>{resource.get('status')}</div>"},
    }


def states(rows: Iterator[Any]) -> dict[str, str]:
    return {row.reference.partition("/")[0]: row.state for row in rows}


@pytest.fixture
def double() -> Iterator[FhirDouble]:
    with FhirDouble() as made:
        write(reports(made))
        yield made


def test_report_and_results_are_void_and_say_why(double: FhirDouble) -> None:
    found = states(recaller(double).rows())
    assert found == {"DiagnosticReport": DONE, "Observation": DONE}
    for kind in found:
        (resource,) = double.of(kind)
        assert resource["status"] == "entered-in-error"
        assert "recalled" in resource["text"]["div"]
        assert "possible" not in resource["text"]["div"].lower()
    (report,) = double.of("DiagnosticReport")
    assert report["conclusion"] == RECALLED
    made, recalled = double.of("Provenance")
    assert made["activity"]["coding"][0]["code"] == "CREATE"
    assert recalled["activity"]["coding"][0]["code"] == "NULLIFY"
    assert recalled["reason"][0]["text"] == "Threshold <i>wrong</i>"
    assert "<i>" not in recalled["text"]["div"]
    assert len(recalled["target"]) == 2


def test_a_second_recall_changes_nothing(double: FhirDouble) -> None:
    list(recaller(double).rows())
    before = dict(double.store)
    assert set(states(recaller(double).rows()).values()) == {ALREADY}
    assert double.store == before


def test_a_dry_run_changes_nothing(double: FhirDouble) -> None:
    before = dict(double.store)
    assert set(states(recaller(double).rows(dry_run=True)).values()) == {OPEN}
    assert double.store == before


def test_what_a_person_signed_is_listed_and_kept(double: FhirDouble) -> None:
    signed = double.edit("DiagnosticReport", status="final")
    found = states(recaller(double).rows())
    assert found == {"DiagnosticReport": KEPT, "Observation": DONE}
    assert double.of("DiagnosticReport") == [signed]


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (None, None, 2),
        (date(2026, 1, 2), date(2026, 1, 2), 2),
        (date(2026, 1, 3), None, 0),
        (None, date(2026, 1, 1), 0),
    ],
)
def test_only_the_days_that_are_asked_for(
    double: FhirDouble, since: date | None, until: date | None, count: int
) -> None:
    assert len(list(recaller(double, since=since, until=until).rows())) == count


def test_another_model_and_another_version_are_left_alone() -> None:
    with FhirDouble() as double:
        for result in (OTHER, replace(RESULT, model_version="0.0.1")):
            write(reports(double), analysis_of(result))
        assert list(recaller(double).rows()) == []


@pytest.mark.parametrize("closed", ["Device", "Observation"])
def test_it_finds_what_a_server_took_that_does_not_take_all(closed: str) -> None:
    quirks = Quirks(types=tuple(k for k in Quirks().types if k != closed))
    with FhirDouble(quirks) as double:
        write(reports(double))
        found = states(recaller(double, devices=[device_identity(RESULT).value]).rows())
        assert found["DiagnosticReport"] == DONE
        (report,) = double.of("DiagnosticReport")
        assert report["status"] == "entered-in-error"


def test_a_server_that_looks_for_no_device_hides_nothing(double: FhirDouble) -> None:
    double.before = lambda seen: answer(400) if "device" in seen.query else None
    assert states(recaller(double).rows()) == {"DiagnosticReport": DONE, "Observation": DONE}


def test_a_server_that_looks_for_nothing_is_an_error(double: FhirDouble) -> None:
    double.before = lambda seen: answer(400) if "/Observation" in seen.path else None
    with pytest.raises(Rejected):
        list(recaller(double).rows())


@pytest.mark.parametrize("status", [400, 404])
def test_a_server_on_which_nothing_can_be_recognised_is_an_error(
    double: FhirDouble, status: int
) -> None:
    double.before = lambda seen: answer(status) if "/Device" in seen.path else None
    with pytest.raises((Rejected, NotFound)):
        list(recaller(double).rows())


@pytest.mark.parametrize("failing", range(1, 6))
def test_it_goes_on_where_it_was_stopped(double: FhirDouble, failing: int) -> None:
    writes = 0

    def before(seen: Seen) -> Reply | None:
        nonlocal writes
        writes += seen.method != "GET"
        return answer(503) if seen.method != "GET" and writes >= failing else None

    double.before = before
    first = list(recaller(double).rows())
    double.before = lambda seen: None
    list(recaller(double).rows())
    assert {r["status"] for r in double.of("Observation") + double.of("DiagnosticReport")} == {
        "entered-in-error"
    }
    assert len(double.of("Provenance")) == 2
    assert failing > 3 or any(row.state.startswith("failed") for row in first)


def test_a_new_analysis_by_the_recalled_version_writes_nothing_new(double: FhirDouble) -> None:
    list(recaller(double).rows())
    before = dict(double.store)
    write(reports(double))
    assert double.store == before


@pytest.mark.parametrize("rewrites", [lambda resource: resource, narrated])
@pytest.mark.parametrize("newer", [elsewhere(), nothing()])
def test_what_was_superseded_before_the_recall_is_not_stated_anew(
    newer: Analysis, rewrites: Callable[[Any], Any]
) -> None:
    with FhirDouble(Quirks(rewrites=rewrites)) as double:
        write(reports(double))
        (first,) = double.of("Observation")
        place = f"Observation/{first['id']}"
        write(reports(double), replace(newer, results=tuple(map(by_another, newer.results))))
        assert double.store[place]["status"] == "entered-in-error"
        found = {row.reference: row.state for row in recaller(double).rows()}
        assert found[place] == DONE
        before = dict(double.store)
        write(reports(double))
        assert double.store[place] == before[place]
        assert {row.reference: row.state for row in recaller(double).rows()}[place] == ALREADY


@pytest.mark.parametrize("rewrites", [lambda resource: resource, narrated])
def test_only_what_the_recalled_version_said_leaves_a_report_of_several(
    rewrites: Callable[[Any], Any],
) -> None:
    other = replace(OTHER, finding=UNCODED_FINDING.finding)
    with FhirDouble(Quirks(rewrites=rewrites)) as double:
        first = write(reports(double), analysis_of(RESULT, other))
        codes = double.store[first]["conclusionCode"]
        assert len(codes) == 2
        assert set(states(recaller(double).rows(dry_run=True)).values()) == {OPEN}
        assert states(recaller(double).rows()) == {"DiagnosticReport": AMENDED, "Observation": DONE}
        report = double.store[first]
        (stays,) = [o for o in double.of("Observation") if o["status"] != VOID]
        assert double.store[stays["device"]["reference"]]["modelNumber"] == OTHER.model_id
        assert (report["status"], report["conclusion"]) == ("preliminary", PARTLY)
        assert report["result"] == [{"reference": f"Observation/{stays['id']}"}]
        assert report["conclusionCode"] == [c for c in codes if c == stays["valueCodeableConcept"]]
        assert "presentedForm" not in report
        before = dict(double.store)
        assert set(states(recaller(double).rows()).values()) == {ALREADY}
        assert double.store == before
        newer = replace(analysis_of(other), instance_digest="ef" * 32)
        assert write(reports(double), newer) == first, "it is ours, and goes on as the report"


@pytest.mark.parametrize("images", ["ef" * 32, "0a" * 32])
def test_a_recalled_version_states_nothing_whatever_it_analyses(
    double: FhirDouble, tmp_path: Path, images: str
) -> None:
    recalls = Recalls(tmp_path / "recalls.jsonl")
    recalls.add(Recalled(RESULT.model_id, RESULT.model_version))
    writer = replace(reports(double), recalled=recalls.concern)
    list(recaller(double).rows())
    newer = replace(analysis_of(RESULT, OTHER), instance_digest=images)
    write(writer, newer)
    (stating,) = [r for r in double.of("Observation") if r["status"] != VOID]
    assert double.store[stating["device"]["reference"]]["modelNumber"] == OTHER.model_id
    assert write(writer, replace(newer, results=(RESULT,))) == ""
    assert {r["status"] for r in double.of("DiagnosticReport")} == {VOID}


def by_another(result: ModelResult) -> ModelResult:
    return replace(result, model_id="other", model_version="9")


def test_nothing_that_shows_a_finding_is_left_in_a_recalled_report(double: FhirDouble) -> None:
    (report,) = double.of("DiagnosticReport")
    picture = {"resourceType": "Media", "id": "key-image"}
    series = {"resourceType": "ImagingStudy", "id": "evidence"}
    shown = {"media": [{"link": {"reference": "#key-image"}}], "contained": [picture, series]}
    written = voided({**report, **shown}, RECALL)
    assert not {"media", "presentedForm"} & written.keys()
    assert written["contained"] == [series]
    assert written["conclusionCode"] == report["conclusionCode"], "what was acted upon is kept"


def test_a_double_that_is_taken_back_states_nothing(double: FhirDouble) -> None:
    (report,) = double.of("DiagnosticReport")
    identity = report_identity("north", FULL_REF)
    (entry, standing_) = (report, standing(report, identity))
    assert standing_ is not None
    written = taken_back(entry, standing_, identity)["resource"]
    assert (written["status"], written["conclusion"]) == (VOID, DOUBLE)
    assert "possible" not in json.dumps(written["text"]).lower()
    assert standing(written, identity) is None


def test_another_version_reports_beside_what_was_recalled(double: FhirDouble) -> None:
    list(recaller(double).rows())
    newer = analysis_of(replace(NEGATIVE, model_version="9.9.9"))
    write(reports(double), newer)
    standing = [r for r in double.of("DiagnosticReport") if r["status"] == "preliminary"]
    assert len(standing) == 1
    assert "9.9.9" in json.dumps(standing[0]["text"])
