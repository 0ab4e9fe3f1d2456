"""Settings: complete, frozen, documented, and strict where it matters."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest
from pydantic import BaseModel, ValidationError

from cds_service.bootstrap import Site
from cds_service.bootstrap.smart import registration
from cds_service.errors import UnsafeSettings
from cds_service.settings import (
    ArchiveSettings,
    HookSettings,
    Settings,
    TenantSettings,
    WebSettings,
    WorkerSettings,
    load,
)
from docs.settings_page import page
from tests.doubles import ehr
from tests.doubles.hooking import settings as hook_settings

SECRET = "s" * 40
UNREADABLE = Path("/proc/self/mem")  # a plain file whose first byte nobody may read, root included
ARCHIVE = '[[archives]]\nname = "pacs"\nbase_url = "https://pacs.example.org/dicom-web"\n'
TENANT = """
[[tenants]]
name = "north"
issuer = "https://ehr.example.org"
jwks_url = "https://ehr.example.org/jwks.json"
fhir_base = "https://ehr.example.org/fhir"
archive = "pacs"
"""
PRODUCTION = f'base_url = "https://ai.example.org"\nsite_secrets = ["{SECRET}"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "scanhook.toml"


def test_a_complete_production_file_is_accepted(config: Path) -> None:
    config.write_text(PRODUCTION + ARCHIVE + TENANT)
    settings = load(config)
    assert settings.environment == "production"
    assert settings.tenant_of("https://ehr.example.org") is settings.tenants[0]
    assert settings.tenant_of("https://ehr.example.org/") is None
    assert settings.archive("pacs").base_url == "https://pacs.example.org/dicom-web"


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(PRODUCTION + "[worker]\njob_timeout_s = 60\n")
    monkeypatch.setenv("SCANHOOK_WORKER__JOB_TIMEOUT_S", "90")
    assert load(config).worker.job_timeout_s == 90


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "site_secrets is empty"),
        (f'site_secrets = ["{SECRET}"]', "base_url must be https"),
        ('base_url = "https://a"\nsite_secrets = ["short"]', "shorter than 32"),
        (
            PRODUCTION
            + ARCHIVE
            + TENANT.replace("https://ehr.example.org/fhir", "http://ehr/fhir"),
            "tenant north fhir_base must be https",
        ),
        (
            PRODUCTION
            + ARCHIVE
            + TENANT.replace('"https://ehr.example.org"', '"https://sandbox.cds-hooks.org"'),
            "private key",
        ),
        (PRODUCTION + ARCHIVE + TENANT + 'backend = "open"', "use smart"),
        (
            PRODUCTION + ARCHIVE.replace("https://pacs", "http://pacs"),
            "archive pacs base_url must be https",
        ),
        (
            PRODUCTION + ARCHIVE.replace("https://pacs", "http://127.0.0.1@pacs"),
            "archive pacs base_url must be https",
        ),
        (
            PRODUCTION + ARCHIVE + TENANT + 'token_url = "http://ehr.example.org/token"',
            "tenant north token_url must be https",
        ),
    ],
)
def test_what_is_unfit_for_production_is_refused_with_what_to_set(
    config: Path, text: str, sentence: str
) -> None:
    config.write_text(text)
    with pytest.raises(UnsafeSettings, match=sentence):
        load(config)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("surprise = 1", "surprise"),
        ("[hook]\nwait_ms = 5000", "wait_ms"),
        (ARCHIVE + ARCHIVE, "two archives"),
        (TENANT, "no archive is named"),
        (ARCHIVE + TENANT.replace("jwks_url", "token_url"), "either jwks_url or jwks_file"),
        (ARCHIVE + TENANT + 'backend = "smart"', "smart needs client_id"),
        (ARCHIVE + TENANT + 'algorithms = ["HS256"]', "algorithms"),
    ],
)
def test_a_wrong_file_is_refused_by_name(config: Path, text: str, sentence: str) -> None:
    config.write_text('environment = "development"\n' + text)
    with pytest.raises(UnsafeSettings, match=sentence):
        load(config)


@pytest.mark.parametrize(
    "url",
    [
        "redis://queue.example.org:6379/0",
        "redis://evil-127.0.0.1.example.org",
        "redis://127.0.0.1.example.org",
        "redis://127.0.0.1:secret@queue.example.org",
        "redis://queue.example.org/0?name=127.0.0.1",
        "redis:///0?host=queue.example.org",
        "redis://localhost.example.org",
        "redis://0.0.0.0",
    ],
)
def test_a_queue_elsewhere_is_not_spoken_to_in_clear(config: Path, url: str) -> None:
    config.write_text(f'{PRODUCTION}redis_url = "{url}"')
    with pytest.raises(UnsafeSettings, match="crosses the network") as refusal:
        load(config)
    assert "example.org" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://user:secret@127.8.9.10",
        "redis://[::1]:6379/1",
        "redis://localhost",
        "redis://",
        "rediss://queue.example.org:6380/0",
        "unix:///run/queue.sock",
        "unix://user:secret@/run/queue.sock?db=1",
    ],
)
def test_a_queue_on_this_machine_or_behind_tls_is_accepted(config: Path, url: str) -> None:
    config.write_text(f'{PRODUCTION}redis_url = "{url}"')
    assert load(config).redis_url == url


@pytest.mark.parametrize(
    "url",
    ["http://planted", "planted", "redis://planted:99999", "redis://planted/0?socket_timeout=x"],
)
def test_what_is_no_address_of_a_queue_is_refused_and_not_quoted(config: Path, url: str) -> None:
    config.write_text(f'environment = "development"\nredis_url = "{url}"')
    with pytest.raises(UnsafeSettings, match="redis_url") as refusal:
        load(config)
    assert "planted" not in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8042", "[::1]:8042", "localhost:8042"])
def test_a_sidecar_on_this_machine_may_speak_plain_http(config: Path, host: str) -> None:
    """A proxy in front of the archive or the token endpoint: nothing crosses the network."""
    archive = ARCHIVE.replace("https://pacs.example.org", f"http://{host}")
    config.write_text(PRODUCTION + archive + TENANT + f'token_url = "http://{host}/token"')
    settings = load(config)
    archive_client = Site(settings).outside.archive(settings.archives[0])
    assert archive_client.client.allowance.origin.scheme == "http"


def test_a_folder_in_place_of_the_file_is_called_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSettings, match="is not a file"):
        load(tmp_path)


def test_what_production_refuses_is_said_in_our_words_alone(config: Path) -> None:
    config.write_text('base_url = "https://scanhook.example.org"')
    with pytest.raises(UnsafeSettings) as refusal:
        load(config)
    assert str(refusal.value).startswith("settings: site_secrets is empty")


def test_a_missing_file_is_named(config: Path) -> None:
    with pytest.raises(UnsafeSettings, match="is not there"):
        load(config)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'site_secrets = ["planted"\nx', r"is not TOML \(at line 2, column 1\)"),
        (b"planted", r"is not TOML \(at end of document\)"),
        (b'a = "\xff planted"', "is not UTF-8"),
        (b"a = " + b"[" * 5000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml_is_named_and_not_quoted(
    config: Path, content: bytes, sentence: str
) -> None:
    config.write_bytes(content)
    with pytest.raises(UnsafeSettings, match=sentence) as refusal:
        load(config)
    assert str(config) in str(refusal.value)
    assert "planted" not in str(refusal.value)


def test_a_file_that_the_system_does_not_give_out_is_named(config: Path) -> None:
    config.symlink_to(UNREADABLE)
    with pytest.raises(UnsafeSettings, match="cannot be read") as refusal:
        load(config)
    assert str(config) in str(refusal.value)


@pytest.mark.parametrize("value", ["[planted", "\xff planted"])
def test_a_wrong_value_of_the_environment_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SCANHOOK_SITE_SECRETS", value)
    with pytest.raises(UnsafeSettings, match="SCANHOOK_SITE_SECRETS") as refusal:
        load()
    assert "planted" not in str(refusal.value)


def test_a_refusal_quotes_no_secret(config: Path) -> None:
    config.write_text('environment = "development"\nsite_secrets = "planted-secret-value"')
    with pytest.raises(UnsafeSettings) as refusal:
        load(config)
    assert "planted-secret-value" not in str(refusal.value)


def test_settings_are_frozen_and_hide_their_secrets(config: Path) -> None:
    config.write_text(PRODUCTION)
    settings = load(config)
    with pytest.raises(ValidationError):
        settings.demo = True  # type: ignore[misc]  # the point of the test
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("/dicom-web", "/dicom-web"),
        ("/dicom-web/", "/dicom-web"),
        ("/dicom-web/studies", "/dicom-web"),
        ("/dicom-web/studies/", "/dicom-web"),
        ("/", ""),
        ("/studies", ""),
        ("/old-studies", "/old-studies"),
    ],
)
def test_the_base_of_an_archive_is_the_same_however_it_is_written(written: str, base: str) -> None:
    archive = ArchiveSettings(name="pacs", base_url=f"https://pacs.example.org{written}")
    assert archive.base_url == f"https://pacs.example.org{base}"


@pytest.mark.parametrize(
    "model",
    [Settings, HookSettings, WorkerSettings, WebSettings, ArchiveSettings, TenantSettings],
)
def test_every_field_says_what_it_means(model: type[BaseModel]) -> None:
    silent = [name for name, field in model.model_fields.items() if not field.description]
    assert silent == []


def test_the_settings_page_is_what_the_code_says() -> None:
    written = Path(__file__).parents[3] / "docs" / "settings.md"
    assert written.read_text(encoding="utf-8") == page(), "run: python -m docs.settings_page"


def test_one_issuer_may_sign_for_several_tenants_if_each_can_be_told() -> None:
    north, south = (ehr.tenant(name=name, tenant_claim=name) for name in ("north", "south"))
    known = hook_settings(tenants=(north, south))
    assert known.tenant_of(ehr.ISSUER, "south") == south
    assert [known.tenant_of(ehr.ISSUER, other) for other in ("", "east", "North")] == [None] * 3
    with pytest.raises(ValueError, match="give tenant_claim"):
        hook_settings(tenants=(north, ehr.tenant(name="both")))
    with pytest.raises(ValueError, match="two issuers"):
        hook_settings(tenants=(north, ehr.tenant(name="again", tenant_claim="north")))


def test_an_archive_that_a_tenant_may_not_ask_is_not_configured_for_it() -> None:
    assert ehr.tenant(further_archives=["old"]).archives == ("pacs", "old")
    with pytest.raises(ValueError, match="no archive is named 'old'"):
        hook_settings(tenants=(ehr.tenant(further_archives=["old"]),))


def test_an_accepted_audience_is_a_warning_that_names_no_secret() -> None:
    assert hook_settings().warnings == ()
    (sentence,) = hook_settings(tenants=(ehr.tenant(accepted_audiences=["sand_man"]),)).warnings
    assert "tenant ehr" in sentence
    assert "sand_man" not in sentence


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates_is_refused_before_a_study_needs_it(
    config: Path, content: str | None
) -> None:
    if content is not None:
        config.with_name("ca.pem").write_text(content)
    config.write_text(f'ca_file = "{config.with_name("ca.pem")}"\n{PRODUCTION}')
    with pytest.raises(UnsafeSettings, match=r"ca_file: .*no certificates"):
        load(config)


def test_every_peer_of_a_site_may_be_signed_by_its_authorities(config: Path) -> None:
    ca_file = certifi.where()
    config.write_text(f'ca_file = "{ca_file}"\n{PRODUCTION}{ARCHIVE}{TENANT}')
    site = Site(load(config))
    (archive,), (tenant,) = site.settings.archives, site.settings.tenants
    login = registration(site, tenant)
    allowed = (
        site.outside.archive(archive).client.allowance,
        site.outside.fhir_allowance(tenant),
        site.outside.jwks_allowance(tenant),
        login.endpoint("https://ehr.example.org/token", "token"),
    )
    assert [each.ca_file for each in allowed] == [ca_file] * 4
