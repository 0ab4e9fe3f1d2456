"""The audit trail: each interaction once, nothing personal beyond ids, and in nobody's way."""

from __future__ import annotations

import base64
import json
import multiprocessing
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cds_service.audit import FileTrail, ServerTrail, Watcher
from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.interactions import on_behalf_of
from cds_service.clients.policy import HttpPolicy
from cds_service.security.egress import Allowance
from cds_service.settings.audit import AuditSettings
from cds_service.writing.writer import FhirWriter
from fhir_mapping.audit_event import Audited, Interaction
from tests.doubles.faulty_http import answer
from tests.doubles.fhir_server import FhirDouble, Quirks
from tests.unit.cds_service.writing.test_writer import reports, write

QUICK = HttpPolicy(deadline_s=5, attempts=1)
WHO = Audited("scanhook 1", "North Hospital", "FHIR server of north", "ehr.example.org")


class Kept:
    """A trail in memory."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def keep(self, event: dict[str, Any]) -> None:
        self.events.append(event)


def watched(double: FhirDouble, trail: Any) -> FhirServer:
    base = Allowance("north-fhir", double.base_url, http_ok=True)
    return FhirServer(base, policy=QUICK, watch=Watcher(trail, WHO))


def said(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["action"], event["subtype"][0]["code"], event["outcome"]


def test_each_read_search_and_write_is_one_event() -> None:
    kept = Kept()
    with FhirDouble() as double:
        server = watched(double, kept)
        double.store["Patient/7"] = {"resourceType": "Patient", "id": "7", "name": "DOE^JANE"}
        server.read("Patient/7")
        list(server.search("Device", {"model": "m"}))
        with pytest.raises(UpstreamError):
            server.read("Patient/8")
        entry = {"resource": {"resourceType": "Device"}, "request": {"method": "POST"}}
        entry["request"]["url"] = "Device"
        server.write(entry)
    assert [said(e) for e in kept.events] == [
        ("R", "read", "0"),
        ("E", "search", "0"),
        ("R", "read", "8"),
        ("C", "create", "0"),
    ]
    profiles = [e.get("meta", {}).get("profile", [""])[0].split(".")[-1] for e in kept.events]
    assert profiles == ["PatientRead", "Query", "", "Create"]
    assert "DOE" not in json.dumps(kept.events)


@pytest.mark.parametrize("user", ["Practitioner/1", ""])
def test_who_asked_is_the_user_where_there_is_one_and_else_the_program(user: str) -> None:
    """IHE BALP, Read and Query: the user is a third agent, and the only requestor."""
    kept = Kept()
    with FhirDouble() as double:
        base = Allowance("north-fhir", double.base_url, http_ok=True)
        watch = on_behalf_of(user, Watcher(kept, WHO))
        server = FhirServer(base, policy=QUICK, watch=watch)
        double.store["Patient/7"] = {"resourceType": "Patient", "id": "7"}
        server.read("Patient/7")
        list(server.search("ImagingStudy", {"patient": "7"}))
    for event in kept.events:
        program, asked, *users = event["agent"]
        assert [agent["who"] for agent in users] == ([{"reference": user}] if user else [])
        assert [agent["type"]["coding"][0]["code"] for agent in users] == ["IRCP"] * bool(user)
        assert (program["requestor"], asked["requestor"]) == (not user, False)
        assert all(agent["requestor"] for agent in users)


def test_a_written_report_is_one_event_for_each_resource_and_names_its_patient() -> None:
    kept = Kept()
    with FhirDouble() as double:
        writer = reports(double)
        server = watched(double, kept)
        object.__setattr__(writer, "writer", FhirWriter(server))
        write(writer)
        place = f"DiagnosticReport/{double.of('DiagnosticReport')[0]['id']}"
    created = [e for e in kept.events if e["action"] == "C"]
    assert len(created) == 4
    (report,) = [e for e in created if place in json.dumps(e)]
    assert report["entity"][0]["what"]["reference"].startswith("Patient/")
    assert report["entity"][0]["role"]["code"] == "1"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("identifier", "urn:mrn|12345", "***"),
        ("identifier", "urn:scanhook:report|abc", "urn:scanhook:report|abc"),
        ("name", "Doe", "***"),
        ("birthdate", "1950-01-01", "***"),
        ("patient", "7", "7"),
        ("_count", "20", "20"),
    ],
)
def test_a_search_keeps_ids_and_no_other_value(name: str, value: str, kept: str) -> None:
    trail = Kept()
    Watcher(trail, WHO)(Interaction("search-type", "Patient", query=((name, value),)))
    (entity,) = [e for e in trail.events[0]["entity"] if "query" in e]
    query = base64.b64decode(entity["query"]).decode()
    assert query in (f"Patient?{name}={kept}", f"Patient?{name}={kept.replace('*', '%2A')}")


def test_the_file_is_private_and_turns_over(tmp_path: Path) -> None:
    path = tmp_path / "audit" / "audit.jsonl"
    trail = FileTrail(path, 1000, 3)
    for number in range(100):
        trail.keep({"n": number, "pad": "x" * 80})
    files = sorted(p.name for p in path.parent.iterdir())
    assert files == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.lock"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    assert all(p.stat().st_size <= 1000 for p in path.parent.glob("audit.jsonl*"))
    last = [json.loads(line)["n"] for line in path.read_text().splitlines()]
    assert last[-1] == 99


def _append(path: Path, who: int) -> None:
    trail = FileTrail(path, 20_000, 50)
    for number in range(200):
        trail.keep({"who": who, "n": number})


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(path, who)) for who in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    files = [p for p in tmp_path.glob("audit.jsonl*") if p.suffix != ".lock"]
    lines = [json.loads(line) for p in files for line in p.read_text().splitlines()]
    assert sorted((line["who"], line["n"]) for line in lines) == [
        (who, number) for who in range(4) for number in range(200)
    ]


@pytest.mark.parametrize("place", ["a-file/audit.jsonl", "folder"])
def test_a_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "folder").mkdir()
    trail = FileTrail(tmp_path / place, 100_000, 3)
    for _ in range(5):
        trail.keep({})
    assert len([r for r in caplog.records if r.name.startswith("cds_service.audit")]) == 1


@pytest.mark.parametrize("takes", [True, False])
def test_events_for_the_server_go_to_the_file_if_it_does_not_take_them(takes: bool) -> None:
    otherwise = Kept()
    types = Quirks().types if takes else ("Device",)
    with FhirDouble(Quirks(types=types)) as double:
        base = Allowance("north-fhir", double.base_url, http_ok=True)
        trail = ServerTrail(lambda: FhirServer(base, policy=QUICK), otherwise)
        for _ in range(3):
            trail.keep({"resourceType": "AuditEvent"})
        trail.flush()
        assert (len(double.of("AuditEvent")), len(otherwise.events)) == (
            (3, 0) if takes else (0, 3)
        )


def test_a_server_that_hangs_holds_nobody_up() -> None:
    answered = threading.Event()

    def hang(seen: Any) -> Any:
        answered.wait(20)
        return answer(503)

    otherwise = Kept()
    with FhirDouble(before=hang) as double:
        base = Allowance("north-fhir", double.base_url, http_ok=True)
        trail = ServerTrail(lambda: FhirServer(base, policy=QUICK), otherwise)
        for _ in range(3):
            trail.keep({"resourceType": "AuditEvent"})
        assert otherwise.events == []
        answered.set()
        trail.flush()
    assert len(otherwise.events) == 3


def test_a_trail_that_is_broken_ends_no_read() -> None:
    class Broken:
        def keep(self, event: dict[str, Any]) -> None:
            raise RuntimeError("broken")

    with FhirDouble() as double:
        assert list(watched(double, Broken()).search("Device", {})) == []


def test_a_trail_goes_to_no_syslog() -> None:
    """Events are FHIR: no setting names another place for them (ATNA, F21)."""
    with pytest.raises(ValidationError, match="'file', 'fhir' or 'none'"):
        AuditSettings(to="syslog")
    assert set(AuditSettings.model_fields) == {"to", "file", "file_mib", "files"}
