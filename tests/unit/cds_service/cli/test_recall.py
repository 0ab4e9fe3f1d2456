"""``scanhook recall``: a mistyped command recalls nothing, one silent server stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.cli import group
from tests.doubles.faulty_http import FaultyServer, answer
from tests.doubles.fhir_server import FhirDouble

SETTINGS = """
environment = "development"
state_dir = "{state}"
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
    config.write_text(SETTINGS.format(state=tmp_path / "state"))
    command = ["--config", str(config), "recall", "--device", "toy@1", *options]
    assert CliRunner().invoke(group, command).exit_code == code
    assert (tmp_path / "state" / "recalls.jsonl").exists() is noted


def test_a_server_that_fails_stops_no_other_tenants_recall(tmp_path: Path) -> None:
    south = SETTINGS[SETTINGS.index("[[tenants]]") :].replace("north", "south")
    south = south.replace("ehr.example", "south.example")
    config = tmp_path / "scanhook.toml"
    with FaultyServer(lambda seen: answer(400)) as broken, FhirDouble() as other:
        bases = (f"{broken.base_url}/fhir", other.base_url)
        tenants = [
            part.replace(f'"https://{host}.example.org/fhir"', f'"{base}"\nbackend = "open"')
            for part, host, base in zip((SETTINGS, south), ("ehr", "south"), bases, strict=True)
        ]
        config.write_text("".join(tenants).format(state=tmp_path / "state"))
        command = ["--config", str(config), "recall", "--device", "toy@1", "--json"]
        ended = CliRunner().invoke(group, command)
        assert ended.exit_code == 1, ended.output
        (row,) = json.loads(ended.stdout)
        assert (row["tenant"], row["state"]) == ("north", "failed: rejected")
        assert other.seen
