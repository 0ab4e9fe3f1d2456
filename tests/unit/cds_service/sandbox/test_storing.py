"""What is stored into the demo archive, and what it says of each instance (PS3.18 10.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.clients.stow import MultipartBody, ToStore
from cds_service.sandbox.archive import create_archive_app
from cds_service.sandbox.catalogue import read_catalogue
from cds_service.sandbox.holdings import Holdings
from tests.unit.cds_service.sandbox.conftest import Folder, write_head

STUDIES = "/dicom-web/studies"
REFERENCED, FAILED, OTHER, REASON = "00081199", "00081198", "0008119A", "00081197"


@pytest.fixture
def new(tmp_path: Path) -> list[bytes]:
    """Two instances that are not in the archive yet."""
    write_head(tmp_path / "new", "head-plain", slices=2)
    return [path.read_bytes() for path in sorted((tmp_path / "new").iterdir())]


def sent(archive: FlaskClient, files: Sequence[bytes], study: str = "", **headers: str) -> Any:
    body = MultipartBody([ToStore("", data) for data in files])
    given = {"Content-Type": body.content_type, "Accept": "application/dicom+json", **headers}
    path = f"{STUDIES}/{study}" if study else STUDIES
    return archive.post(path, data=b"".join(body), headers=given)


def reasons(answer: Any, sequence: str) -> list[int]:
    items = answer.get_json().get(sequence, {}).get("Value", [])
    return [item[REASON]["Value"][0] for item in items]


def test_what_was_stored_is_found_fetched_and_there_after_a_restart(
    archive: FlaskClient, folder: Folder, new: list[bytes], tmp_path: Path
) -> None:
    answer = sent(archive, new)
    assert (answer.status_code, answer.mimetype) == (200, "application/dicom+json")
    stored = answer.get_json()[REFERENCED]["Value"]
    assert len(stored) == 2
    for item, data in zip(stored, new, strict=True):
        url = item["00081190"]["Value"][0].partition("localhost")[2]
        fetched = archive.get(url, headers={"Accept": "application/dicom"})
        assert fetched.data == data
    assert len(archive.get(STUDIES).get_json()) == 4
    again = create_archive_app(Holdings([folder.path], tmp_path / "stored")).test_client()
    assert len(again.get(STUDIES).get_json()) == 4


def test_the_same_again_is_stored_once_and_other_bytes_under_its_name_are_refused(
    archive: FlaskClient, new: list[bytes], holdings: Holdings
) -> None:
    assert [sent(archive, new[:1]).status_code for _ in range(2)] == [200, 200]
    changed = new[0][:-1] + bytes([new[0][-1] ^ 1])
    refused = sent(archive, [changed])
    assert (refused.status_code, reasons(refused, FAILED)) == (409, [0x0111])
    (study,) = [s for s in holdings.catalogue.studies if holdings.stored(s)]
    (kept,) = holdings.stored(study)
    assert (kept.instances, kept.size_bytes) == (1, len(new[0]))


CASES: Mapping[str, tuple[Callable[[list[bytes]], list[bytes]], str, int, list[int], list[int]]] = {
    "one of two ends early": (lambda new: [new[0], new[1][:-9]], "", 202, [0xC000], []),
    "all end early": (lambda new: [one[:-9] for one in new], "", 409, [0xC000] * 2, []),
    "of another study": (lambda new: new, "1.2.3", 409, [0xA900] * 2, []),
    "no DICOM": (lambda _: [b"hello"], "", 409, [], [0xC000]),
    "one is no DICOM": (lambda new: [new[0], b""], "", 202, [], [0xC000]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_failure_is_told_with_its_reason(
    archive: FlaskClient, new: list[bytes], case: str
) -> None:
    chosen, study, status, failed, other = CASES[case]
    answer = sent(archive, chosen(new), study)
    assert answer.status_code == status
    assert (reasons(answer, FAILED), reasons(answer, OTHER)) == (failed, other)
    assert (REFERENCED in answer.get_json()) == (status == 202)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/dicom"}, b"x", 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"'}, b"x", 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, b"x", 400),
        (
            {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
            b"--b\r\n\r\nhalf",
            400,
        ),
        (
            {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
            b"--b--",
            400,
        ),
        ({"Accept": "text/html"}, b"", 406),
    ],
)
def test_a_request_that_cannot_be_read_stores_nothing(
    archive: FlaskClient, headers: Mapping[str, str], body: bytes, status: int, tmp_path: Path
) -> None:
    assert archive.post(STUDIES, data=body, headers=headers).status_code == status
    assert list((tmp_path / "stored").iterdir()) == []


def test_what_is_held_from_the_beginning_is_never_written_to(
    archive: FlaskClient, folder: Folder
) -> None:
    before = {path: path.read_bytes() for path in folder.path.rglob("*.dcm")}
    assert sent(archive, list(before.values())[:1]).status_code == 200
    assert {path: path.read_bytes() for path in folder.path.rglob("*.dcm")} == before
    assert len(read_catalogue([folder.path]).studies) == 3
