from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cds_service.explanation import ExplanationPage
from cds_service.store import ExplanationStore, StoreError
from cds_service.stored import StoredExplanation
from tests.doubles import explained

ID, OTHER = explained.EXPLANATION_ID, "fe" * 32
ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "explanations"


def keep(store: ExplanationStore, explanation_id: str = ID, analysed_ms: int = 1000) -> None:
    store.keep(
        explained.finding(),
        explanation_id=explanation_id,
        study_key=explained.STUDY_KEY,
        analysed_ms=analysed_ms,
        notes=explained.NOTES,
    )


def opened(store: ExplanationStore, explanation_id: str = ID) -> StoredExplanation:
    stored = store.open(explanation_id)
    assert stored is not None
    return stored


def test_what_was_kept_is_what_opens(root: Path) -> None:
    store = ExplanationStore(root)
    keep(store)
    stored = opened(ExplanationStore(root))
    result = stored.page.results[0]
    drawn = explained.explanation()
    assert (stored.explanation_id, stored.study_key) == (ID, explained.STUDY_KEY)
    assert result.picture is not None
    assert stored.pictures[result.picture.image] == drawn.image_png
    assert stored.pictures[result.picture.overlay] == drawn.overlay_png
    assert stored.pictures[result.picture.figure] == drawn.figure_png
    with Image.open(io.BytesIO(drawn.image_png)) as picture:
        assert (result.picture.width, result.picture.height) == picture.size
    assert result.notes == explained.NOTES["brain-mri-tumour"]
    assert len(result.slices) == 24
    assert result.series_number == 4


@pytest.mark.parametrize(
    "analysis",
    [explained.finding, explained.indeterminate, explained.no_finding, explained.not_analysed],
)
def test_every_outcome_survives_the_way_through_json(
    root: Path, analysis: Callable[[], Any]
) -> None:
    store = ExplanationStore(root)
    store.keep(analysis(), explanation_id=ID, study_key="k", analysed_ms=1)
    page = opened(store).page
    assert page.outcome == analysis().outcome
    assert ExplanationPage.model_validate_json(page.model_dump_json()) == page


def test_numbers_that_are_none_do_not_lose_the_page(root: Path) -> None:
    result = explained.result()
    odd = replace(
        result,
        gates=(replace(result.gates[0], value=float("inf"), limit=float("nan")),),
        probabilities=(replace(result.probabilities[0], probability=float("nan")),),
    )
    store = ExplanationStore(root)
    store.keep(
        replace(explained.finding(), results=(odd,)),
        explanation_id=ID,
        study_key="k",
        analysed_ms=1,
    )
    assert opened(store).page.results[0].gates[0].value == float("inf")


def test_nothing_of_the_person_is_kept(root: Path) -> None:
    keep(ExplanationStore(root))
    everything = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    names = " ".join(str(path.relative_to(root)) for path in root.rglob("*"))
    identity = explained.IDENTITY
    for word in (identity.patient_id, identity.study_uid, identity.accession_number, "1.2.3"):
        assert word.encode() not in everything
        assert word not in names


def test_a_repeat_leaves_one_explanation_and_the_last_page(root: Path) -> None:
    store = ExplanationStore(root)
    for analysed_ms in (1000, 2000, 2000):
        keep(store, analysed_ms=analysed_ms)
    assert opened(store).page.analysed_ms == 2000
    assert [path.name for path in root.iterdir()] == [ID]


def test_a_repeat_mends_a_folder_that_was_torn(root: Path) -> None:
    store = ExplanationStore(root)
    keep(store)
    page = root / ID / "page.json"
    page.write_bytes(page.read_bytes()[:100])
    assert store.open(ID) is None
    keep(store)
    assert opened(store).page.outcome == "finding"


def test_folders_and_files_are_for_us_alone(root: Path) -> None:
    root.mkdir(mode=0o755)
    keep(ExplanationStore(root))
    modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "abc", "..", "../../etc", "/" + "a" * 40, "A" * 32, "0" * 31, "0" * 33, "0" * 66),
        *(f"{ID}\n", f"{ID[:-1]}\0", "é" * 32, "0" * 32 + "/x", ".tmp-" + "0" * 32, "1.2.840.1"),
    ],
)
def test_an_id_that_is_not_opaque_hex_is_refused(root: Path, wrong: str) -> None:
    store = ExplanationStore(root)
    with pytest.raises(ValueError, match="hex digits"):
        keep(store, wrong)
    assert store.open(wrong) is None
    assert list(root.iterdir()) == []


def _delete_page(folder: Path) -> None:
    (folder / "page.json").unlink()


def _delete_picture(folder: Path) -> None:
    next(folder.glob("*.png")).unlink()


def _cut_picture(folder: Path) -> None:
    picture = next(folder.glob("*.png"))
    picture.write_bytes(picture.read_bytes()[:-1])


def _swap_pictures(folder: Path) -> None:
    one, two, *_ = folder.glob("*.png")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _edit_page(folder: Path) -> None:
    page = folder / "page.json"
    page.write_text(page.read_text().replace("0.938", "0.038"))


def _edit_study(folder: Path) -> None:
    page = folder / "page.json"
    page.write_text(page.read_text().replace(explained.STUDY_KEY, "ee" * 16))


def _other_format(folder: Path) -> None:
    page = folder / "page.json"
    sealed = json.loads(page.read_text())
    sealed["content"]["format"] = 2
    page.write_text(json.dumps(sealed))


def _not_json(folder: Path) -> None:
    (folder / "page.json").write_bytes(b"\xff\xfe{")


def _a_list(folder: Path) -> None:
    (folder / "page.json").write_text("[" * 100_000)


def _null(folder: Path) -> None:
    (folder / "page.json").write_text("null")


def _link_page(folder: Path) -> None:
    moved = folder.parent / "elsewhere.json"
    (folder / "page.json").rename(moved)
    (folder / "page.json").symlink_to(moved)


def _link_folder(folder: Path) -> None:
    moved = folder.parent / "elsewhere"
    folder.rename(moved)
    folder.symlink_to(moved)


def _pipe(folder: Path) -> None:
    (folder / "page.json").unlink()
    os.mkfifo(folder / "page.json")


def _file_for_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        _delete_page,
        _delete_picture,
        _cut_picture,
        _swap_pictures,
        _edit_page,
        _edit_study,
        _other_format,
        _not_json,
        _a_list,
        _null,
        _link_page,
        _link_folder,
        _pipe,
        _file_for_folder,
    ],
)
def test_a_torn_or_changed_folder_does_not_open(root: Path, damage: Callable[[Path], None]) -> None:
    store = ExplanationStore(root)
    keep(store)
    damage(root / ID)
    assert store.open(ID) is None


def test_a_folder_under_the_name_of_another_does_not_open(root: Path) -> None:
    store = ExplanationStore(root)
    keep(store)
    (root / ID).rename(root / OTHER)
    assert store.open(OTHER) is None


def test_old_explanations_go_and_younger_ones_stay(root: Path) -> None:
    store = ExplanationStore(root)
    keep(store, ID, analysed_ms=explained.ANALYSED_MS)
    keep(store, OTHER, analysed_ms=explained.ANALYSED_MS + 1)
    assert store.expire(explained.ANALYSED_MS) == 0
    assert store.expire(explained.ANALYSED_MS + 1) == 1
    assert store.open(ID) is None
    assert store.open(OTHER) is not None
    assert [path.name for path in root.iterdir()] == [OTHER]


def test_two_processes_may_expire_at_the_same_time(root: Path) -> None:
    """The second one finds folders listed that the first has just removed."""
    first, second = ExplanationStore(root), ExplanationStore(root)
    for explanation_id in (ID, OTHER):
        keep(first, explanation_id)
    listed = second._folders()
    second._folders = lambda: listed  # type: ignore[method-assign]  # as seen a moment ago
    assert first.expire(2**50) == 2
    assert second.expire(2**50) == 0


def test_a_reader_never_meets_half_a_page(root: Path) -> None:
    """Two workers write the same study again and again, with other pictures each time."""
    store = ExplanationStore(root)
    keep(store)
    drawn = explained.explanation()
    ended = threading.Event()

    def write(name: bytes) -> None:
        for turn in range(40):
            picture = replace(drawn, image_png=drawn.image_png + name + bytes([turn]))
            result = replace(explained.result(), explanation=picture)
            ExplanationStore(root).keep(
                replace(explained.finding(), results=(result,)),
                explanation_id=ID,
                study_key="k",
                analysed_ms=1000 + turn,
            )
        ended.set()

    writers = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b")]
    for writer in writers:
        writer.start()
    reads = [store.open(ID) is not None]
    while any(writer.is_alive() for writer in writers):
        reads.append(store.open(ID) is not None)
    assert ended.is_set()
    assert len(reads) > 20
    assert all(reads)
    assert [path.name for path in root.iterdir()] == [ID]


def test_expiry_touches_nothing_that_is_not_an_explanation(root: Path) -> None:
    store = ExplanationStore(root)
    (root / "notes.txt").write_text("mine")
    (root / ("ab" * 16)).symlink_to(root.parent)
    assert store.expire(2**50) == 0
    assert (root / "notes.txt").exists()
    assert root.parent.exists()


def test_what_a_dead_process_left_is_removed_at_the_start(root: Path) -> None:
    """A process is killed between the pictures and the page."""
    program = (
        "import os, signal, sys; from pathlib import Path; import cds_service.store as s\n"
        "def die(*a): os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.sync = die\n"
        "from tests.doubles import explained as e\n"
        "s.ExplanationStore(Path(sys.argv[1])).keep(e.finding(), explanation_id=e.EXPLANATION_ID,"
        " study_key='k', analysed_ms=1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(root)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = root.iterdir()
    assert left.name.startswith(".tmp-")
    store = ExplanationStore(root)
    assert list(root.iterdir()) == []
    assert store.open(ID) is None


def test_what_a_living_process_is_writing_is_left_alone(root: Path) -> None:
    store = ExplanationStore(root)
    with store._temporary() as folder:
        ExplanationStore(root)
        assert folder.is_dir()
    assert list(root.iterdir()) == []


def test_a_folder_swept_before_its_lock_held_is_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is made, and sweeps, between the two calls by which another one claims a folder."""
    store, real, swept = ExplanationStore(root), os.open, []

    def sweep_first(path: Any, *args: Any, **kwargs: Any) -> int:
        if len(swept) < 3 and Path(path).name.startswith(".tmp-"):
            swept.append(path)
            shutil.rmtree(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", sweep_first)
    keep(store)
    monkeypatch.undo()
    assert len(swept) == 3
    assert [path.name for path in root.iterdir()] == [ID]
    assert store.open(ID) is not None


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.faults
@pytest.mark.parametrize("size", [0, 10, 4096, 30_000])
def test_a_file_that_does_not_fit_leaves_nothing_behind(root: Path, size: int) -> None:
    store = ExplanationStore(root)
    with files_no_larger_than(size), pytest.raises(StoreError, match="cannot be used") as caught:
        keep(store)
    assert caught.value.retryable
    assert ID not in str(caught.value)
    assert list(root.iterdir()) == []
    keep(store)
    assert store.open(ID) is not None


@pytest.mark.faults
def test_a_full_disk_leaves_the_earlier_page_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call of the system that can find the disk full."""
    store = ExplanationStore(root)
    keep(store, analysed_ms=1000)
    for name in ("fsync", "mkdir", "open", "rename", "replace"):
        failed = _fails_once(monkeypatch, name)
        with pytest.raises(StoreError, match="No space left"):
            keep(store, analysed_ms=2000)
        assert failed, name
        monkeypatch.undo()
        assert opened(store).page.outcome == "finding", name
        assert [path.name for path in root.iterdir()] == [ID]


def _fails_once(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    real, failed = getattr(os, name), []

    def full(*args: Any, **kwargs: Any) -> Any:
        if failed:
            return real(*args, **kwargs)
        failed.append(name)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, full)
    return failed


def test_a_folder_that_is_gone_is_an_error_for_a_person(root: Path) -> None:
    store = ExplanationStore(root)
    store.ping(write=True)
    root.rmdir()
    for use in (store.ping, lambda: keep(store), lambda: store.expire(1)):
        with pytest.raises(StoreError, match="is not there"):
            use()
    assert store.open(ID) is None


def test_a_place_where_no_folder_can_be_is_an_error_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        ExplanationStore(tmp_path / "file" / "explanations")


def test_asking_whether_it_works_leaves_nothing(root: Path) -> None:
    store = ExplanationStore(root)
    store.ping()
    store.ping(write=True)
    assert list(root.iterdir()) == []
