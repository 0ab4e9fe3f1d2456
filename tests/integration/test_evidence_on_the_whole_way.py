"""scanhook's own processes with evidence switched on: result, archive, chart."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from cds_service.clients.dicomweb import Archive
from cds_service.security.egress import Allowance
from tests.doubles.faulty_http import Reply, Seen, answer
from tests.doubles.relay import Relay
from tests.integration.test_whole_way import a_head, chart, found, put
from tests.peers.orthanc import Orthanc
from tests.peers.sekmet import Sekmet
from tests.peers.site import Site, said
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import PATIENT_ID

pytestmark = pytest.mark.peer

T = TypeVar("T")

WANTED = """
[tenants.evidence]
objects = ["report", "outline", "map", "picture"]
pdf = true
key_image = true
"""


@pytest.fixture(scope="module")
def relay(orthanc: Orthanc) -> Iterator[Relay]:
    """The archive as scanhook reaches it."""
    with Relay(orthanc.base_url) as before:
        yield before


@pytest.fixture(scope="module")
def site(
    valkey_server: Valkey,
    relay: Relay,
    sekmet: Sekmet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    site = Site(
        tmp_path_factory.mktemp("site"),
        redis_url=valkey_server.url,
        archive_url=relay.base_url,
        fhir_base=sekmet.base_url,
        tables=WANTED,
    )
    try:
        yield site.start()
    finally:
        site.stop()


def awaited(look: Callable[[], T], until: Callable[[T], bool]) -> T:
    """What is seen once it is as wanted, or at last."""
    seen = look()
    for _ in range(300):
        if until(seen):
            break
        time.sleep(0.2)
        seen = look()
    return seen


def test_archive_and_chart_hold_the_evidence_of_a_result(
    site: Site, orthanc: Orthanc, sekmet: Sekmet
) -> None:
    study_uid, instances = a_head(orthanc, "e1")
    prefetch = chart("e1", study_uid, instances, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    (card,) = site.ended("e1", prefetch)
    assert said(card)["state"] in ("final", "abstained"), site.logs()

    def report() -> dict[str, Any]:
        reports = found(sekmet, "DiagnosticReport", patient="e1")
        assert len(reports) == 1
        return reports[0]

    with_series = awaited(report, lambda each: len(each["imagingStudy"]) == 2)
    evidence = next(
        each for each in with_series["contained"] if each["resourceType"] == "ImagingStudy"
    )
    archive = Archive(Allowance("Orthanc", orthanc.base_url, http_ok=True))
    stored = {each.series_uid: each for each in archive.series(study_uid)}
    assert {each["uid"] for each in evidence["series"]} == {
        uid for uid, each in stored.items() if each.description.startswith("AI ")
    }
    pdf = next(f for f in with_series["presentedForm"] if f["contentType"] == "application/pdf")
    assert base64.b64decode(pdf["data"]).startswith(b"%PDF-")
    assert with_series["status"] == "preliminary"
    archive.close()


def test_evidence_that_the_archive_could_not_take_is_stored_later_and_once(
    site: Site, orthanc: Orthanc, relay: Relay, sekmet: Sekmet
) -> None:
    refused: list[Seen] = []

    def away(seen: Seen) -> Reply | None:
        if seen.method != "POST" or len(refused) >= 2:
            return None
        refused.append(seen)
        return answer(503)

    study_uid, instances = a_head(orthanc, "e2")
    prefetch = chart("e2", study_uid, instances, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    relay.instead = away
    site.ended("e2", prefetch)

    def reports() -> list[dict[str, Any]]:
        return found(sekmet, "DiagnosticReport", patient="e2")

    told = awaited(reports, lambda each: bool(each) and len(each[0]["imagingStudy"]) == 2)
    assert [len(each["imagingStudy"]) for each in told] == [2], site.logs()
    assert len(refused) == 2
    archive = Archive(Allowance("Orthanc", orthanc.base_url, http_ok=True))
    evidence = [s for s in archive.series(study_uid) if (s.description or "").startswith("AI ")]
    assert len(evidence) == 3
    assert all(each.instances == 1 for each in evidence)
    archive.close()
