"""The demo archive keeps the rules of PS3.18 that clients lean on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cds_service.sandbox.archive import create_archive_app
from cds_service.sandbox.catalogue import read_catalogue
from cds_service.sandbox.holdings import Holdings
from tests.unit.cds_service.sandbox.conftest import SLICES, Folder, write_head

STUDIES = "/dicom-web/studies"
MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, 3),
        ({"PatientID": "SANDBOX-002"}, 1),
        ({"00100020": "SANDBOX-002"}, 1),
        ({"PatientName": "synthetic^*"}, 3),
        ({"PatientName": "Synthetic^?da*"}, 1),
        ({"StudyDate": "20260109-20260112"}, 2),
        ({"StudyDate": "-20260108"}, 1),
        ({"ModalitiesInStudy": "MR", "limit": "2"}, 2),
        ({"ModalitiesInStudy": "CT\\MR"}, 3),
        ({"limit": "2", "offset": "2"}, 1),
        ({"includefield": "all", "fuzzymatching": "false"}, 3),
        ({"PatientID": ""}, 3),
    ],
)
def test_studies_are_found_by_their_attributes(
    archive: FlaskClient, query: Mapping[str, str], found: int
) -> None:
    answer = archive.get(STUDIES, query_string=query)
    assert answer.status_code == 200
    assert answer.mimetype == "application/dicom+json"
    assert len(answer.get_json()) == found


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (STUDIES, {"PatientID": "nobody"}, 204),
        (STUDIES, {"limit": "many"}, 400),
        (STUDIES, {"SOPInstanceUID": "1"}, 400),
        (STUDIES, {"ToothNumber": "1"}, 400),
        (f"{STUDIES}/9.9.9/series", {}, 204),
        (f"{STUDIES}/9.9.9", {}, 404),
        (f"{STUDIES}/9.9.9/metadata", {}, 404),
        ("/dicom-web/nothing", {}, 404),
    ],
)
def test_what_is_not_there_or_not_understood_has_its_status(
    archive: FlaskClient, path: str, query: Mapping[str, str], status: int
) -> None:
    assert archive.get(path, query_string=query).status_code == status


def test_counts_and_addresses_are_in_the_answers(archive: FlaskClient, folder: Folder) -> None:
    (study,) = archive.get(STUDIES, query_string={"PatientID": "SANDBOX-001"}).get_json()
    uid = study["0020000D"]["Value"][0]
    assert study["00201208"]["Value"] == [SLICES]
    (series,) = archive.get(f"{STUDIES}/{uid}/series").get_json()
    assert series["00201209"]["Value"] == [SLICES]
    url = series["00081190"]["Value"][0]
    assert url.startswith(f"http://localhost{STUDIES}/{uid}/series/")
    instances = archive.get(f"{url.removeprefix('http://localhost')}/instances").get_json()
    assert [one["00200013"]["Value"][0] for one in instances] == [1, 2, 3]
    assert len(folder.catalogue.studies[uid].instances) == SLICES


def test_instances_come_byte_for_byte_with_their_lengths(
    archive: FlaskClient, folder: Folder
) -> None:
    study = folder.catalogue.studies[folder.study_uids[0]]
    answer = archive.get(f"{STUDIES}/{study.study_uid}", headers={"Accept": MULTIPART})
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    boundary = answer.content_type.partition("boundary=")[2].encode()
    parts = answer.data.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    for part, instance in zip(parts[1:-1], study.instances, strict=True):
        head, _, body = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        assert body == instance.path.read_bytes()
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"transfer-syntax=1.2.840.10008.1.2.1" in head


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (MULTIPART, 200),
        ("*/*", 200),
        ('multipart/related; type="application/dicom"', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2', 406),
        ('multipart/related; type="image/jpeg"', 406),
        ("application/dicom", 406),
        ("text/html", 406),
    ],
)
def test_a_study_is_sent_only_as_it_is_stored(
    archive: FlaskClient, folder: Folder, accept: str, status: int
) -> None:
    url = f"{STUDIES}/{folder.study_uids[0]}"
    assert archive.get(url, headers={"Accept": accept}).status_code == status


def test_one_instance_may_come_alone(archive: FlaskClient, folder: Folder) -> None:
    one = folder.catalogue.studies[folder.study_uids[0]].instances[0]
    url = f"{STUDIES}/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_instance_uid}"
    answer = archive.get(url, headers={"Accept": "application/dicom"})
    assert answer.mimetype == "application/dicom"
    assert answer.data == one.path.read_bytes()


def test_metadata_have_every_header_and_no_pixels(archive: FlaskClient, folder: Folder) -> None:
    headers = archive.get(f"{STUDIES}/{folder.study_uids[0]}/metadata").get_json()
    assert len(headers) == SLICES
    assert all("7FE00010" not in one for one in headers)
    assert all(one["00280010"]["Value"] == [8] for one in headers)


def test_nothing_can_be_deleted(archive: FlaskClient, folder: Folder) -> None:
    assert archive.delete(f"{STUDIES}/{folder.study_uids[0]}").status_code == 405


@pytest.mark.parametrize(
    ("sent", "status"), [(None, 401), ("Bearer wrong", 401), ("Bearer right", 200)]
)
def test_a_token_is_asked_for_where_there_is_one(
    holdings: Holdings, sent: str | None, status: int
) -> None:
    client = create_archive_app(holdings, "right").test_client()
    answer = client.get(STUDIES, headers={"Authorization": sent} if sent else {})
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_folder_may_hold_other_things_and_the_same_file_twice(tmp_path: Path) -> None:
    write_head(tmp_path / "a", "head-plain", slices=2)
    write_head(tmp_path / "b", "head-plain", slices=2)
    write_head(tmp_path / ".half-written", "head-ring", slices=1)
    (tmp_path / "DICM.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "empty.dcm").write_bytes(b"")
    catalogue = read_catalogue([tmp_path])
    assert [len(study.instances) for study in catalogue.studies.values()] == [2]
