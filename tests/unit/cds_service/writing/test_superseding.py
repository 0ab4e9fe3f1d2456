"""What a newer analysis does not state any more is voided; what a person edited never is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from cds_service.clients.errors import UpstreamError
from fhir_mapping.recall import SUPERSEDED
from inference.analysis import Analysis, Outcome
from tests.doubles.faulty_http import Reply, Seen, answer
from tests.doubles.fhir_server import FhirDouble
from tests.unit.cds_service.writing.test_writer import NO_BUNDLES, SERVERS, live, reports, write
from tests.unit.fhir_mapping.cases import NEGATIVE, RESULT, SERIES_UID, analysis_of


def elsewhere() -> Analysis:
    """The study has grown, and the model read another series of it."""
    other = replace(NEGATIVE, series_uid=f"{SERIES_UID}.9")
    return replace(analysis_of(other), instance_digest="ef" * 32)


def nothing() -> Analysis:
    """The study has grown, and no model answers."""
    return replace(analysis_of(), instance_digest="0a" * 32)


def one(double: FhirDouble) -> tuple[dict[str, Any], dict[str, Any]]:
    (report,), (observation,) = live(double, "DiagnosticReport"), live(double, "Observation")
    assert [r["reference"] for r in report["result"]] == [f"Observation/{observation['id']}"]
    return report, observation


@pytest.mark.parametrize("name", SERVERS)
def test_a_study_read_from_another_series_states_the_newer_result_alone(name: str) -> None:
    with FhirDouble(SERVERS[name]) as double:
        first = write(reports(double))
        _, old = one(double)
        assert write(reports(double), elsewhere()) == first
        _, new = one(double)
        assert new["id"] != old["id"]
        gone = double.store[f"Observation/{old['id']}"]
        assert gone["status"] == "entered-in-error"
        assert "newer AI analysis" in gone["text"]["div"]
        assert gone["valueCodeableConcept"] == old["valueCodeableConcept"]
        # and back: it is stated anew, in the same resource and the same report
        assert write(reports(double)) == first
        assert one(double)[1]["id"] == old["id"]


@pytest.mark.parametrize(
    "empty", [nothing(), analysis_of(replace(NEGATIVE, outcome=Outcome.NOT_ANALYSED))]
)
def test_a_newer_analysis_without_a_result_takes_the_report_back(empty: Analysis) -> None:
    with FhirDouble() as double:
        first = write(reports(double))
        assert write(reports(double), empty) == ""
        assert live(double, "DiagnosticReport") == live(double, "Observation") == []
        before = dict(double.store)
        assert before[first]["conclusion"] == SUPERSEDED
        assert write(reports(double), empty) == ""
        assert double.store == before
        assert write(reports(double)) == first
        assert one(double)[0]["conclusion"] != SUPERSEDED


def test_nothing_is_written_where_nothing_was_stated() -> None:
    with FhirDouble() as double:
        assert write(reports(double), nothing()) == ""
        assert double.store == {}


@pytest.mark.parametrize("kind", ["DiagnosticReport", "Observation"])
@pytest.mark.parametrize("change", [{"status": "final"}, {"note": [{"text": "Seen."}]}])
def test_what_a_person_edited_is_not_superseded(kind: str, change: dict[str, Any]) -> None:
    for newer in (elsewhere(), nothing()):
        with FhirDouble() as double:
            write(reports(double))
            edited = double.edit(kind, **change)
            write(reports(double), newer)
            assert double.store[f"{kind}/{edited['id']}"] == edited


def test_what_a_person_changed_after_it_was_superseded_is_not_stated_anew() -> None:
    with FhirDouble() as double:
        place = write(reports(double))
        write(reports(double), nothing())
        double.store[place] = {**double.store[place], "conclusion": "Not so."}
        changed = dict(double.store[place])
        assert write(reports(double), elsewhere()) != place
        assert double.store[place] == changed


@pytest.mark.parametrize("newer", [elsewhere(), nothing()])
def test_a_failure_at_any_place_leaves_nothing_outdated_after_the_next_attempt(
    newer: Analysis,
) -> None:
    for failing in range(1, 40):
        asked = 0

        def before(seen: Seen, failing: int = failing) -> Reply | None:
            nonlocal asked
            asked += seen.path != "/fhir/metadata"
            return answer(503) if asked >= failing else None

        with FhirDouble(NO_BUNDLES) as double:
            write(reports(double), analysis_of(RESULT))
            (old,) = live(double, "Observation")
            double.before = before
            with suppress(UpstreamError):
                write(reports(double), newer)
            double.before = lambda seen: None
            write(reports(double), newer)
            assert double.store[f"Observation/{old['id']}"]["status"] == "entered-in-error"
            assert len(live(double, "DiagnosticReport")) == bool(newer.results)
        if asked < failing:
            return
