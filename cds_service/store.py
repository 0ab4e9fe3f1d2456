"""Where explanations lie: one folder each, written whole or not at all, removed when old.

A folder is named by the opaque id that the caller gives, its pictures by the hash of their bytes:
nothing of an image's header is ever part of a path. ``page.json`` goes in last and carries the
hashes of the rest, so a folder that was torn or changed afterwards is not shown.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cds_service.errors import ServiceError
from cds_service.explanation import (
    ExplanationPage,
    ModelNotes,
    ReaderAnswer,
    page_of,
    pictures_of,
)
from cds_service.slices import SliceIndex, packed_slices
from cds_service.store_files import locked, read, sync, write_file
from cds_service.stored import StoredExplanation, StoredPage, StoredSlices
from inference.analysis import Analysis

_ID = re.compile(r"(?:[0-9a-f]{2}){16,32}")
_FORMAT = 1
_PAGE = "page.json"
_SUPERSEDED = "superseded"
_INDEX = "slices.json"
_ANSWERS = "answers.json"
_MOST_ANSWERS = 20
_TEMPORARY = ".tmp-"
_CLAIMS = 20
_EMPTY: Mapping[str, ModelNotes] = {}


class StoreError(ServiceError):
    """An explanation could not be kept; nothing of it is visible, and a repeat may succeed."""

    kind = "store"
    retryable = True


class ExplanationStore:
    """The folder of explanations, shared by the workers that write and the web that reads.

    Folders have mode 700, files 600. What a killed process left behind is removed when a store
    is made; what a living one is writing is locked, and left alone.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with _as_store_error():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = root.stat()
            if state.st_uid == os.geteuid() and state.st_mode & 0o077:
                root.chmod(0o700)
        self._remove_leftovers()

    def keep(
        self,
        analysis: Analysis,
        *,
        explanation_id: str,
        study_key: str,
        analysed_ms: int,
        notes: Mapping[str, ModelNotes] = _EMPTY,
        tenant: str = "",
    ) -> None:
        """Keep what explains `analysis`; a repeat with the same id replaces the page.

        `explanation_id` is 32 to 64 lower-case hex digits; `study_key` is opaque too, and must be
        named again by the link that opens the page; `notes` are by model id.

        Raises:
            ValueError: the id is something else.
            StoreError: the disk is full, or the folder is gone; nothing half-written remains.
        """
        if _ID.fullmatch(explanation_id) is None:
            raise ValueError("an explanation id is 32 to 64 hex digits")
        pictures = pictures_of(analysis)
        content = {
            "format": _FORMAT,
            "explanation_id": explanation_id,
            "study_key": study_key,
            "tenant": tenant,
            "page": page_of(analysis, analysed_ms, notes).model_dump(mode="json"),
            "pictures": sorted(pictures),
        }
        files = {f"{digest}.png": png for digest, png in pictures.items()}
        with _as_store_error():
            self._write(explanation_id, files, _sealed(content), analysed_ms)

    def keep_slices(
        self, analysis: Analysis, *, explanation_id: str, study_key: str, most_bytes: int
    ) -> None:
        """Add the images that the page scrolls through to an explanation that is kept.

        A series holds at most `most_bytes` unpacked, whatever it had; 0 keeps none.

        Raises:
            StoreError: the disk is full, or the explanation is gone; the page stays as it was.
        """
        if not analysis.images or not most_bytes:
            return
        index, pieces = packed_slices(analysis, most_bytes)
        name = f"slices-{sha256(pieces).hexdigest()[:16]}.bin"
        content = {
            "format": _FORMAT,
            "explanation_id": explanation_id,
            "study_key": study_key,
            "index": index.model_dump(mode="json"),
            "file": name,
        }
        with _as_store_error():
            self._add(explanation_id, {name: pieces, _INDEX: _sealed(content)})
            for old in (self._root / explanation_id).glob("slices-*.bin"):
                if old.name != name:
                    old.unlink(missing_ok=True)

    def answer(self, explanation_id: str, answer: ReaderAnswer) -> None:
        """Add what a reader answered to an explanation that is kept; a repeat adds nothing.

        The newest 20 are kept.

        Raises:
            StoreError: the disk is full, or the explanation is gone.
        """
        with _as_store_error(), self._alone(explanation_id):
            before = self.answers(explanation_id)
            if any(answer.repeats(each) for each in before):
                return
            kept = [each.model_dump() for each in (*before, answer)[-_MOST_ANSWERS:]]
            content = {"format": _FORMAT, "explanation_id": explanation_id, "answers": kept}
            self._add(explanation_id, {_ANSWERS: _sealed(content)})

    def answers(self, explanation_id: str) -> tuple[ReaderAnswer, ...]:
        """What readers answered, oldest first; nothing where it is not as it was kept."""
        if _ID.fullmatch(explanation_id) is None:
            return ()
        try:
            content = _unsealed(read(self._root / explanation_id / _ANSWERS))
            ours = content["explanation_id"] == explanation_id
            found = tuple(ReaderAnswer.model_validate(each) for each in content["answers"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            return ()
        return found if ours else ()

    def slices(self, explanation_id: str) -> StoredSlices | None:
        """The slices of that explanation; ``None`` if there are none, or not as they were kept."""
        if _ID.fullmatch(explanation_id) is None:
            return None
        folder = self._root / explanation_id
        try:
            content = _unsealed(read(folder / _INDEX))
            index = SliceIndex.model_validate(content["index"])
            file = folder / Path(content["file"]).name
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            return None
        if content["explanation_id"] != explanation_id:
            return None
        return StoredSlices(str(content["study_key"]), index, file)

    def page(self, explanation_id: str) -> StoredPage | None:
        """Its page alone, without a look at its pictures; ``None`` as `open` says."""
        if _ID.fullmatch(explanation_id) is None:
            return None
        folder = self._root / explanation_id
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                return None
            content = _unsealed(read(folder / _PAGE))
            page = ExplanationPage.model_validate(content["page"])
            digests = tuple(content["pictures"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            return None
        if content["explanation_id"] != explanation_id:
            return None
        study_key, outdated = str(content["study_key"]), (folder / _SUPERSEDED).exists()
        tenant = str(content.get("tenant", ""))
        return StoredPage(explanation_id, study_key, page, digests, outdated, tenant)

    def open(self, explanation_id: str) -> StoredExplanation | None:
        """The explanation of that id; ``None`` if there is none, or it is not as it was kept."""
        kept = self.page(explanation_id)
        if kept is None:
            return None
        folder = self._root / explanation_id
        try:
            pictures = {digest: read(folder / f"{digest}.png") for digest in kept.digests}
        except (OSError, ValueError, TypeError):
            return None
        intact = all(sha256(png).hexdigest() == digest for digest, png in pictures.items())
        return StoredExplanation(**vars(kept), pictures=pictures) if intact else None

    def supersede(self, explanation_id: str) -> None:
        """Note that a newer analysis took the place of this one; nothing if it is not there.

        Raises:
            StoreError: it could not be noted.
        """
        folder = self._root / explanation_id
        if _ID.fullmatch(explanation_id) is None or not folder.is_dir():
            return
        with _as_store_error(), suppress(FileExistsError):
            write_file(folder / _SUPERSEDED, b"\0")
            sync(folder)

    def expire(self, before_ms: int) -> int:
        """Remove explanations analysed before that time (ms since 1970); how many went."""
        removed = 0
        with _as_store_error():
            for folder in self._folders():
                if _analysed_ms(folder) < before_ms:
                    removed += self._remove(folder)
        return removed

    def ping(self, *, write: bool = False) -> None:
        """Raise StoreError if the folder cannot be read or, on request, written."""
        with _as_store_error():
            next(os.scandir(self._root), None)
            if write:
                with self._temporary() as folder:
                    write_file(folder / "ping", b"\0")

    def _write(
        self, explanation_id: str, files: Mapping[str, bytes], page: bytes, analysed_ms: int
    ) -> None:
        target = self._root / explanation_id
        with self._temporary() as folder:
            for name, content in files.items():
                write_file(folder / name, content)
            write_file(folder / _PAGE, page, modified_ms=analysed_ms)
            for path in (*folder.iterdir(), folder):  # after all is written: one commit, not five
                sync(path)
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                for name in (*files, _PAGE):  # the page last: until then the old one is whole
                    (folder / name).replace(target / name)
                (target / _SUPERSEDED).unlink(missing_ok=True)
                sync(target)
        sync(self._root)

    def _add(self, explanation_id: str, files: Mapping[str, bytes]) -> None:
        """Put files into a folder that is there; the last one names the others and goes last."""
        target = self._root / explanation_id
        with self._temporary() as folder:
            for name, content in files.items():
                write_file(folder / name, content)
                sync(folder / name)
            for name in files:
                (folder / name).replace(target / name)
        sync(target)

    @contextmanager
    def _alone(self, explanation_id: str) -> Iterator[None]:
        """Keep other processes from answering at the same time; the folder must be there."""
        lock = locked(self._root / explanation_id, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A new folder, locked while in use, and gone afterwards unless it was renamed."""
        folder, lock = self._claimed()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def _claimed(self) -> tuple[Path, int]:
        """A new folder and its lock. One that is swept away before the lock holds is made anew."""
        for _ in range(_CLAIMS):
            folder = self._root / f"{_TEMPORARY}{secrets.token_hex(8)}"
            folder.mkdir(mode=0o700)
            try:
                lock = locked(folder, fcntl.LOCK_EX)
            except FileNotFoundError:
                continue
            except OSError:
                folder.rmdir()
                raise
            if folder.exists():
                return folder, lock
            os.close(lock)
        raise StoreError("the folder of explanations is swept too often")

    def _remove(self, folder: Path) -> bool:
        """Whether it was we who removed it: another process may expire at the same time."""
        going = self._root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            folder.rename(going)
        except FileNotFoundError:
            return False
        shutil.rmtree(going, ignore_errors=True)
        return True

    def _folders(self) -> list[Path]:
        with os.scandir(self._root) as entries:
            return [Path(e.path) for e in entries if _ID.fullmatch(e.name) and not e.is_symlink()]

    def _remove_leftovers(self) -> None:
        for folder in self._root.glob(f"{_TEMPORARY}*"):
            with suppress(OSError):
                lock = locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreError("the folder of explanations is not there") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown"
        raise StoreError(f"the folder of explanations cannot be used: {reason}") from None


def _sealed(content: Mapping[str, Any]) -> bytes:
    return json.dumps(
        {"sha256": sha256(_canonical(content)).hexdigest(), "content": content}
    ).encode()


def _unsealed(text: bytes) -> dict[str, Any]:
    """The content of a page file; ValueError if it is not what was sealed."""
    sealed = json.loads(text)
    content = sealed["content"]
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError("another format")
    if sealed["sha256"] != sha256(_canonical(content)).hexdigest():
        raise ValueError("changed after it was kept")
    return content


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _analysed_ms(folder: Path) -> float:
    """The page's time stamp, which `keep` sets to the time of the analysis; a torn folder's own."""
    for path in (folder / _PAGE, folder):
        with suppress(OSError):
            return path.lstat().st_mtime_ns / 1e6
    return float("inf")
