"""Which DICOM studies lie in a folder: files grouped by study, and what is none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from inference.errors import InferenceError
from inference.instance import read_instance
from inference.limits import Limits


@dataclass(frozen=True)
class StudyFiles:
    """The files of one study, in the order of their names."""

    study_uid: str
    files: tuple[Path, ...]

    def instances(self) -> Iterator[bytes]:
        """Their bytes, one after the other."""
        for path in self.files:
            yield path.read_bytes()


@dataclass(frozen=True)
class NotRead:
    """A file that is no instance of a study; the sentence quotes nothing of its content."""

    file: Path
    kind: str
    sentence: str
    damaged: bool
    """A study here may not be whole: the file begins as a DICOM file does (PS3.10 7.1), or the
    system does not give it out."""


def files_in(folder: Path) -> Sequence[Path]:
    """Every file below `folder` (or the file itself) but DICOMDIR, which is only a list.

    A folder that cannot be opened stands for the files in it.
    """
    if folder.is_file():
        return [folder]
    closed: list[Path] = []
    walked = os.walk(folder, onerror=lambda error: closed.append(Path(error.filename)))
    paths = [Path(place) / name for place, _, names in walked for name in names]
    found = (path for path in paths if path.is_file() and path.name != "DICOMDIR")
    return sorted([*found, *closed])


def group_studies(
    files: Iterable[Path], limits: Limits
) -> tuple[tuple[StudyFiles, ...], tuple[NotRead, ...]]:
    """Group files by Study Instance UID, in the order in which studies first appear.

    Of files with the same bytes the first one counts: exports and backups hold copies.
    """
    studies: dict[str, list[Path]] = {}
    seen: set[bytes] = set()
    not_read = []
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as error:
            sentence = f"The system does not give the file out: {error.strerror}."
            not_read.append(NotRead(path, "unreadable", sentence, damaged=True))
            continue
        damaged = data[128:132] == b"DICM"
        try:
            study_uid = read_instance(data, limits).study_uid
        except InferenceError as error:
            not_read.append(NotRead(path, error.kind, error.sentence, damaged))
            continue
        digest = sha256(data).digest()
        if study_uid and digest in seen:
            sentence = "The file is a copy of another one in the folder."
            not_read.append(NotRead(path, "copy", sentence, damaged=False))
        elif study_uid:
            seen.add(digest)
            studies.setdefault(study_uid, []).append(path)
        else:
            sentence = "The instance states no study."
            not_read.append(NotRead(path, "unreadable", sentence, damaged))
    grouped = tuple(StudyFiles(uid, tuple(paths)) for uid, paths in studies.items())
    return grouped, tuple(not_read)
