"""Commands that search charts: refused where nobody may, and one EHR's fault stops no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.bootstrap import Site
from cds_service.bootstrap.triggers import searchable
from cds_service.cli import group, subscribe
from cds_service.clients.errors import Unreachable
from cds_service.settings import load

SETTINGS = """
environment = "development"
base_url = "https://ai.example.org"
site_secrets = ["0123456789-0123456789-0123456789"]
state_dir = "{state}"
{site}
[[archives]]
name = "pacs"
base_url = "https://pacs.example.org/dicom-web"
"""
TENANT = """
[[tenants]]
name = "{name}"
issuer = "https://{name}.example.org"
jwks_url = "https://{name}.example.org/jwks.json"
fhir_base = "https://{name}.example.org/fhir"
archive = "pacs"
{more}
"""
SMART = 'backend = "smart"\nclient_id = "us"\nsigning_key_file = "key.json"\n'


def written(folder: Path, *tenants: str, site: str = "", tables: str = "") -> Path:
    path = folder / "scanhook.toml"
    made = [
        TENANT.format(name=name, more=more)
        for name, more in zip(("north", "south"), tenants, strict=False)
    ]
    path.write_text(SETTINGS.format(state=folder / "state", site=site) + "".join(made) + tables)
    return path


@pytest.mark.parametrize(
    ("tenant", "tables", "may"),
    [
        ("", "", False),
        ("", "[triggers]", False),
        ('backend = "open"', "", True),
        (SMART, "", False),
        (f"{SMART}write_back = false", "", False),
        (SMART, "[triggers]", True),
        (f'{SMART}scopes = ["system/DiagnosticReport.crus"]', "[triggers]", False),
        (f'{SMART}scopes = ["system/ImagingStudy.rs", "system/Patient.r"]', "", True),
    ],
)
def test_charts_are_searched_only_where_that_may_be(
    tmp_path: Path, tenant: str, tables: str, may: bool
) -> None:
    config = written(tmp_path, tenant, tables=tables)
    assert bool(searchable(Site(load(config)))) is may
    for command in (["poll", "--once"], ["backfill", "--from", "2026-01-01", "--to", "2026-01-01"]):
        if not may:
            ended = CliRunner().invoke(group, ["--config", str(config), *command])
            assert ended.exit_code == 3, ended.output
            assert "[triggers]" in ended.output


def test_a_tenant_that_cannot_subscribe_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = "".join(f'[[triggers.subscriptions]]\ntenant = "{t}"\n' for t in ("north", "south"))
    config = written(tmp_path, 'backend = "open"', 'backend = "open"', tables=tables)

    def answered(site: Site, tenant: str) -> str:
        if tenant == "north":
            raise Unreachable("The FHIR server is away.")
        return "Subscription/1"

    monkeypatch.setattr(subscribe, "subscribe", answered)
    ended = CliRunner().invoke(group, ["--config", str(config), "subscribe"])
    assert ended.exit_code == 1, ended.output
    assert "north: The FHIR server is away." in ended.output
    assert "south: Subscription/1 is active" in ended.output


@pytest.mark.parametrize(
    ("tables", "options", "said"),
    [
        ("", [], "the settings name no subscription"),
        ("", ["--tenant", "north"], "the settings name no subscription"),
        (
            '[[triggers.subscriptions]]\ntenant = "north"\n',
            ["--tenant", "south"],
            "no subscription in the settings is of a tenant named south",
        ),
    ],
)
def test_a_subscription_that_is_not_configured_is_told_from_none_at_all(
    tmp_path: Path, tables: str, options: list[str], said: str
) -> None:
    config = written(tmp_path, 'backend = "open"', 'backend = "open"', tables=tables)
    ended = CliRunner().invoke(group, ["--config", str(config), "subscribe", *options])
    assert (ended.exit_code, said in ended.output) == (3, True), ended.output
