"""Files of a folder become studies, and what is none is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cds_service.folder import files_in, group_studies
from inference.limits import Limits
from tests.reference.dicom_factory import axial_series, encoded, uid


def write_study(folder: Path, name: str) -> str:
    folder.mkdir(parents=True)
    for index, each in enumerate(axial_series(StudyInstanceUID=uid(name))):
        (folder / f"{index}.dcm").write_bytes(encoded(each))
    return uid(name)


def test_files_are_grouped_by_study_wherever_they_lie(tmp_path: Path) -> None:
    one = write_study(tmp_path / "a" / "deep", "one")
    two = write_study(tmp_path / "b", "two")
    studies, not_read = group_studies(files_in(tmp_path), Limits())
    assert [study.study_uid for study in studies] == [one, two]
    assert [len(list(study.instances())) for study in studies] == [6, 6]
    assert not_read == ()


def test_what_is_no_dicom_is_named_and_costs_nothing_else(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "one")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "DICOMDIR").write_bytes(b"a list, not an image")
    studies, not_read = group_studies(files_in(tmp_path), Limits())
    assert len(studies) == 1
    (each,) = not_read
    assert (each.file.name, each.kind, each.damaged) == ("notes.txt", "unreadable", False)


def test_a_damaged_dicom_file_is_told_from_another_file(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "one")
    whole = (tmp_path / "a" / "0.dcm").read_bytes()
    (tmp_path / "torn.dcm").write_bytes(whole[:300])
    _, (torn,) = group_studies(files_in(tmp_path), Limits())
    assert torn.damaged


def test_of_copies_one_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "one")
    (tmp_path / "backup").mkdir()
    for number in (0, 3):
        (tmp_path / "backup" / f"{number}").write_bytes((tmp_path / f"a/{number}.dcm").read_bytes())
    (study,), not_read = group_studies(files_in(tmp_path), Limits())
    assert len(study.files) == 6
    assert [(each.file.name, each.kind, each.damaged) for each in not_read] == [
        ("0", "copy", False),
        ("3", "copy", False),
    ]


def test_a_file_may_stand_for_a_folder(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "one")
    studies, _ = group_studies(files_in(tmp_path / "a" / "0.dcm"), Limits())
    assert len(studies[0].files) == 1


def test_a_folder_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not stop root, which tests may be: the system's refusal is played."""
    write_study(tmp_path / "a", "one")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    studies, (each,) = group_studies(files_in(tmp_path), Limits())
    assert len(studies) == 1
    assert (each.file.name, each.kind, each.damaged) == ("closed", "unreadable", True)
