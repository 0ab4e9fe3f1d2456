"""What lies in a folder of DICOM files: read once, from the headers alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError


@dataclass(frozen=True)
class StoredInstance:
    """One Part 10 file; `header` is everything before the pixels."""

    path: Path
    size_bytes: int
    transfer_syntax: str
    header: Dataset

    @property
    def study_uid(self) -> str:
        """(0020,000D)"""
        return str(self.header.StudyInstanceUID)

    @property
    def series_uid(self) -> str:
        """(0020,000E)"""
        return str(self.header.SeriesInstanceUID)

    @property
    def sop_instance_uid(self) -> str:
        """(0008,0018)"""
        return str(self.header.SOPInstanceUID)


@dataclass(frozen=True)
class StoredSeries:
    """The instances of one series in the order of their numbers."""

    series_uid: str
    instances: tuple[StoredInstance, ...]

    @property
    def header(self) -> Dataset:
        """Of the first instance, for what all of them share."""
        return self.instances[0].header


@dataclass(frozen=True)
class StoredStudy:
    """The series of one study."""

    study_uid: str
    series: tuple[StoredSeries, ...]

    @property
    def header(self) -> Dataset:
        """Of the first instance, for what all of them share."""
        return self.series[0].header

    @property
    def instances(self) -> tuple[StoredInstance, ...]:
        """Of all series."""
        return tuple(instance for series in self.series for instance in series.instances)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of its series, each once, sorted."""
        found = {str(series.header.get("Modality", "") or "") for series in self.series}
        return tuple(sorted(found - {""}))


@dataclass(frozen=True)
class Catalogue:
    """The studies of some folders, by Study Instance UID, in the order in which they were found."""

    studies: Mapping[str, StoredStudy]


def read_catalogue(folders: Iterable[Path]) -> Catalogue:
    """Read the header of every DICOM file below `folders`; other files are passed over.

    An instance that is there twice counts once.
    """
    return catalogue_of(_instances(folders))


def catalogue_of(instances: Iterable[StoredInstance]) -> Catalogue:
    """Instances by study and series, each once."""
    found: dict[str, dict[str, dict[str, StoredInstance]]] = {}
    for instance in instances:
        series = found.setdefault(instance.study_uid, {}).setdefault(instance.series_uid, {})
        series.setdefault(instance.sop_instance_uid, instance)
    return Catalogue({uid: _study(uid, series) for uid, series in found.items()})


def _instances(folders: Iterable[Path]) -> Iterator[StoredInstance]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).parts
            if path.is_file() and not any(part.startswith(".") for part in relative):
                instance = stored_instance(path)
                if instance is not None:
                    yield instance


def stored_instance(path: Path) -> StoredInstance | None:
    """Raises nothing: what is no instance, or names none, is ``None``."""
    try:
        with warnings.catch_warnings():
            # odd values are the business of whoever reads the images, not of a demo archive
            warnings.simplefilter("ignore")
            header = dcmread(path, stop_before_pixels=True)
            named = all(
                header.get(name)
                for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            )
    except (InvalidDicomError, OSError, ValueError, EOFError, KeyError, NotImplementedError):
        return None
    if not named:
        return None
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    return StoredInstance(path, path.stat().st_size, syntax, header) if syntax else None


def _study(uid: str, series: Mapping[str, Mapping[str, StoredInstance]]) -> StoredStudy:
    ordered = sorted(series.items(), key=lambda item: (_number(item[1], "SeriesNumber"), item[0]))
    return StoredStudy(
        uid, tuple(StoredSeries(name, _by_number(members)) for name, members in ordered)
    )


def _by_number(members: Mapping[str, StoredInstance]) -> tuple[StoredInstance, ...]:
    return tuple(
        sorted(
            members.values(), key=lambda one: (_int(one.header, "InstanceNumber"), str(one.path))
        )
    )


def _number(members: Mapping[str, StoredInstance], name: str) -> int:
    return min(_int(instance.header, name) for instance in members.values())


def _int(header: Dataset, name: str) -> int:
    try:
        return int(header.get(name) or 0)
    except (TypeError, ValueError):
        return 0
