"""The whole way with somebody else's archive, queue and FHIR server: hook -> card -> record."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from tests.peers.orthanc import Orthanc
from tests.peers.redis import Redis
from tests.peers.sekmet import Sekmet
from tests.peers.site import CLIENT_ID, Site, said
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import PATIENT_ID, axial_series, encoded, head, uid

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.peer


def chart(patient_id: str, study_uid: str, instances: int, identifier: str) -> dict[str, Any]:
    """What an EHR prefetches for a patient with one study."""
    study = {
        "resourceType": "ImagingStudy",
        "id": f"study-{patient_id}",
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}],
        "subject": {"reference": f"Patient/{patient_id}"},
        "started": "2026-11-20T09:30:00+01:00",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
        "numberOfSeries": 1,
        "numberOfInstances": instances,
    }
    patient = {
        "resourceType": "Patient",
        "id": patient_id,
        "identifier": [{"system": "urn:test:mrn", "value": identifier}],
    }
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": study}]}
    return {"patient": patient, "studies": bundle}


def put(fhir: Sekmet, *resources: dict[str, Any]) -> None:
    """Store resources under their own ids."""
    for resource in resources:
        url = f"{fhir.base_url}/{resource['resourceType']}/{resource['id']}"
        answer = requests.put(url, json=resource, timeout=10)
        assert answer.ok, answer.text


def found(fhir: Sekmet, kind: str, **params: str) -> list[dict[str, Any]]:
    """What a search finds."""
    answer = requests.get(f"{fhir.base_url}/{kind}", params=params, timeout=10)
    assert answer.ok, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


@pytest.fixture(scope="module")
def site(
    valkey_server: Valkey,
    orthanc: Orthanc,
    sekmet: Sekmet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    site = Site(
        tmp_path_factory.mktemp("site"),
        redis_url=valkey_server.url,
        archive_url=orthanc.base_url,
        fhir_base=sekmet.base_url,
    )
    try:
        yield site.start()
    finally:
        site.stop()


def a_head(orthanc: Orthanc, name: str, **elements: Any) -> tuple[str, int]:
    """(study UID, instances) of a drawn head series that the archive now holds."""
    series = axial_series(
        pixels=lambda n: head(256, 256, seed=n),
        StudyInstanceUID=uid(name),
        SeriesInstanceUID=uid(name, "series"),
        **elements,
    )
    for index, each in enumerate(series):
        each.SOPInstanceUID = uid(name, index)
    orthanc.stow(encoded(each) for each in series)
    return uid(name), len(series)


def test_a_chart_that_is_opened_ends_in_a_card_with_its_evidence(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    study_uid, instances = a_head(orthanc, "p1")
    prefetch = chart("p1", study_uid, instances, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    first = site.cards("p1", prefetch)
    assert said(first[0])["state"] in ("received", "fetching", "inferring", "writing", "abstained")

    (card,) = site.ended("p1", prefetch)
    result = said(card)
    assert result["state"] in ("final", "abstained"), (result, site.logs())
    assert result["model"] == "brain-mri-tumour"
    link = next(link["url"] for link in card["links"] if "/e/" in link["url"])
    page = requests.get(link, timeout=10)
    assert page.status_code == 200
    assert "not reviewed" in page.text

    (report,) = found(sekmet, "DiagnosticReport", patient="p1")
    assert report["status"] == "preliminary"
    (observation,) = found(sekmet, "Observation", patient="p1")
    assert observation["derivedFrom"][0]["reference"] == "ImagingStudy/study-p1"
    assert "/e/" not in str(report) + str(observation), "no secret link in a permanent resource"


def test_the_same_chart_opened_again_writes_nothing_twice(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    study_uid, instances = a_head(orthanc, "p2")
    prefetch = chart("p2", study_uid, instances, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    site.ended("p2", prefetch)
    for _ in range(20):
        site.cards("p2", prefetch)
    assert len(found(sekmet, "DiagnosticReport", patient="p2")) == 1
    assert len(found(sekmet, "Observation", patient="p2")) == 1


def test_a_study_without_a_uid_is_found_by_its_number_and_analysed_once(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    """Two patients' studies have the number: this one's is read, and written under its UID."""
    study_uid, instances = a_head(orthanc, "numbered", AccessionNumber="LOCK-7")
    a_head(orthanc, "numbered elsewhere", AccessionNumber="LOCK-7", PatientID="SOMEBODY-ELSE")
    prefetch = chart("p14", study_uid, instances, PATIENT_ID)
    (entry,) = prefetch["studies"]["entry"]
    entry["resource"]["identifier"] = [
        {"type": {"coding": [{"code": "ACSN"}]}, "value": "LOCK-7", "system": "urn:test:acsn"}
    ]
    put(sekmet, prefetch["patient"], entry["resource"])
    (card,) = site.ended("p14", prefetch)
    assert said(card)["state"] in ("final", "abstained"), (said(card), site.logs())
    (again,) = site.cards("p14", prefetch)
    assert again["uuid"] == card["uuid"], "the chart names it as it was named before"
    (observation,) = found(sekmet, "Observation", patient="p14")
    assert observation["derivedFrom"][0]["identifier"]["value"] == f"urn:oid:{study_uid}"


def test_the_images_of_another_patient_are_refused_and_nothing_is_written(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    study_uid, instances = a_head(orthanc, "p3")
    prefetch = chart("p3", study_uid, instances, "SOMEBODY-ELSE")
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    (card,) = site.ended("p3", prefetch)
    assert said(card)["state"] == "failed"
    assert said(card)["reasons"] == ["identity"]
    assert found(sekmet, "DiagnosticReport", patient="p3") == []


@pytest.mark.parametrize("patient", [None, {"resourceType": "OperationOutcome"}])
def test_a_chart_that_does_not_say_who_it_is_of_gets_nothing(
    site: Site, sekmet: Sekmet, orthanc: Orthanc, patient: Any
) -> None:
    study_uid, instances = a_head(orthanc, "p12")
    patient_id = "p12" if patient is None else "p13"
    prefetch = chart(patient_id, study_uid, instances, PATIENT_ID) | {"patient": patient}
    (card,) = site.ended(patient_id, prefetch)
    assert (said(card)["state"], said(card)["reasons"]) == ("failed", ["identity-unknown"])
    assert found(sekmet, "DiagnosticReport", patient=patient_id) == []


def test_a_finding_stays_in_the_chart_of_the_patient_in_the_images(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    """Two charts name one study, as after a mix-up or in a damaged ImagingStudy."""
    study_uid, instances = a_head(orthanc, "p10")
    own = chart("p10", study_uid, instances, PATIENT_ID)
    other = chart("p11", study_uid, instances, "SOMEBODY-ELSE")
    for prefetch in (own, other):
        put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    (first,) = site.ended("p10", own)
    assert said(first)["state"] in ("final", "abstained"), site.logs()
    (second,) = site.ended("p11", other)
    assert (said(second)["state"], said(second)["reasons"]) == ("failed", ["identity"])
    assert said(second)["study"] != said(first)["study"]
    assert "links" not in second
    assert found(sekmet, "DiagnosticReport", patient="p11") == []
    assert len(found(sekmet, "DiagnosticReport", patient="p10")) == 1
    assert said(site.cards("p10", own)[0]) == said(first)


def test_a_study_that_the_archive_does_not_have_ends_as_failed(site: Site, sekmet: Sekmet) -> None:
    prefetch = chart("p4", "2.25.404", 3, "X")
    (card,) = site.ended("p4", prefetch, within_s=120)
    assert said(card)["state"] == "failed"
    assert said(card)["reasons"] == ["gone"]


def test_without_prefetch_the_chart_is_read_from_the_fhir_server(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    study_uid, instances = a_head(orthanc, "p5")
    prefetch = chart("p5", study_uid, instances, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    (card,) = site.ended("p5")
    assert said(card)["state"] in ("final", "abstained")


def test_a_patient_without_studies_has_no_card(site: Site, sekmet: Sekmet) -> None:
    put(sekmet, {"resourceType": "Patient", "id": "p6"})
    assert site.cards("p6") == []


@pytest.mark.data
def test_the_48_slices_of_a_real_head_go_the_whole_way(
    site: Site, sekmet: Sekmet, orthanc: Orthanc
) -> None:
    packed = SHARED / "dicom.tar"
    if not packed.exists():
        pytest.skip("the shared data folder is not there")
    with tarfile.open(packed) as tar:
        names = [name for name in tar.getnames() if "datalad__example" in name]
        files = [tar.extractfile(name) for name in names if name.endswith(".dcm")]
        instances = [file.read() for file in files if file is not None]
    assert len(instances) == 48
    orthanc.stow(instances)
    header = pydicom.dcmread(BytesIO(instances[0]), stop_before_pixels=True)
    prefetch = chart("p48", str(header.StudyInstanceUID), 48, str(header.PatientID))
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    (card,) = site.ended("p48", prefetch)
    assert said(card)["state"] in ("final", "abstained"), (said(card), site.logs())
    (report,) = found(sekmet, "DiagnosticReport", patient="p48")
    assert report["effectiveDateTime"].startswith("2026-11-20")


def test_the_doctor_finds_everything_well(site: Site) -> None:
    examined = site.command("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(examined.stdout)}
    assert [what for what, finding in findings.items() if not finding["well"]] == []
    assert examined.returncode == 0
    assert {"queue", "clock", "worker", "archive archive"} <= set(findings)


def test_jobs_lists_studies_by_opaque_ids_and_puts_one_back(site: Site) -> None:
    (card,) = site.ended("p9", chart("p9", "2.25.909", 1, "X"), within_s=120)
    study = said(card)["study"]
    failed = json.loads(site.command("jobs", "--failed", "--json").stdout)
    (row,) = [row for row in failed if row["study"] == study]
    assert (row["state"], row["error_kind"]) == ("failed", "gone")
    assert "2.25.909" not in json.dumps(failed)
    assert f"{study}: received" in site.command("jobs", "requeue", study).stdout
    assert site.command("jobs", "requeue", "0" * 32).returncode == 3


def test_the_worker_proves_who_it_is_to_the_fhir_server(
    redis_factory: Callable[..., Redis],
    orthanc: Orthanc,
    sekmet_factory: Callable[..., Sekmet],
    tmp_path: Path,
) -> None:
    """SMART Backend Services with ES384, and Debian's Redis as the queue."""
    from tests.peers.process import free_port

    port = free_port()
    fhir_base = f"http://127.0.0.1:{port}/fhir"
    site = Site(
        tmp_path,
        redis_url=redis_factory().url,
        archive_url=orthanc.base_url,
        fhir_base=fhir_base,
        backend="smart",
        tables=f'token_url = "http://127.0.0.1:{port}/auth/token"',
    )
    client = {
        "client_id": CLIENT_ID,
        "jwks": {"keys": [site.signing_key.public_jwk]},
        "scopes": "system/*.cruds",
    }
    sekmet = sekmet_factory(clients=[client], port=port)
    study_uid, instances = a_head(orthanc, "p7")
    prefetch = chart("p7", study_uid, instances, PATIENT_ID)
    try:
        site.start()
        (card,) = site.ended("p7", prefetch)
        assert said(card)["state"] in ("final", "abstained"), (said(card), site.logs())
        refused = requests.get(f"{sekmet.base_url}/DiagnosticReport", timeout=10)
        assert refused.status_code == 401, "nobody without a token reads or writes there"
    finally:
        site.stop()
