"""Both precisions of a study side by side, in a site of processes, and what a fallback does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from redis import Redis

from cds_service.queue import web_connection
from cds_service.shadow import ModelName, ShadowLedger
from cds_service.shadow.ledger import RECENT
from inference.shadow import Disagreement
from tests.doubles.queue_worker import eventually
from tests.doubles.toy_site import MODEL, as_files, chart, drawn_series, toy_site
from tests.peers.orthanc import Orthanc
from tests.peers.sekmet import Sekmet
from tests.peers.site import Site
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import uid
from tests.reference.toy import write_int8

pytestmark = pytest.mark.peer

NAME_PARTS = (MODEL, "1.0.0")
NAME = ModelName(*NAME_PARTS)


@pytest.fixture(scope="module")
def queue(valkey_server: Valkey) -> Iterator[Redis]:
    connection = web_connection(valkey_server.url)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def site(
    valkey_server: Valkey,
    orthanc: Orthanc,
    sekmet: Sekmet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = toy_site(
        folder,
        redis_url=valkey_server.url,
        archive_url=orthanc.base_url,
        fhir_base=sekmet.base_url,
        tables='[models]\nprecision = "int8"\nshadow_share = 1.0\n',
    )
    package = folder / "models" / "toy"
    shutil.rmtree(package)
    write_int8(package)
    (package / "CARD.md").write_text("# Toy\n")
    try:
        yield site.start()
    finally:
        site.stop()


def analysed(site: Site, orthanc: Orthanc, name: str) -> dict[str, Any]:
    """Open the chart of a patient with one new study until there is an answer; the card."""
    study_uid = uid(name)
    series = drawn_series(study_uid)
    for each in series:
        each.PatientID = name
    orthanc.stow(as_files(series))
    prefetch = chart(name, study_uid, identifier=name, instances=len(series))
    (card,) = site.ended(name, prefetch)
    return dict(card)


def ready(site: Site) -> dict[str, Any]:
    """What the readiness page says."""
    answer: dict[str, Any] = requests.get(f"{site.base_url}/readyz", timeout=5).json()
    return answer


def metrics(site: Site) -> str:
    return requests.get(f"{site.base_url}/metrics", timeout=5).text


def page_of(card: dict[str, Any]) -> str:
    """The page that shows why."""
    (why,) = (link["url"] for link in card["links"] if link["label"].startswith("Why"))
    return requests.get(why, timeout=5).text


def test_a_study_runs_in_both_precisions_and_a_model_that_differs_falls_back_until_cleared(
    site: Site, orthanc: Orthanc, sekmet: Sekmet, queue: Redis
) -> None:
    """The issue's whole way: queued as backfill, compared, counted, fallen back, cleared."""
    ledger = ShadowLedger(queue)
    card = analysed(site, orthanc, "SHADOW-1")
    assert "8-bit integers (int8)" in page_of(card)
    eventually(lambda: ledger.watched() and ledger.watched()[0].recent, 60, site.logs)
    (watched,) = ledger.watched()
    assert (watched.name, watched.recent_disagreed, dict(watched.seen)) == (NAME, 0, {"glow": 1})
    (again,) = site.cards("SHADOW-1", chart("SHADOW-1", uid("SHADOW-1"), identifier="SHADOW-1"))
    assert (again["uuid"], again["summary"]) == (card["uuid"], card["summary"])
    reports = requests.get(f"{sekmet.base_url}/DiagnosticReport", timeout=5).json()
    assert len(reports.get("entry", [])) == 1, "a shadow run writes nothing"
    rows = json.loads(site.command("jobs", "--json").stdout)
    shadow = [row for row in rows if row["study"].startswith("shadow-")]
    assert [(row["state"], row["priority"]) for row in shadow] == [("final", "backfill")]
    assert 'scanhook_shadow_runs_total{label="glow",model="toy-glow"} 1.0' in metrics(site)
    assert 'scanhook_model_fallback{model="toy-glow"} 0.0' in metrics(site)

    for number in range(20):
        ledger.note(f"planted-{number}", Disagreement(*NAME_PARTS, "glow", differs=True), 0.05)
    assert 'scanhook_model_fallback{model="toy-glow"} 1.0' in metrics(site)
    fallen = analysed(site, orthanc, "SHADOW-2")
    assert "32-bit floating point (fp32)" in page_of(fallen)
    assert "differed too often" in page_of(fallen)
    told = ready(site)
    assert told["status"] == "ready"
    assert "runs in fp32, because 20 of the last" in told["models"][str(NAME)]
    assert "serves in fp32" in told["models"][str(NAME)]
    assert "runs in fp32" in " ".join(site.command("models", "list").stdout.split())

    cleared = site.command("models", "clear", MODEL)
    assert (cleared.returncode, "chosen precision again" in cleared.stdout) == (0, True)
    assert "8-bit integers (int8)" in page_of(analysed(site, orthanc, "SHADOW-3"))
    assert 'scanhook_model_fallback{model="toy-glow"} 0.0' in metrics(site)
    kept = [*queue.scan_iter("cds:shadow:*"), *queue.lrange(RECENT.format(NAME.key), 0, -1)]
    assert not [text for text in kept if b"SHADOW" in text or uid("SHADOW-1").encode() in text]
