"""The real DICOM files of the shared folder, if it is there: never unpacked, never committed."""

from __future__ import annotations

import csv
import tarfile
from functools import cache
from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@cache
def real_files() -> dict[str, bytes]:
    """Bytes by the manifest's file name. Skips the test when the data is absent."""
    archive = _DATA / "dicom.tar"
    if not archive.exists():
        pytest.skip("the shared folder with real DICOM files is not here")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile()]
        contents = {member.name: tar.extractfile(member) for member in members}
        return {
            name.removeprefix("dicom/"): content.read()
            for name, content in contents.items()
            if content
        }


@cache
def manifest() -> tuple[dict[str, str], ...]:
    """The rows of the manifest, one for each file."""
    table = _DATA / "dicom.csv"
    if not table.exists():
        pytest.skip("the shared folder with real DICOM files is not here")
    with table.open(newline="", encoding="utf-8") as rows:
        return tuple(csv.DictReader(rows))


def head_series() -> list[bytes]:
    """The 48 slices of a T1-weighted head series."""
    return [data for name, data in sorted(real_files().items()) if "/N2D_" in name]
