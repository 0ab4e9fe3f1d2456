"""What was recalled is said to be recalled, and states no finding any more."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.cards import CardSite, study_card
from cds_service.claims import EXTENSION
from cds_service.known_study import KnownStudy
from cds_service.queue.state import StudyRecord
from cds_service.recalls import Recalled, Recalls, nothing_recalled
from cds_service.security.links import Links
from cds_service.settings import HookSettings
from cds_service.store import ExplanationStore
from cds_service.summary import StudySummary
from cds_service.viewer import viewer_blueprint
from inference.analysis import Analysis
from inference.outcomes import study_outcome
from tests.doubles import ehr, explained
from tests.doubles.hooking import FixedLinks
from tests.reference.cards.states import (
    CASES,
    FINDING,
    FINDING_OUTLINED,
    INDETERMINATE,
    NO_FINDING,
    NOT_ANALYSED,
    STUDY,
)
from tests.unit.cds_service.viewer.test_routes import ID, NOW, SECRET, Cards
from tests.unit.cds_service.viewer.test_routes import STUDY as STUDY_KEY

MODEL, VERSION = "brain-mri-tumour", "1.0.0"


@pytest.fixture
def recalls(tmp_path: Path) -> Recalls:
    return Recalls(tmp_path / "state" / "recalls.jsonl")


def test_a_recall_is_known_to_every_process_at_once(recalls: Recalls, tmp_path: Path) -> None:
    path = tmp_path / "state" / "recalls.jsonl"
    other = Recalls(path)
    assert not other.concern("north", [(MODEL, VERSION)], 5)
    for _ in range(2):
        recalls.add(Recalled(MODEL, VERSION, 3, 7))
    assert other.concern("north", [("x", "1"), (MODEL, VERSION)], 5)
    assert len(path.read_text().splitlines()) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("model", "version", "analysed_ms"),
    [(MODEL, VERSION, 2), (MODEL, VERSION, 8), (MODEL, "1.0.1", 5), ("other", VERSION, 5)],
)
def test_other_times_versions_and_models_are_not_recalled(
    recalls: Recalls, model: str, version: str, analysed_ms: int
) -> None:
    recalls.add(Recalled(MODEL, VERSION, 3, 7))
    assert not recalls.concern("north", [(model, version)], analysed_ms)


@pytest.mark.parametrize(("tenant", "hit"), [("north", True), ("south", False), ("", True)])
def test_a_recall_for_one_tenant_leaves_the_others(
    recalls: Recalls, tenant: str, hit: bool
) -> None:
    recalls.add(Recalled(MODEL, VERSION, tenants=("east", "north")))
    assert recalls.concern(tenant, [(MODEL, VERSION)], 5) is hit


@pytest.mark.parametrize("junk", ["", "{", "[]", "7", '{"model_id": 1}', '{"a": 1}', "\x00" * 9])
def test_a_damaged_line_hides_no_other(recalls: Recalls, tmp_path: Path, junk: str) -> None:
    recalls.add(Recalled(MODEL, VERSION))
    path = tmp_path / "state" / "recalls.jsonl"
    path.write_text(f"{junk}\n{path.read_text()}{junk}\n")
    assert Recalls(path).concern("north", [(MODEL, VERSION)], 5)


@pytest.mark.parametrize("name", ["finding", "no-finding", "finding-outlined", "outdated-finding"])
def test_the_card_says_recalled_and_nothing_else(recalls: Recalls, name: str) -> None:
    case = CASES[name]
    known = KnownStudy(STUDY, case.record, case.ahead)
    summary = known.summary
    assert summary is not None
    result = summary.results[0]
    recalls.add(Recalled(result.model_id, result.model_version, tenants=("north",)))
    site = CardSite("St. Elsewhere", HookSettings(), FixedLinks(), lambda: ehr.NOW_S)
    before = study_card(known, site)
    own = replace(site, recalled=recalls.concern)
    after = study_card(replace(known, tenant="north"), own)
    assert study_card(replace(known, tenant="south"), own) == before
    assert before is not None
    assert after is not None
    assert "recalled" in after["summary"]
    assert after["uuid"] != before["uuid"]
    assert after["extension"][EXTENSION]["state"] == "recalled"
    said = json.dumps(after).lower()
    assert not [p for p in result.probabilities if p.display.lower() in said]
    assert "links" not in after


def kept_page(folder: Path, recalls: Recalls, analysis: Analysis) -> tuple[FlaskClient, str]:
    """A client of the pages, and the path of the page of this analysis."""
    store, links = ExplanationStore(folder / "x"), Links([SECRET], "https://ai.example.org", 900)
    store.keep(
        analysis,
        explanation_id=ID,
        study_key=STUDY_KEY,
        analysed_ms=explained.ANALYSED_MS,
        notes=explained.NOTES,
        tenant="north",
    )
    app = Flask("site")
    app.register_blueprint(
        viewer_blueprint(store, links, Cards(), clock_s=lambda: NOW, recalled=recalls.concern)
    )
    path = links.explanation_url(ID, STUDY_KEY, NOW).removeprefix("https://ai.example.org")
    client = app.test_client()
    return client, path


def test_the_page_says_recalled_and_its_pictures_are_gone(recalls: Recalls, tmp_path: Path) -> None:
    analysis = explained.finding()
    client, path = kept_page(tmp_path, recalls, analysis)
    assert client.get(path).status_code == 200
    result = analysis.results[0]
    recalls.add(Recalled(result.model_id, result.model_version, tenants=("south",)))
    assert client.get(path).status_code == 200
    recalls.add(Recalled(result.model_id, result.model_version, tenants=("north",)))
    page = client.get(path)
    assert page.status_code == 410
    assert b"recalled" in page.data
    assert client.get(f"{path}/0/image.png").status_code == 404


OTHER = ("chest-x-ray", "2.1.0")


def both(first: StudySummary, **changes: Any) -> StudyRecord:
    """A record of an analysis by two models, of which the second found something."""
    other = FINDING.results[0].model_copy(
        update={
            "model_id": OTHER[0],
            "model_version": OTHER[1],
            "model_title": "Chest",
            "finding": FINDING.results[0].finding,
            **changes,
        }
    )
    results = (*first.results, other)
    found = first.model_copy(update={"results": results, "outcome": study_outcome(results)})
    return replace(CASES["finding"].record, summary=found.to_json())


@pytest.mark.parametrize("first", [FINDING, NO_FINDING, FINDING_OUTLINED])
def test_only_what_the_recalled_model_said_leaves_the_card(
    recalls: Recalls, first: StudySummary
) -> None:
    study = KnownStudy(STUDY, both(first), tenant="north")
    site = CardSite("St. Elsewhere", HookSettings(), FixedLinks(), lambda: ehr.NOW_S)
    site = replace(site, recalled=recalls.concern)
    before = study_card(study, site)
    recalls.add(Recalled(*OTHER))
    after = study_card(study, site)
    alone = study_card(replace(study, record=both(first)), replace(site, recalled=nothing_recalled))
    assert before == alone
    assert after is not None
    assert before is not None
    said = after["extension"][EXTENSION]
    assert said["outcome"] == first.outcome
    assert said["recalled"] == ["@".join(OTHER)]
    assert OTHER[0] not in {each["model"] for each in said["models"]}
    assert "**Recalled:** what the model Chest, version 2.1.0 said" in after["detail"]
    assert after["uuid"] != before["uuid"]


def test_where_the_others_state_nothing_the_card_says_recalled(recalls: Recalls) -> None:
    recalls.add(Recalled(*OTHER))
    site = CardSite("St. Elsewhere", HookSettings(), FixedLinks(), lambda: ehr.NOW_S)
    for first in (INDETERMINATE, NOT_ANALYSED):
        study = KnownStudy(STUDY, both(first), tenant="north")
        card = study_card(study, replace(site, recalled=recalls.concern))
        assert card is not None
        assert card["extension"][EXTENSION]["state"] == "recalled"


def test_an_answered_card_of_the_others_hides_no_recall(recalls: Recalls) -> None:
    site = CardSite("St. Elsewhere", HookSettings(), FixedLinks(), lambda: ehr.NOW_S)
    study = KnownStudy(STUDY, both(FINDING), tenant="north")
    answered = frozenset(study.claim(result) for result in FINDING.results)
    recalls.add(Recalled(*OTHER))
    card = study_card(replace(study, settled=answered), replace(site, recalled=recalls.concern))
    assert card is not None
    assert card["extension"][EXTENSION]["state"] == "recalled"


def test_only_what_the_recalled_model_said_leaves_the_page(
    recalls: Recalls, tmp_path: Path
) -> None:
    analysis = explained.finding()
    (stays,) = analysis.results
    goes = replace(stays, model_id=OTHER[0], model_version=OTHER[1], model_title="Chest")
    client, path = kept_page(tmp_path, recalls, replace(analysis, results=(stays, goes)))
    parts = ("image.png", "overlay.png", "figure.png")
    before = {
        (n, part): client.get(f"{path}/{n}/{part}").status_code for n in "01" for part in parts
    }
    assert set(before.values()) == {200}
    recalls.add(Recalled(*OTHER))
    page = client.get(path)
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    assert text.count("The model suggests") == 1
    assert "What the model said was recalled" in text
    for (number, part), status in before.items():
        now = client.get(f"{path}/{number}/{part}")
        assert now.status_code == status if number == "0" else now.status_code == 404
    recalls.add(Recalled(stays.model_id, stays.model_version))
    assert client.get(path).status_code == 410
