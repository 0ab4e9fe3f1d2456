"""Fewer scopes than asked: what is off is said, what still works goes on, and nothing loops."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask

from cds_service.bootstrap import Site
from cds_service.doctor import Trial, examine, trials
from cds_service.features import FEATURES, backend_scopes, essential, in_words, lost, not_covered
from cds_service.health import health_blueprint
from cds_service.queue.errors import QueueUnavailable
from cds_service.rights import Granted, PermittedReports, RightsBoard
from cds_service.scopes import granted
from cds_service.security.keys import generate_signing_key
from cds_service.settings import Settings
from cds_service.tasks import ReportWriter
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer, json_answer

ASKED = (
    "system/DiagnosticReport.crus",
    "system/Observation.crus",
    "system/Device.crus",
    "system/Provenance.crus",
)


@pytest.mark.parametrize(
    ("asked", "got", "off"),
    [
        (ASKED, ASKED, ()),
        (ASKED, ("system/*.cruds",), ()),
        (ASKED, ("system/*.*",), ()),
        (ASKED, ("system/*.read", "system/*.write"), ()),
        (ASKED, ("openid",), ()),
        (ASKED, (), ()),
        (ASKED, ASKED[:3], ("provenance",)),
        (ASKED, (*ASKED[:2], ASKED[3]), ("device",)),
        (ASKED, ASKED[1:], ("results",)),
        (ASKED, ("system/*.read",), ("results", "device", "provenance")),
        (ASKED, ("system/*.rs", "user/*.cruds"), ("results", "device", "provenance")),
        (("system/*.rs",), ("system/Observation.rs",), ("search",)),
        (("system/AuditEvent.c",), ("system/Patient.r",), ("audit",)),
    ],
)
def test_what_was_asked_for_and_not_granted_is_off(
    asked: Iterable[str], got: Iterable[str], off: tuple[str, ...]
) -> None:
    assert tuple(feature.name for feature in lost(asked, got)) == off


class Hash:
    """The commands of Redis that the board uses."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.down = False

    def hset(self, name: str, key: str, value: str) -> None:
        if self.down:
            raise QueueUnavailable("down")
        self.entries[key.encode()] = value.encode()

    def hdel(self, name: str, key: str) -> None:
        self.entries.pop(key.encode(), None)

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        return self.entries


def board(redis: Hash) -> RightsBoard:
    return RightsBoard(redis)  # type: ignore[arg-type]  # the commands it uses


def test_what_is_off_is_logged_and_told_until_it_is_granted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis = Hash()
    told = Granted("north", ASKED, lambda: board(redis))
    with caplog.at_level(logging.WARNING):
        told(frozenset(ASKED[:3]))
    assert [(r.tenant, r.kind) for r in caplog.records] == [("north", "provenance")]  # type: ignore[attr-defined]
    assert board(redis).standing() == {"north": "reports are written without a Provenance"}
    told(frozenset(ASKED))
    assert board(redis).standing() == {}


def test_a_queue_that_is_away_does_not_cost_the_token() -> None:
    redis = Hash()
    redis.down = True
    Granted("north", ASKED, lambda: board(redis))(frozenset(ASKED[:3]))


@pytest.mark.parametrize("entry", [b"{", b"7", b'["later"]', b"\xff"])
def test_an_entry_of_another_version_says_what_is_understood(entry: bytes) -> None:
    redis = Hash()
    redis.entries = {b"north": entry, b"south": b'["audit", "later"]'}
    assert board(redis).standing() == {"south": in_words(f for f in FEATURES if f.name == "audit")}


def test_readyz_says_what_is_off_and_stays_ready() -> None:
    app = Flask("ready")
    app.register_blueprint(
        health_blueprint({}, rights=lambda: {"north": "results are not written"})
    )
    said = app.test_client().get("/readyz")
    assert said.status_code == 200
    assert said.get_json()["rights"] == {"north": "results are not written"}


class Reports:
    """A writer that counts."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, *_: object) -> str:
        self.written += 1
        return "DiagnosticReport/1"


@pytest.mark.parametrize(("scopes", "written"), [(ASKED[:2], 1), (ASKED[1:], 0)])
def test_an_analysis_ends_well_where_its_report_may_not_be_written(
    scopes: tuple[str, ...], written: int
) -> None:
    inner = Reports()
    reports: ReportWriter = PermittedReports(inner, "north", granted(scopes))
    nothing = cast(Any, None)
    said = reports.write(
        cast(Analysis, nothing), cast(StudyRef, nothing), "", datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert inner.written == written
    assert said == ("DiagnosticReport/1" if written else "")


class Ehr:
    """A FHIR server that grants `scope`, whatever is asked."""

    def __init__(self, scope: str) -> None:
        self.scope, self.asked, self.base = scope, 0, ""

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("/smart-configuration"):
            return json_answer(json.dumps({"token_endpoint": f"{self.base}/token"}))
        if seen.path.endswith("/token"):
            self.asked += 1
            token = {"access_token": "T", "token_type": "Bearer", "scope": self.scope}
            return json_answer(json.dumps({**token, "expires_in": 300}))
        if seen.path.endswith("/metadata"):
            statement = json.dumps({"resourceType": "CapabilityStatement"})
            return json_answer(statement, "application/fhir+json")
        return answer(403)


def configured(
    folder: Path, base: str, changes: dict[str, Any] | None = None, **parts: Any
) -> Site:
    """One tenant, with `changes` of its own, and other `parts` of the settings."""
    generate_signing_key(folder / "key.json")
    tenant = {
        "name": "north",
        "issuer": "https://ehr.example.org",
        "jwks_url": "https://ehr.example.org/jwks.json",
        "fhir_base": base,
        "archive": "pacs",
        "backend": "smart",
        "client_id": "scanhook",
        "signing_key_file": str(folder / "key.json"),
        **(changes or {}),
    }
    settings = Settings(
        environment="development",
        site_secrets=["0123456789-0123456789-0123456789"],
        redis_url=f"unix://{folder}/there-is-none.sock",
        state_dir=folder / "state",
        archives=[{"name": "pacs", "base_url": "http://127.0.0.1:1/dicom-web"}],
        tenants=[tenant],
        **parts,
    )
    return Site(settings)


def test_the_doctor_says_what_is_off_and_one_token_is_asked_for(tmp_path: Path) -> None:
    ehr = Ehr("system/Observation.crus system/DiagnosticReport.rs")
    with FaultyServer(ehr) as server:
        ehr.base = server.base_url
        site = configured(tmp_path, f"{server.base_url}/fhir")
        (trial,) = (t for t in trials(site) if t.kind == "fhir")
        found = examine(cast(Trial, trial))
        assert not found.well
        assert "results are not written" in found.said
        assert "grant" in found.advice
        north = site.settings.tenants[0]
        assert site.outside.may(north, "Observation", "cu")
        assert not site.outside.may(north, "DiagnosticReport", "cu")
        assert ehr.asked == 1


SEARCHED = ("system/ImagingStudy.rs", "system/Patient.rs", "system/Endpoint.rs")
SUBSCRIBED = {"triggers": {"subscriptions": [{"tenant": "north"}]}}


@pytest.mark.parametrize(
    ("tenant", "parts", "wanted"),
    [
        ({}, {}, ASKED),
        ({"write_back": False}, {}, ()),
        ({"backend": "none"}, {"audit": {"to": "fhir"}}, ()),
        ({}, {"audit": {"to": "fhir"}}, (*ASKED, "system/AuditEvent.c")),
        ({}, {"triggers": {"poll_every_s": 60}}, (*ASKED, *SEARCHED)),
        ({}, SUBSCRIBED, (*ASKED, *SEARCHED, "system/Subscription.crus")),
        ({"write_back": False}, SUBSCRIBED, (*SEARCHED, "system/Subscription.crus")),
        ({"scopes": ["system/*.write", "x/y"]}, SUBSCRIBED, ("system/*.write", "x/y")),
    ],
)
def test_the_scopes_that_are_asked_for_follow_from_what_is_switched_on(
    tenant: dict[str, Any], parts: dict[str, Any], wanted: tuple[str, ...], tmp_path: Path
) -> None:
    settings = configured(tmp_path, "http://127.0.0.1:1/fhir", tenant, **parts).settings
    scopes = backend_scopes(settings, settings.tenants[0])
    assert tuple(scopes) == wanted
    assert all(scopes.values())


@pytest.mark.parametrize(
    ("asked", "least"),
    [
        (ASKED, ASKED[:2]),
        ((*ASKED, *SEARCHED, "system/Subscription.crus", "system/AuditEvent.c"), ASKED[:2]),
        ((*SEARCHED, "system/Subscription.crus"), SEARCHED[:2]),
        (("system/*.write", "system/AuditEvent.c", "ours"), ("system/*.write", "ours")),
        (("system/AuditEvent.c",), ("system/AuditEvent.c",)),
        ((), ()),
    ],
)
def test_what_results_rest_on_is_asked_for_to_the_last(
    asked: tuple[str, ...], least: tuple[str, ...]
) -> None:
    assert essential(asked) == least


@pytest.mark.parametrize(
    ("scopes", "lacking"),
    [
        ((), ()),
        (ASKED, ("search", "subscription", "audit")),
        (("system/*.cruds",), ()),
        (("system/*.read",), ("results", "device", "provenance", "subscription", "audit")),
        (("system/*.read", "system/*.write"), ()),
    ],
)
def test_the_doctor_warns_of_listed_scopes_that_do_not_cover_what_is_switched_on(
    scopes: tuple[str, ...], lacking: tuple[str, ...], tmp_path: Path
) -> None:
    parts: dict[str, Any] = {**SUBSCRIBED, "audit": {"to": "fhir"}}
    site = configured(tmp_path, "http://127.0.0.1:1/fhir", {"scopes": scopes}, **parts)
    found = [examine(trial) for trial in trials(site) if trial.kind == "scopes"]
    assert all(each.well and each.said.startswith("warning: ") for each in found)
    assert len(found) == len(lacking)
    off = not_covered(site.settings, site.settings.tenants[0])
    assert tuple(feature.name for feature in off) == lacking
    for feature, each in zip(off, found, strict=True):
        assert all(scope in each.said for scope in feature.scopes)


class Strict(Ehr):
    """An authorization server that refuses all for what it does not know."""

    def __call__(self, seen: Seen) -> Reply:
        if seen.path.endswith("/token") and b"AuditEvent" in seen.body:
            self.asked += 1
            said = b'{"error": "invalid_scope", "error_description": "AuditEvent"}'
            return answer(400, said, {"Content-Type": "application/json"})
        return super().__call__(seen)


def test_a_server_that_refuses_all_scopes_for_one_costs_that_feature_alone(tmp_path: Path) -> None:
    ehr = Strict(" ".join(ASKED[:2]))
    with FaultyServer(ehr) as server:
        ehr.base = server.base_url
        site = configured(tmp_path, f"{server.base_url}/fhir", audit={"to": "fhir"})
        north = site.settings.tenants[0]
        assert site.outside.may(north, "DiagnosticReport", "cu")
        off = site.outside.features_off(north)
    assert [feature.name for feature in off] == ["device", "provenance", "audit"]
    assert ehr.asked == 2
