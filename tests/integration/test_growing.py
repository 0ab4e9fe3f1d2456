"""A study that grows: Orthanc tells of it, it is analysed again, and one report is current."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.doubles.toy_site import FINDING, NO_FINDING, as_files, chart, drawn_series, toy_site
from tests.integration.test_whole_way import found, put
from tests.peers.orthanc import Orthanc
from tests.peers.process import free_port
from tests.peers.sekmet import Sekmet
from tests.peers.site import Site, said
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.peer

MRN = "PLANTED-ID"
BEFORE_S = 90


WITH_EVIDENCE = '[tenants.evidence]\nobjects = ["report", "picture"]\n'


@pytest.fixture(scope="module", params=[""])
def grown(
    request: pytest.FixtureRequest,
    valkey_server: Valkey,
    sekmet: Sekmet,
    orthanc_factory: Callable[..., Orthanc],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Site, Orthanc]]:
    """A site, and an Orthanc that runs the script which `scanhook subscribe` prints."""
    port = free_port()
    site = toy_site(
        tmp_path_factory.mktemp("growing"),
        redis_url=valkey_server.url,
        archive_url=f"http://127.0.0.1:{port}/dicom-web",
        fhir_base=sekmet.base_url,
        tables=request.param,
    )
    printed = site.command("subscribe", "--orthanc", "archive")
    assert printed.returncode == 0, printed.stderr
    orthanc = orthanc_factory(port=port, scripts=[printed.stdout], stable_s=1)
    try:
        yield site.start(), orthanc
    finally:
        site.stop()


def until(what: Callable[[], Any], site: Site, within_s: float = BEFORE_S) -> Any:
    """What a function answers as soon as it is something."""
    end = time.monotonic() + within_s
    while not (answer := what()):
        assert time.monotonic() < end, site.logs()
        time.sleep(0.2)
    return answer


def explanation(card: dict[str, Any]) -> str:
    """The link to the page that says why."""
    return next(str(link["url"]) for link in card["links"] if "/e/" in link["url"])


def test_a_study_that_grows_is_analysed_again_and_one_report_is_current(
    grown: tuple[Site, Orthanc], sekmet: Sekmet
) -> None:
    """The EHR's ImagingStudy says nothing of the new images: the archive alone does."""
    site, orthanc = grown
    images = drawn_series("2.25.901", 8, NO_FINDING, PatientID=MRN)
    for each in drawn_series("2.25.901", 8, FINDING, PatientID=MRN)[3:]:
        images[int(each.SOPInstanceUID.rpartition(".")[2]) - 1] = each
    files = as_files(images)
    prefetch = chart("g1", "2.25.901", identifier=MRN)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])

    orthanc.stow(files[:3])
    (report,) = until(lambda: found(sekmet, "DiagnosticReport", patient="g1"), site)
    (card,) = site.ended("g1", prefetch)
    assert said(card)["outcome"] == "no-finding"
    old = explanation(card)
    assert requests.get(old, timeout=10).status_code == 200

    orthanc.stow(files[3:])
    until(lambda: requests.get(old, timeout=10).status_code == 410, site)
    outdated = requests.get(old, timeout=10)
    assert "superseded by a newer analysis" in outdated.text.lower()
    (newer,) = site.ended("g1", prefetch)
    assert said(newer)["outcome"] == "finding"
    assert requests.get(explanation(newer), timeout=10).status_code == 200

    (current,) = found(sekmet, "DiagnosticReport", patient="g1")
    assert current["id"] == report["id"]
    assert current["meta"]["versionId"] != report["meta"]["versionId"]
    assert current["identifier"] != report["identifier"], "it names the images that were read"
    valid = [o for o in found(sekmet, "Observation", patient="g1") if o["status"] == "preliminary"]
    assert len(valid) == 1


def test_a_study_that_is_told_of_again_and_did_not_change_is_left_alone(
    grown: tuple[Site, Orthanc], sekmet: Sekmet
) -> None:
    site, orthanc = grown
    files = as_files(drawn_series("2.25.902", 3, FINDING, PatientID=MRN))
    prefetch = chart("g2", "2.25.902", identifier=MRN)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    orthanc.stow(files)
    (report,) = until(lambda: found(sekmet, "DiagnosticReport", patient="g2"), site)
    site.ended("g2", prefetch)
    for _ in range(2):
        assert site.command("poll", "--once").returncode == 0
    site.ended("g2", prefetch)
    (same,) = found(sekmet, "DiagnosticReport", patient="g2")
    assert same["meta"]["versionId"] == report["meta"]["versionId"]


@pytest.mark.parametrize("grown", [WITH_EVIDENCE], indirect=True)
def test_what_we_store_in_the_archive_is_no_growth_of_the_study(
    grown: tuple[Site, Orthanc], sekmet: Sekmet
) -> None:
    """Orthanc tells of the study once more, since our series lie in it now."""
    site, orthanc = grown
    uid = "2.25.903"
    prefetch = chart("g3", uid, identifier=MRN)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    orthanc.stow(as_files(drawn_series(uid, 3, FINDING, PatientID=MRN)))
    (card,) = site.ended("g3", prefetch)

    def logged(event: str, since: str = "") -> list[dict[str, Any]]:
        """What was logged of the study after that moment."""
        lines = [json.loads(line) for line in site.logs().splitlines() if line.startswith("{")]
        mine = [line for line in lines if line.get("study") == said(card)["study"]]
        return [line for line in mine if line["event"] == event and line["time"] > since]

    series = f"{orthanc.base_url}/studies/{uid}/series"
    until(lambda: len(requests.get(series, timeout=10).json()) == 3, site)
    stored = until(lambda: logged("evidence"), site)[0]["time"]
    told = until(lambda: logged("study ordered before a hook", since=stored), site)
    assert {line["state"] for line in told} <= {"writing", "final"}
    (same,) = site.ended("g3", prefetch)
    assert same["uuid"] == card["uuid"]


def test_the_studies_of_past_days_are_analysed_by_backfill(
    grown: tuple[Site, Orthanc], sekmet: Sekmet
) -> None:
    site, orthanc = grown
    for number in (1, 2, 3):
        uid, patient = f"2.25.91{number}", f"b{number}"
        date = {"StudyDate": f"2019030{number}", "PatientID": MRN}
        orthanc.stow(as_files(drawn_series(uid, 3, FINDING, **date)))
        made = chart(patient, uid, identifier=MRN)
        # the chart comes after the archive's own notice has been given up: backfill finds it
        put(sekmet, made["patient"], made["studies"]["entry"][0]["resource"])
    run = ("backfill", "--from", "2019-03-01", "--to", "2019-03-04", "--modality", "MR")
    first = site.command(*run)
    assert first.returncode == 0, first.stderr
    assert "3 studies" in first.stdout
    for patient in ("b1", "b2", "b3"):
        until(lambda who=patient: found(sekmet, "DiagnosticReport", patient=who), site)
    assert "0 studies" in site.command(*run).stdout, "the cursor is at the end"
