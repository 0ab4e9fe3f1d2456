"""Which DICOM studies lie in a folder: files grouped by study, and what is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    """It begins as a DICOM file does: a study here is not whole (PS3.10 7.1)."""


def files_in(folder: Path) -> Sequence[Path]:
    """Every file below `folder` (or the file itself) but DICOMDIR, which is only a list."""
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def group_studies(
    files: Iterable[Path], limits: Limits
) -> tuple[tuple[StudyFiles, ...], tuple[NotRead, ...]]:
    """Group files by Study Instance UID, in the order in which studies first appear."""
    studies: dict[str, list[Path]] = {}
    not_read = []
    for path in files:
        data = path.read_bytes()
        damaged = data[128:132] == b"DICM"
        try:
            study_uid = read_instance(data, limits).study_uid
        except InferenceError as error:
            not_read.append(NotRead(path, error.kind, error.sentence, damaged))
            continue
        if study_uid:
            studies.setdefault(study_uid, []).append(path)
        else:
            sentence = "The instance states no study."
            not_read.append(NotRead(path, "unreadable", sentence, damaged))
    grouped = tuple(StudyFiles(uid, tuple(paths)) for uid, paths in studies.items())
    return grouped, tuple(not_read)
