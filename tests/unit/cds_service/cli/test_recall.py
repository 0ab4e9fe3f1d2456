"""``scanhook recall``: a mistyped command recalls nothing, one silent server stops no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.cli import group, recall
from cds_service.writing.recall import DONE, UNASKED, Row
from fhir_mapping.identity import IDENTIFIER_ROOT
from tests.doubles.faulty_http import FaultyServer, answer
from tests.doubles.fhir_server import FhirDouble
from tests.reference.toy import FOLDER

KNOWN = "toy-glow@1.0.0"
SETTINGS = """
environment = "development"
state_dir = "{state}"
models_dirs = ["{models}"]
[[archives]]
name = "pacs"
base_url = "https://pacs.example.org/dicom-web"
[[tenants]]
name = "north"
issuer = "https://ehr.example.org"
jwks_url = "https://ehr.example.org/jwks.json"
fhir_base = "https://ehr.example.org/fhir"
archive = "pacs"
"""


@pytest.mark.parametrize(
    ("options", "code", "noted"),
    [
        ([], 0, True),
        (["--device", "toy-glow@9"], 3, False),
        (["--dry-run"], 0, False),
        (["--tenant", "nroth"], 3, False),
        (["--tenant", "north", "--tenant", "nroth"], 3, False),
        (["--from", "2026-05-01", "--to", "2026-01-01"], 2, False),
    ],
)
def test_cards_hear_of_a_recall_only_when_it_can_be_made(
    tmp_path: Path, options: list[str], code: int, noted: bool
) -> None:
    config = tmp_path / "scanhook.toml"
    shutil.copytree(FOLDER, tmp_path / "models" / "toy")
    (tmp_path / "models" / "toy" / "CARD.md").write_text("# Toy\n")
    config.write_text(SETTINGS.format(state=tmp_path / "state", models=tmp_path / "models"))
    command = ["--config", str(config), "recall", "--device", KNOWN, *options]
    ended = CliRunner().invoke(group, command)
    assert ended.exit_code == code, ended.output
    assert code or UNASKED in " ".join(ended.output.split())
    assert (tmp_path / "state" / "recalls.jsonl").exists() is noted


def test_a_version_that_no_server_knows_is_no_recall(tmp_path: Path) -> None:
    config = tmp_path / "scanhook.toml"
    (tmp_path / "models").mkdir()
    device = {
        "resourceType": "Device",
        "id": "d",
        "modelNumber": "toy",
        "version": [{"value": "1"}],
        "identifier": [{"system": f"{IDENTIFIER_ROOT}:device", "value": "x"}],
    }
    with FhirDouble() as server:
        base = f'"{server.base_url}"\nbackend = "open"'
        text = SETTINGS.replace('"https://ehr.example.org/fhir"', base)
        config.write_text(text.format(state=tmp_path / "state", models=tmp_path / "models"))
        command = ["--config", str(config), "recall", "--device", "toy@1"]
        refused = CliRunner().invoke(group, command)
        assert (refused.exit_code, "toy@1" in refused.output) == (3, True), refused.output
        assert not (tmp_path / "state" / "recalls.jsonl").exists()
        server.store["Device/d"] = device
        ended = CliRunner().invoke(group, [*command, "--tenant", "north"])
        assert ended.exit_code == 0, ended.output
        line = json.loads((tmp_path / "state" / "recalls.jsonl").read_text())
        assert line["tenants"] == ["north"]


def test_a_server_that_fails_stops_no_other_tenants_recall(tmp_path: Path) -> None:
    south = SETTINGS[SETTINGS.index("[[tenants]]") :].replace("north", "south")
    south = south.replace("ehr.example", "south.example")
    config = tmp_path / "scanhook.toml"
    (tmp_path / "models").mkdir()
    with FaultyServer(lambda seen: answer(400)) as broken, FhirDouble() as other:
        bases = (f"{broken.base_url}/fhir", other.base_url)
        tenants = [
            part.replace(f'"https://{host}.example.org/fhir"', f'"{base}"\nbackend = "open"')
            for part, host, base in zip((SETTINGS, south), ("ehr", "south"), bases, strict=True)
        ]
        config.write_text(
            "".join(tenants).format(state=tmp_path / "state", models=tmp_path / "models")
        )
        command = ["--config", str(config), "recall", "--device", "toy@1", "--json"]
        ended = CliRunner().invoke(group, command)
        assert ended.exit_code == 1, ended.output
        (row,) = json.loads(ended.stdout)
        assert (row["tenant"], row["state"]) == ("north", "failed: rejected")
        assert other.seen


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        ([], "0 found"),
        ([("", "failed: timeout")], "not all could be looked for"),
        ([("", UNASKED)], "not all could be looked for"),
        ([("Observation/1", DONE)], "1 found"),
        (
            [("Observation/1", DONE), ("", "failed: timeout")],
            "1 found; not all could be looked for",
        ),
    ],
)
def test_nothing_is_said_to_be_found_where_it_could_not_be_looked_for(
    rows: list[tuple[str, str]], last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "scanhook.toml"
    (tmp_path / "models").mkdir()
    config.write_text(SETTINGS.format(state=tmp_path / "state", models=tmp_path / "models"))
    found = [Row(reference, "", state) for reference, state in rows]
    monkeypatch.setattr(recall, "_may_be_known", lambda *_: True)
    monkeypatch.setattr(recall, "_rows", lambda *_: found)
    command = ["--config", str(config), "recall", "--device", "toy@1"]
    ended = CliRunner().invoke(group, command)
    assert ended.output.splitlines()[-1] == last
