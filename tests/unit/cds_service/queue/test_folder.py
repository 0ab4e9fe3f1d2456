"""Working directories: one for each worker, empty, private."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.queue.errors import WorkerUnfit
from cds_service.queue.folder import WorkFolder


def test_two_workers_have_two_directories(tmp_path: Path) -> None:
    first, second = WorkFolder(tmp_path / "work"), WorkFolder(tmp_path / "work")
    assert (first.slot, second.slot) == (0, 1)
    assert first.path != second.path
    first.close()
    third = WorkFolder(tmp_path / "work")
    assert third.slot == 0
    third.close()
    second.close()


def test_a_name_stays_with_the_slot_and_no_other_directory_has_it(tmp_path: Path) -> None:
    names = []
    for under in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        folder = WorkFolder(under)
        names.append(folder.name)
        folder.close()
    assert names[0] == names[1] != names[2]


def test_what_a_predecessor_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "worker-0" / "series"
    left.mkdir(parents=True)
    (left / "slice.dcm").write_bytes(b"of a patient")
    folder = WorkFolder(tmp_path)
    assert list(folder.path.iterdir()) == []
    folder.close()


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    (tmp_path / "worker-0").mkdir(mode=0o755)
    folder = WorkFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = WorkFolder(tmp_path / "work")
    (folder.path / "link").symlink_to(outside)
    folder.empty()
    assert list(folder.path.iterdir()) == []
    assert (outside / "kept").exists()
    folder.close()


def test_a_place_where_nothing_can_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkerUnfit):
        WorkFolder(tmp_path / "file" / "work")
