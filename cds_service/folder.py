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
        try:
            study_uid = read_instance(path.read_bytes(), limits).study_uid
        except InferenceError as error:
            not_read.append(NotRead(path, error.kind, error.sentence))
            continue
        if study_uid:
            studies.setdefault(study_uid, []).append(path)
        else:
            not_read.append(NotRead(path, "unreadable", "The instance states no study."))
    grouped = tuple(StudyFiles(uid, tuple(paths)) for uid, paths in studies.items())
    return grouped, tuple(not_read)
