"""The kill switch and the feedback on the command line, beside a running web process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from cds_service.bootstrap import Site
from cds_service.bootstrap.web import web_app
from cds_service.claims import EXTENSION
from cds_service.cli import group
from cds_service.feedback import Feedback
from cds_service.settings import load
from tests.doubles.answered import answers

pytestmark = pytest.mark.peer

BRAIN = "brain-mri-tumour"
SETTINGS = """
environment = "development"
redis_url = "{url}"
state_dir = "{state}"
site_secrets = ["0123456789-0123456789-0123456789"]
{more}
"""


@pytest.fixture
def config(valkey_server: Any, tmp_path: Path) -> Path:
    Redis.from_url(valkey_server.url).flushall()
    return written(valkey_server.url, tmp_path)


def written(url: str, folder: Path, more: str = "") -> Path:
    path = folder / "scanhook.toml"
    path.write_text(SETTINGS.format(url=url, state=folder / "state", more=more))
    return path


def run(config: Path, *line: str) -> str:
    ended = CliRunner().invoke(group, ["--config", str(config), *line])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_a_switch_is_seen_by_a_web_process_that_was_there_before(config: Path) -> None:
    client = web_app(Site(load(config))).test_client()

    def seen() -> tuple[str, str]:
        (metric,) = [
            line[-3:]
            for line in client.get("/metrics").get_data(as_text=True).splitlines()
            if line.startswith(f'scanhook_model_disabled{{model="{BRAIN}"}}')
        ]
        models = client.get("/readyz").get_json()["models"]
        return metric, next(said for name, said in models.items() if name.startswith(f"{BRAIN} "))

    assert seen()[0] == "0.0"
    assert run(config, "models", "disable", BRAIN) == f"{BRAIN}: switched off\n"
    assert run(config, "models", "disable", BRAIN) == f"{BRAIN}: was switched off already\n"
    assert seen() == ("1.0", "switched off: not run, and on no card")
    assert "switched off" in run(config, "models", "list")
    assert run(config, "models", "enable", BRAIN) == f"{BRAIN}: switched on\n"
    assert seen()[0] == "0.0"


def test_what_the_settings_switch_off_stays_off(config: Path, valkey_server: Any) -> None:
    path = written(valkey_server.url, config.parent, f'[models]\ndisabled = ["{BRAIN}"]')
    assert "stays off" in run(path, "models", "enable", BRAIN)
    assert "switched off" in run(path, "models", "list")
    assert Site(load(path)).disabled_models(patient=False)() == {BRAIN}


@pytest.mark.parametrize("line", [["models", "disable", "nothing"], ["feedback", "forget", "5d"]])
def test_what_is_not_there_ends_with_3(config: Path, line: list[str]) -> None:
    ended = CliRunner().invoke(group, ["--config", str(config), *line])
    assert ended.exit_code == 3, ended.output


def test_feedback_is_listed_by_model_version_and_cards_come_back(
    config: Path, valkey_server: Any
) -> None:
    ledger, study = Site(load(config)).card_ledger(patient=False), "5d" * 16
    models = [{"model": BRAIN, "version": "0.2.0"}]
    for number, outcome in enumerate(["overridden", "overridden", "overridden", "accepted"]):
        said = {"study": study, "state": "final", "models": models, "images": f"{number}"}
        ledger.issued("north", "service", [{"uuid": f"{number}", "extension": {EXTENSION: said}}])
        reason = "disagree" if outcome == "overridden" else "none"
        ledger.note("north", [Feedback(f"{number}", outcome, reason, 0)])
    table = run(config, "feedback")
    assert [word in table for word in (BRAIN, "0.2.0", "25%", "disagree")] == [True] * 4
    listed = json.loads(run(config, "feedback", "--json"))
    assert [(row["outcome"], row["reason"], row["cards"]) for row in listed] == [
        ("accepted", "none", 1),
        ("overridden", "disagree", 3),
    ]
    assert run(config, "feedback", "forget", study) == f"{study}: its cards are shown again\n"
    assert answers(Redis.from_url(valkey_server.url), ledger, [study]) == {study: {}}


def test_no_feedback_is_an_empty_table_and_an_empty_list(config: Path) -> None:
    assert json.loads(run(config, "feedback", "--json")) == []
    assert "acceptance" in run(config, "feedback")
