"""A server that rewrites what it stores is no person who edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cds_service.writing.recall import DONE
from inference.analysis import Analysis
from tests.doubles.faulty_http import Reply, Seen
from tests.doubles.fhir_server import FhirDouble
from tests.unit.cds_service.writing.test_recall import recaller, states
from tests.unit.cds_service.writing.test_superseding import elsewhere, nothing, one
from tests.unit.cds_service.writing.test_writer import SERVERS, live, reports, write
from tests.unit.fhir_mapping.cases import MEASURED, NEGATIVE, analysis_of

Resource = dict[str, Any]


def narrated(resource: Resource) -> Resource:
    """A narrative of its own, made from the status."""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{resource.get("status")}</div>'
    return {**resource, "text": {"status": "generated", "div": div}}


def reordered(resource: Resource) -> Resource:
    """Members and lists the other way round, whenever it is stored: stable, since it sorts."""
    made = {k: sorted(v, key=repr) if isinstance(v, list) else v for k, v in resource.items()}
    return dict(sorted(made.items(), reverse=True))


def poorer(resource: Resource) -> Resource:
    return {k: v for k, v in resource.items() if k not in ("method", "presentedForm", "bodySite")}


def rounded(value: Any) -> Any:
    """Two decimals, everywhere."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 2) if isinstance(value, float) else value


def shouting(resource: Resource) -> Resource:
    """Codes get a text, and sentences another case."""
    made = dict(resource)
    for name in ("conclusion", "code", "valueCodeableConcept"):
        if isinstance(made.get(name), str):
            made[name] = made[name].upper()
        elif isinstance(made.get(name), dict):
            made[name] = {**made[name], "text": "AS THE CATALOGUE HAS IT"}
    return made


REWRITERS = [narrated, reordered, poorer, rounded, shouting]


def grown() -> Analysis:
    return replace(analysis_of(NEGATIVE), instance_digest="ef" * 32)


def measured() -> Analysis:
    """With numbers of many digits."""
    return analysis_of(NEGATIVE, MEASURED)


@pytest.mark.parametrize("name", ["complete", "batch only", "one by one", "plain create only"])
@pytest.mark.parametrize("rewrites", REWRITERS)
def test_a_server_that_rewrites_has_one_report_however_often_the_study_grows(
    rewrites: Callable[[Resource], Resource], name: str
) -> None:
    with FhirDouble(replace(SERVERS[name], rewrites=rewrites)) as double:
        first = write(reports(double), measured())
        for again in (grown(), analysis_of(NEGATIVE), measured(), elsewhere(), grown()):
            assert write(reports(double), again) == first
        assert len(double.of("DiagnosticReport")) == 1
        one(double)


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("kind", ["DiagnosticReport", "Observation"])
@pytest.mark.parametrize("rewrites", REWRITERS)
def test_a_persons_edit_is_kept_on_a_server_that_rewrites(
    rewrites: Callable[[Resource], Resource], kind: str, etags: bool
) -> None:
    with FhirDouble(replace(SERVERS["complete"], rewrites=rewrites, etags=etags)) as double:
        first = write(reports(double))
        assert write(reports(double), analysis_of(NEGATIVE)) == first
        edited = double.edit(kind, note=[{"text": "Not so."}], conclusionCode=[{"text": "Cyst"}])
        assert write(reports(double), grown()) != first
        assert double.store[f"{kind}/{edited['id']}"] == edited


@pytest.mark.parametrize("etags", [True, False])
def test_an_edit_before_we_could_look_is_a_persons_all_the_same(etags: bool) -> None:
    edited: list[Resource] = []

    def before(seen: Seen) -> Reply | None:
        if seen.method == "GET" and live(double, "DiagnosticReport") and not edited:
            edited.append(double.edit("DiagnosticReport", conclusion="A cyst."))
        return None

    with FhirDouble(replace(SERVERS["complete"], rewrites=narrated, etags=etags)) as double:
        double.before = before
        first = write(reports(double))
        assert write(reports(double), grown()) != first
        assert double.store[first] == edited[0]


@pytest.mark.parametrize("rewrites", REWRITERS)
def test_what_was_superseded_is_stated_anew_on_a_server_that_rewrites(
    rewrites: Callable[[Resource], Resource],
) -> None:
    with FhirDouble(replace(SERVERS["complete"], rewrites=rewrites)) as double:
        first = write(reports(double))
        assert write(reports(double), nothing()) == ""
        assert live(double, "DiagnosticReport") == []
        assert write(reports(double)) == first
        one(double)


def test_what_a_server_rewrote_is_recalled() -> None:
    with FhirDouble(replace(SERVERS["complete"], rewrites=narrated)) as double:
        write(reports(double))
        assert states(recaller(double).rows()) == {"DiagnosticReport": DONE, "Observation": DONE}


def test_a_server_that_keeps_our_words_is_written_to_once() -> None:
    with FhirDouble() as double:
        write(reports(double))
        assert len(double.writes) == len(set(double.writes))
