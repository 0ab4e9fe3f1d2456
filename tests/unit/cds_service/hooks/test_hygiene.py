"""Alert hygiene: what was overridden, what is switched off, and what one tenant wants to see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cds_service.claims import EXTENSION
from cds_service.feedback import Feedback
from cds_service.model_choice import ServedModels
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import State
from cds_service.summary import StudySummary
from inference.analysis import Outcome
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, Site, known, patient_view, settings
from tests.reference.cards.states import (
    FINDING,
    FINDING_OUTLINED,
    GLIOMA,
    MEASURED,
    NO_FINDING,
    OUTLINE,
    RESULT,
)

BLEEDING = GLIOMA.model_copy(update={"key": "bleeding", "display": "Bleeding", "probability": 0.7})
OTHER = RESULT.model_copy(
    update={"model_id": "other", "finding": BLEEDING, "probabilities": (BLEEDING,)}
)
BOTH = FINDING.model_copy(update={"results": (RESULT, OTHER)})
ALL = ServedModels("models-1", frozenset({RESULT.model_id, OTHER.model_id, OUTLINE.model_id}))


def site(**changes: Any) -> Site:
    """One EHR whose tenant has these settings."""
    return Site(settings(tenants=[{**ehr.tenant().model_dump(), **changes}]), models=ALL)


def cards(at: Site) -> list[dict[str, Any]]:
    headers = at.ehr.bearer(PATIENT_VIEW)
    answer = at.client().post(PATIENT_VIEW, json=patient_view(), headers=headers)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.get_json()["cards"]
    return found


def label(card: dict[str, Any]) -> str | None:
    stated: str | None = card["extension"][EXTENSION].get("label")
    return stated


def override(at: Site) -> None:
    (card,) = cards(at)
    assert at.ledger.note("ehr", [Feedback(card["uuid"], "overridden", "disagree", 0)])


@pytest.mark.parametrize(
    "changes",
    [{}, {"models": "models-2"}, {"explanation_id": "cd" * 32}, {"report_id": "r"}],
    ids=["again", "another set of models", "another page", "another report"],
)
def test_an_overridden_card_does_not_come_back(changes: dict[str, Any]) -> None:
    at = site()
    known(at, instance_digest="ab" * 32)
    override(at)
    at.models = replace(ALL, version=changes.get("models", ALL.version))
    known(at, instance_digest="ab" * 32, **changes)
    assert cards(at) == []


@pytest.mark.parametrize("summary", [NO_FINDING, MEASURED])
def test_any_result_may_be_overridden(summary: StudySummary) -> None:
    at = site()
    at.models = replace(ALL, ids=ALL.ids | {"chest-xray-lungs"})
    known(at, summary=summary.to_json())
    override(at)
    assert cards(at) == []


def test_a_study_that_has_grown_or_a_new_version_makes_a_new_card() -> None:
    at = site()
    known(at, instance_digest="ab" * 32)
    override(at)
    known(at, instance_digest="cd" * 32)
    assert [label(card) for card in cards(at)] == ["glioma"]
    newer = RESULT.model_copy(update={"model_version": "1.0.1"})
    found = FINDING.model_copy(update={"results": (newer,)})
    known(at, instance_digest="ab" * 32, summary=found.to_json())
    assert [label(card) for card in cards(at)] == ["glioma"]


def test_a_finding_of_another_model_leads_where_the_first_was_overridden() -> None:
    at = site()
    known(at)
    override(at)
    known(at, summary=BOTH.to_json())
    (card,) = cards(at)
    assert label(card) == "bleeding"
    override(at)
    assert cards(at) == []


def test_a_switch_takes_effect_at_the_next_hook_and_orders_the_study_again() -> None:
    at = site()
    known(at, summary=BOTH.to_json())
    assert [label(card) for card in cards(at)] == ["glioma"]
    at.models = ServedModels("without", frozenset({OTHER.model_id}))
    (card,) = cards(at)
    assert label(card) == "bleeding"
    assert "glioma" not in str(card).lower()
    assert len(at.queue.orders) == 1
    at.models = ServedModels("nothing", frozenset())
    (card,) = cards(at)
    assert label(card) is None
    assert "no result yet" in card["summary"]


def test_switches_that_cannot_be_read_let_nothing_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = site()
    known(at)

    def away(_: Site) -> ServedModels:
        raise QueueUnavailable("away")

    monkeypatch.setattr(Site, "models", property(away), raising=False)
    (card,) = cards(at)
    assert card["extension"][EXTENSION]["state"] == "unavailable"


@pytest.mark.parametrize(
    ("found", "ids", "outcome", "left"),
    [
        (FINDING_OUTLINED, {RESULT.model_id, OUTLINE.model_id}, Outcome.FINDING, 2),
        (FINDING_OUTLINED, {RESULT.model_id}, Outcome.FINDING, 1),
        (FINDING_OUTLINED, {OUTLINE.model_id}, Outcome.NOT_ANALYSED, 0),
        (BOTH, {OTHER.model_id}, Outcome.FINDING, 1),
        (NO_FINDING, {RESULT.model_id}, Outcome.NO_FINDING, 1),
        (
            NO_FINDING.model_copy(update={"results": (*NO_FINDING.results, OUTLINE)}),
            {RESULT.model_id},
            Outcome.NOT_ANALYSED,
            0,
        ),
    ],
)
def test_what_rests_on_a_model_goes_with_it(
    found: StudySummary, ids: set[str], outcome: Outcome, left: int
) -> None:
    kept = found.of_models(ids)
    assert (kept.outcome, len(kept.results)) == (outcome, left)


def test_a_tenant_has_its_own_indicator_and_silence() -> None:
    loud = site(cards={"finding_indicator": "critical"})
    known(loud)
    assert [card["indicator"] for card in cards(loud)] == ["critical"]
    for silent, shown in ((False, []), (None, ["info"])):
        at = site(cards={"show_no_finding": silent})
        known(at, summary=NO_FINDING.to_json())
        assert [card["indicator"] for card in cards(at)] == shown


def test_a_tenant_that_says_nothing_is_as_the_site() -> None:
    at = site()
    assert at.deps.desk.of(at.settings.tenants[0]).settings == at.settings.hook


def test_there_is_one_card_for_a_study_whatever_many_models_say() -> None:
    at = site()
    known(at, State.FINAL, summary=BOTH.to_json())
    assert len(cards(at)) == 1
