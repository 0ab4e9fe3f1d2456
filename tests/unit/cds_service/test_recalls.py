"""What was recalled is said to be recalled, and states no finding any more."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from cds_service.cards import CardSite, KnownStudy, study_card
from cds_service.claims import EXTENSION
from cds_service.recalls import Recalled, Recalls
from cds_service.security.links import Links
from cds_service.settings import HookSettings
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from tests.doubles import ehr, explained
from tests.doubles.hooking import FixedLinks
from tests.reference.cards.states import CASES, STUDY
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


def test_the_page_says_recalled_and_its_pictures_are_gone(recalls: Recalls, tmp_path: Path) -> None:
    store, links = ExplanationStore(tmp_path / "x"), Links([SECRET], "https://ai.example.org", 900)
    analysis = explained.finding()
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
    assert client.get(path).status_code == 200
    result = analysis.results[0]
    recalls.add(Recalled(result.model_id, result.model_version, tenants=("south",)))
    assert client.get(path).status_code == 200
    recalls.add(Recalled(result.model_id, result.model_version, tenants=("north",)))
    page = client.get(path)
    assert page.status_code == 410
    assert b"recalled" in page.data
    assert client.get(f"{path}/0/image.png").status_code == 404
