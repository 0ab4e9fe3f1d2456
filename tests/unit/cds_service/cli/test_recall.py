"""``scanhook recall``: a mistyped command recalls nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.cli import group

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
