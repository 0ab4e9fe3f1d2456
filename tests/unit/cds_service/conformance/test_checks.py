"""A good service has no finding, and each planted fault is found by the check that is for it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cds_service.conformance.catalogue import CHECKS, of_requirements
from cds_service.conformance.examination import Examination, Subject
from cds_service.conformance.findings import Finding, Verdict, examine
from cds_service.conformance.hooks import Who
from cds_service.conformance.requirement import Check
from tests.doubles import ehr
from tests.doubles.examined import ORIGIN, ClientSender, identity
from tests.doubles.planted_faults import PLANTED
from tests.doubles.planted_service import PlantedService

BY_NAME = {check.name: check for check in CHECKS}


def examination(*faults: str, took_ms: float | None = 1.0, **subject: Any) -> Examination:
    service = PlantedService(set(faults))
    values = {"who": Who("p1", "Practitioner/example", "e1"), "origin": ORIGIN, **subject}
    return Examination(
        base_url=ehr.BASE_URL,
        sender=ClientSender(service.app.test_client(), took_ms),
        identity=identity(service.clock, jku=ehr.JWKS_URL),
        subject=Subject(**values),
    )


def found(exam: Examination, *names: str) -> list[Finding]:
    return examine(exam, [BY_NAME[name] for name in names] if names else CHECKS)


def test_every_check_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(CHECKS)


def test_a_good_service_keeps_every_requirement() -> None:
    findings = found(examination())
    assert [f for f in findings if f.verdict is Verdict.BROKEN] == []
    left = {f.check.name for f in findings if f.verdict is Verdict.NOT_EXAMINED}
    assert left == {
        "both-kinds-of-scopes-are-read",
        "named-servers-are-not-asked",
        "the-server-alone-is-enough",
    }


@pytest.mark.parametrize(("fault", "name"), PLANTED.items())
def test_each_planted_fault_is_found(fault: str, name: str) -> None:
    (finding,) = found(examination(fault), name)
    assert finding.verdict is Verdict.BROKEN
    assert all(finding.sentences)


def test_each_check_finds_a_planted_fault_or_is_tested_below() -> None:
    others = {
        "the-service-is-reached-over-tls",
        "both-kinds-of-scopes-are-read",
        "named-servers-are-not-asked",
        "calls-are-answered-soon",
        "no-call-takes-long",
        "the-server-alone-is-enough",
        "odd-json-is-no-crash",
        "malformed-feedback-is-no-crash",
    }
    assert {check.name for check in CHECKS} - set(PLANTED.values()) == others


def test_a_crash_over_odd_json_is_found() -> None:
    names = ("odd-json-is-no-crash", "malformed-feedback-is-no-crash")
    assert [f.verdict for f in found(examination("eval"), *names)] == [Verdict.BROKEN] * 2


@pytest.mark.parametrize(
    ("took_ms", "soon", "long"),
    [(499.0, "kept", "kept"), (501.0, "broken", "kept"), (5001.0, "broken", "broken")],
)
def test_slow_answers_are_found(took_ms: float, soon: str, long: str) -> None:
    findings = found(examination(took_ms=took_ms), "calls-are-answered-soon", "no-call-takes-long")
    assert [f.verdict for f in findings] == [soon, long]


def test_plain_http_is_broken_but_on_this_machine() -> None:
    exam = examination()
    for base_url, verdict in (
        ("http://ehr.example.org", Verdict.BROKEN),
        ("http://127.0.0.1:8080", Verdict.NOT_EXAMINED),
        ("http://127.0.0.1.example.org", Verdict.BROKEN),
    ):
        exam.base_url = base_url
        assert found(exam, "the-service-is-reached-over-tls")[0].verdict is verdict


def test_the_order_of_the_checks_does_not_matter() -> None:
    forwards = found(examination("hard-stop", "replay", "no-title"))
    exam = examination("hard-stop", "replay", "no-title")
    backwards = examine(exam, CHECKS[::-1])[::-1]
    assert [(f.check, f.verdict) for f in forwards] == [(f.check, f.verdict) for f in backwards]


def test_an_examination_is_polite() -> None:
    exam = examination()
    found(exam)
    assert exam.requests < 130


def test_an_examination_ends_when_enough_was_asked() -> None:
    exam = examination()
    exam.requests = 10_000
    assert Verdict.BROKEN not in {f.verdict for f in found(exam)}
    assert exam.requests == 10_000


def test_an_examination_of_a_service_that_hangs_ends() -> None:
    exam = examination()
    seconds = itertools.count(0, 100)
    exam.monotonic = lambda: float(next(seconds))
    left = [f for f in found(exam) if "300 s" in "".join(f.sentences)]
    assert exam.requests < 5
    assert len(left) > 50


def test_a_service_that_does_not_let_us_in_is_not_judged_by_its_refusals() -> None:
    exam = examination()
    exam.identity = identity(exam.identity.clock, issuer="https://unknown.example.org")
    findings = found(exam)
    assert not exam.admitted
    assert [f for f in findings if f.verdict is Verdict.BROKEN] == []


def test_a_service_without_feedback_keeps_the_specification() -> None:
    findings = found(
        examination("no-feedback"), "feedback-is-accepted", "other-feedback-is-refused"
    )
    assert {f.verdict for f in findings} == {Verdict.NOT_EXAMINED}


def test_a_call_that_never_lets_go_of_one_card_shows_some_of_it() -> None:
    (finding,) = found(examination("no-hook", "no-description"), "services-are-described")
    assert len(finding.sentences) == 2


WEIRD: list[Any] = [
    [], {}, {"services": None}, {"services": [None, 7, []]}, {"services": [{}]},
    {"services": [{"id": [], "hook": {}}]}, {"services": [{"id": "a/b", "hook": "patient-view"}]},
    {"services": [{"id": "greeter", "hook": "patient-view", "prefetch": {"a": "{{" * 50}}]},
    {"services": [{"id": "greeter", "hook": "x.y", "description": "d", "prefetch": []}]},
]  # fmt: skip


@pytest.mark.parametrize("discovery", WEIRD)
def test_no_discovery_makes_the_examination_crash(
    discovery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlantedService, "discover", lambda _: discovery)
    found(examination())


CARDS: list[Any] = [
    None, 7, "x", {}, {"summary": 7, "source": []}, {"links": {}}, {"links": [7]},
    {"links": [{"url": "http://[::1"}]}, {"links": [{"url": 7, "type": []}]},
    {"suggestions": 7}, {"suggestions": [{"actions": 7}]}, {"suggestions": [{"actions": [7]}]},
    {"overrideReasons": {}}, {"extension": 7}, {"uuid": []}, {"source": {"topic": 7, "url": 7}},
    {"selectionBehavior": []}, {"indicator": {}}, {"detail": []},
]  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_no_card_makes_the_examination_crash(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlantedService, "card", lambda _: card)
    findings = found(examination(), "cards-have-what-is-required", *(
        check.name for check in CHECKS if check.id in ("A62", "A63", "A64", "A65", "A66", "A67",
        "A68", "A69", "A70", "A71", "A72", "A75", "A10", "A07"))
    )  # fmt: skip
    assert findings[0].verdict is Verdict.BROKEN


def test_checks_are_chosen_by_requirement() -> None:
    assert [check.id for check in of_requirements("a62", "A63")] == ["A62", "A62", "A63"]
    assert of_requirements() == CHECKS


def test_a_check_is_made_of_a_function() -> None:
    check: Check = BY_NAME["summaries-are-short"]
    assert (check.id, check.level) == ("A62", "SHALL")
    assert "140" in check.sentence
    assert check.clause == "CDS Hooks 2.0.1, Card Attributes"
