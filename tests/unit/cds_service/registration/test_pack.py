"""A pack, value by value: each is what the service itself goes by, and each JSON file is read."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from cds_service.bootstrap import Site
from cds_service.cli import group
from cds_service.features import BY_SETTINGS, backend_scopes
from cds_service.hooks.discovery import SERVICES, discovery
from cds_service.hooks.imaging import __file__ as _hook_file
from cds_service.registration import facts, plan, reasons, text, vendors
from cds_service.registration.errors import NoTenant, PackInTheWay
from cds_service.registration.facts import subject
from cds_service.registration.pack import ABOUT, MANIFEST, pack, write_pack
from cds_service.registration.pictures import Pictures, browser, pictures
from cds_service.registration.vendors import Vendor
from cds_service.sandbox.demo_studies import HEADS
from cds_service.scopes import in_version_1, parse_scopes
from cds_service.security.jwt import LIFETIME_S
from cds_service.security.keys import generate_signing_key
from cds_service.security.links import LAUNCH_PATH
from cds_service.settings import Settings
from cds_service.smart.routes import CALLBACK_PATH
from inference.analysis import Outcome
from tests.doubles.hooking import site

VENDORS = get_args(Vendor)
NO_PICTURES = Pictures(missing="They were not asked for.")


def settings(folder: Path, **changes: Any) -> Settings:
    key = folder / "key.json"
    if not key.exists():
        generate_signing_key(key)
    north = {
        "name": "north",
        "issuer": "https://ehr.example.org",
        "jwks_url": "https://ehr.example.org:8443/jwks.json",
        "fhir_base": "https://ehr.example.org/fhir",
        "archive": "pacs",
        "backend": "smart",
        "client_id": "scanhook",
        "token_url": "https://login.example.org/token",
        "signing_key_file": str(key),
    }
    south = {
        **north,
        "name": "south",
        "issuer": "https://south.example.org",
        "fhir_base": "https://south.example.org/fhir",
        "archive": "south-pacs",
    }
    return Settings(
        base_url="https://ai.example.org/imaging",
        site_secrets=["0123456789-0123456789-0123456789"],
        redis_url="unix:///run/valkey.sock",
        organisation="North | <b>Hospital</b>",
        contact="imaging@north.example.org",
        archives=[
            {"name": "pacs", "base_url": "https://pacs.example.org:444/dicom-web"},
            {"name": "south-pacs", "base_url": "https://south-pacs.example.org/dicom-web"},
        ],
        tenants=[north, south],
        **changes,
    )


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory) -> facts.Subject:
    return subject(Site(settings(tmp_path_factory.mktemp("site"))), "north")


@pytest.fixture(scope="module", params=VENDORS)
def files(request: pytest.FixtureRequest, about: facts.Subject) -> dict[str, bytes]:
    return pack(about, request.param, NO_PICTURES)


def value(files: dict[str, bytes], name: str) -> Any:
    return json.loads(files[name])


def test_the_services_are_those_that_are_discovered(
    files: dict[str, bytes], about: facts.Subject
) -> None:
    assert value(files, "discovery.json") == discovery(about.settings.hook.studies)
    rows = {row["id"]: row for row in value(files, "services.json")}
    assert rows.keys() == SERVICES.keys()
    for described in discovery(about.settings.hook.studies)["services"]:
        row = rows[described["id"]]
        assert row["url"] == f"https://ai.example.org/imaging/cds-services/{described['id']}"
        assert row["feedback_url"] == row["url"] + "/feedback"
        assert row["hook"] == described["hook"]
        assert {p["key"]: p["template"] for p in row["prefetch"]} == described["prefetch"]
        assert all(len(p["reason"]) > 30 for p in row["prefetch"])


def test_each_scope_is_asked_for_in_both_versions_with_a_reason(
    files: dict[str, bytes], about: facts.Subject
) -> None:
    of_call, of_workers, of_page = value(files, "scopes.json").values()
    assert [row["scope"] for row in of_workers] == list(
        backend_scopes(about.settings, about.tenant)
    )
    assert [row["scope"] for row in of_page] == list(about.tenant.smart_app.scopes)
    assert [row["scope"] for row in of_call] == list(reasons.HOOK_SCOPES)
    for row in (*of_call, *of_workers, *of_page):
        assert row["reason"] not in ("", BY_SETTINGS)
        assert row["scope_v1"] == " ".join(in_version_1(row["scope"]))


def test_the_scopes_of_a_call_are_for_what_the_hook_reads() -> None:
    """Every type that the hook code reads is asked for, and no other."""
    source = Path(_hook_file).read_text(encoding="utf-8")
    read = set(
        re.findall(r'"(Patient|ImagingStudy|Endpoint|Encounter|Practitioner|Observation)"', source)
    )
    assert {scope.resource_type for s in reasons.HOOK_SCOPES for scope in parse_scopes(s)} >= read


@pytest.mark.parametrize(
    ("scope", "older"),
    [
        (
            "system/DiagnosticReport.crus",
            "system/DiagnosticReport.read system/DiagnosticReport.write",
        ),
        ("user/ImagingStudy.rs", "user/ImagingStudy.read"),
        ("system/AuditEvent.c", "system/AuditEvent.write"),
        ("patient/*.read", "patient/*.read"),
        ("openid", "openid"),
        ("launch/patient", "launch/patient"),
    ],
)
def test_a_scope_in_the_older_version_never_grants_less(scope: str, older: str) -> None:
    assert " ".join(in_version_1(scope)) == older
    for wanted in parse_scopes(scope):
        granted = parse_scopes(older)
        assert wanted.access <= frozenset().union(*(g.access for g in granted))


def test_the_clients_are_registered_by_rfc_7591(
    files: dict[str, bytes], about: facts.Subject
) -> None:
    workers, page = value(files, "backend-client.json"), value(files, "launch-client.json")
    key = value(files, "jwks.json")["keys"][0]
    assert workers["grant_types"] == ["client_credentials"]
    assert workers["token_endpoint_auth_method"] == "private_key_jwt"
    assert workers["token_endpoint_auth_signing_alg"] == key["alg"] == "ES384"
    assert workers["jwks_uri"] == "https://ai.example.org/imaging/.well-known/jwks.json"
    assert workers["scope"].split() == list(backend_scopes(about.settings, about.tenant))
    assert page["redirect_uris"] == [f"https://ai.example.org/imaging{CALLBACK_PATH}"]
    assert page["initiate_login_uri"] == f"https://ai.example.org/imaging{LAUNCH_PATH}"
    assert page["grant_types"] == ["authorization_code"]
    for client in (workers, page):
        assert "jwks" not in client  # RFC 7591, 2: not beside a jwks_uri
        assert client["contacts"] == ["imaging@north.example.org"]
        assert client["client_uri"] == about.settings.base_url


def test_the_keys_are_those_that_are_published_and_nothing_private(
    files: dict[str, bytes], about: facts.Subject
) -> None:
    (key,) = value(files, "jwks.json")["keys"]
    assert key == about.site.outside.tenant_keys(about.tenant)[0].public_jwk
    secret = json.loads(about.tenant.signing_key_file.read_text())["d"]  # type: ignore[union-attr]
    for content in files.values():
        assert secret.encode() not in content
        assert b"0123456789-0123456789" not in content


def test_the_hosts_are_those_that_may_be_called_for_this_ehr_alone(files: dict[str, bytes]) -> None:
    net = value(files, "operation.json")["network"]
    assert {(row["to"], row["port"]) for row in net["outbound"]} == {
        ("ehr.example.org", 443),
        ("ehr.example.org", 8443),
        ("login.example.org", 443),
        ("pacs.example.org", 444),
    }
    assert {(row["to"], row["port"]) for row in net["inbound"]} == {("ai.example.org", 443)}
    assert not any(b"south" in content for content in files.values())


def test_times_are_those_of_the_settings(tmp_path: Path) -> None:
    changed = settings(
        tmp_path,
        hook={"wait_ms": 700, "fhir_deadline_s": 1.25},
        worker={"job_timeout_s": 77, "attempts": 5},
        keep_explanations_days=3,
        link_lifetime_s=123,
        triggers={"subscriptions": [{"tenant": "south"}, {"tenant": "north"}]},
    )
    about = subject(Site(changed), "south")
    bounds = {row["what"]: row for row in facts.timing(about)}
    assert bounds["wait for a result that is nearly ready"]["seconds"] == 0.7
    assert bounds["reading what the prefetch did not bring"]["seconds"] == 1.25
    assert bounds["one analysis"]["seconds"] == 77
    assert "5 times" in bounds["one analysis"]["then"]
    assert bounds["a link on a card"]["seconds"] == 123
    assert bounds["age of a caller's token (exp - iat)"]["seconds"] == LIFETIME_S
    kept = {row["what"]: row["for_s"] for row in facts.retention(about)}
    assert kept["explanations: pictures and figures, no name"] == 3 * 86_400
    (told,) = facts.network(about)["notifications"]
    assert told["url"] == f"{changed.base_url}/notifications/fhir/south"
    assert facts.longest_wait_s(changed) > 0.7 + 1.25


def test_every_address_answers(files: dict[str, bytes], about: facts.Subject) -> None:
    """The proxy takes the base's path away; what is left is a route of the web process."""
    client, base = site().client(), about.settings.base_url

    def path(url: str) -> str:
        assert url.startswith(base)
        return url.removeprefix(base)

    for row in value(files, "services.json"):
        assert client.post(path(row["url"]), json={}).status_code == 401
        assert client.post(path(row["feedback_url"]), json={}).status_code == 401
    assert client.get(path(value(files, "backend-client.json")["jwks_uri"])).status_code == 200
    assert client.get(facts.DISCOVERY_PATH).status_code == 200


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_form_holds_our_values_and_says_what_is_not_known(
    vendor: Vendor, about: facts.Subject
) -> None:
    sheet = vendors.sheet(vendor, about)
    assert len(sheet.unknown) > 1
    assert all(row.source for row in (*sheet.fields, *sheet.differences))
    text = json.dumps(vendors.as_values(sheet))
    for said in (about.tenant.issuer, about.tenant.jwks_url, about.tenant.fhir_base):
        assert said in text


def test_the_test_plan_expects_of_each_drawn_study_what_the_demo_does() -> None:
    cards = {card.study: card for card in plan.expected_cards()}
    for head in HEADS:
        assert set(cards[head.key].outcomes) == set(head.expected)
        assert cards[head.key].labels == head.labels
    assert plan.CARDS.keys() == set(Outcome)


def test_the_test_plan_examines_as_a_caller_that_we_know_and_as_one_that_we_do_not(
    about: facts.Subject,
) -> None:
    steps = [step for step in plan.steps(about) if "scanhook conformance" in step.do]
    unknown, known = sorted(steps, key=lambda step: "--key" in step.do)
    said = re.findall(r"`scanhook conformance (\S+)([^`]*)`", known.do)
    assert [(url, *re.findall(r"--\S+", options)) for url, options in said] == [
        (about.settings.base_url, "--issuer", "--key", "--jwks-out")
    ]
    offered = CliRunner().invoke(group, ["conformance", "--help"]).stdout
    assert all(option in offered for option in ("--issuer", "--key", "--jwks-out"))
    assert "little was examined" in unknown.see
    assert "little was examined" not in known.see


def test_the_words_of_the_expected_cards_are_on_cards() -> None:
    folder = Path(__file__).parents[3] / "reference" / "cards"
    golden = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json")))
    phrases = [part.strip(" ,") for said in plan.CARDS.values() for part in said.split("...")]
    assert [phrase for phrase in phrases if phrase not in golden] == []


def test_the_index_names_every_file_and_the_manifest_its_hash(files: dict[str, bytes]) -> None:
    manifest = value(files, MANIFEST)
    assert manifest["files"].keys() == files.keys() - {MANIFEST}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    index = files["README.md"].decode()
    assert index.startswith("# North \\| &lt;b>Hospital&lt;/b>: imaging AI")
    linked = set(re.findall(r"\]\(([\w./-]+)\)", index))
    assert linked == {name for name in files if "/" not in name} - {"README.md"}
    assert linked <= ABOUT.keys()


def test_a_name_cannot_break_a_table_or_become_markup(files: dict[str, bytes]) -> None:
    for name in ("vendor.md", "services.md", "access.md"):
        for line in files[name].decode().splitlines():
            assert "<b>" not in line


def test_workers_without_a_backend_ask_for_no_scopes_and_the_page_says_so(tmp_path: Path) -> None:
    given = settings(tmp_path)
    tenant = given.tenants[0].model_copy(update={"backend": "none"})
    about = subject(Site(given.model_copy(update={"tenants": (tenant,)})), "")
    page = text.access(about, facts.scopes(about))
    assert "(SMART Backend Services)\n\nNone.\n" in page
    assert "|---|---|---|\n\n" not in page


def test_the_model_cards_are_those_of_the_packages(
    files: dict[str, bytes], about: facts.Subject
) -> None:
    for package in about.site.registry.packages:
        folder = f"models/{package.manifest.id}-{package.manifest.version}"
        assert files[f"{folder}/CARD.md"] == (package.folder / "CARD.md").read_bytes()


def test_without_pictures_the_pack_says_why_and_holds_none(files: dict[str, bytes]) -> None:
    assert value(files, MANIFEST)["notes"] == [
        "screenshots were not made: They were not asked for."
    ]
    assert "None were made. They were not asked for." in files["README.md"].decode()
    assert not any(name.startswith("screenshots/") for name in files)


def test_the_same_settings_give_the_same_bytes(about: facts.Subject) -> None:
    again = subject(Site(about.settings), "north")
    assert pack(again, "epic", NO_PICTURES) == pack(about, "epic", NO_PICTURES)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "parents" / "pack"
    made = {MANIFEST: json.dumps({"format": "scanhook registration pack 1"}).encode(), "a/b": b"1"}
    write_pack(made, out)
    assert (out / "a" / "b").read_bytes() == b"1"
    with pytest.raises(PackInTheWay, match="--force"):
        write_pack({**made, "a/b": b"2"}, out)
    assert (out / "a" / "b").read_bytes() == b"1"
    write_pack({MANIFEST: made[MANIFEST], "c": b"3"}, out, force=True)
    assert sorted(p.name for p in out.iterdir()) == ["c", MANIFEST]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("years")
    with pytest.raises(PackInTheWay, match="something else"):
        write_pack(made, mine, force=True)
    assert (mine / "thesis").read_text() == "years"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "parents"]


def test_a_disk_that_fills_leaves_the_older_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pack"
    made = {MANIFEST: json.dumps({"format": "scanhook registration pack 1"}).encode()}
    write_pack(made, out)
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "last":
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_pack({**made, "first": b"1", "last": b"2"}, out, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]
    assert [p.name for p in out.iterdir()] == [MANIFEST]


@pytest.mark.parametrize("name", ["", "west"])
def test_a_pack_is_for_one_ehr(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoTenant, match="north, south"):
        subject(Site(settings(tmp_path)), name)


def test_the_command_makes_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(tmp_path)
    monkeypatch.setattr("cds_service.settings.load", lambda path: made)
    out = tmp_path / "pack"
    arguments = ["register", "--vendor", "oracle", "--out", str(out), "--tenant", "north"]
    said = CliRunner().invoke(group, [*arguments, "--no-screenshots"])
    assert said.exit_code == 0, said.output
    assert json.loads((out / MANIFEST).read_text())["vendor"] == "oracle"
    again = CliRunner().invoke(group, [*arguments, "--no-screenshots"])
    assert isinstance(again.exception, PackInTheWay)


@pytest.mark.peer
@pytest.mark.skipif(browser() is None, reason="Chromium is not installed")
def test_the_pictures_are_of_a_real_answer_and_the_same_each_time(about: facts.Subject) -> None:
    first, second = (pictures(about.site, about.tenant, browser()) for _ in range(2))
    assert first.missing == ""
    assert first.files.keys() == {"card.png", "explanation.png"}
    assert first.files == second.files
    assert first.card == second.card
    assert first.card is not None
    assert "possible Meningioma" in first.card["summary"]


def test_without_a_browser_there_is_a_card_and_no_picture(about: facts.Subject) -> None:
    made = pictures(about.site, about.tenant, None)
    assert made.files == {}
    assert "no Chromium" in made.missing
    assert made.card is not None
