"""dicom-validator: an independent judge of modules, types and values, one process for many objects.

What it judges by is `tests.peers.dicom_tables`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydicom import Dataset

from tests.peers.dicom_tables import EDITION, write_tables
from tests.peers.process import PEERS_BIN

_BEGINS = re.compile(r"Validating DICOM file .*/(\d+)\.dcm")
_SAYS_NOTHING = re.compile(r"=*|Errors|SOP class is .*")


def errors_in(objects: Mapping[str, Dataset], folder: Path) -> dict[str, list[str]]:
    """The lines of its errors by object, none where it finds none; skips where it is not there."""
    installed = next(PEERS_BIN.parent.glob("lib/*/*/dicom_validator-*.dist-info"), None)
    if installed is None:
        pytest.skip("dicom-validator is not installed (tests/peers.txt in .venv-peers)")
    tables, files = folder / "tables", folder / "objects"
    write_tables(tables, version=installed.stem.split("-")[1])
    files.mkdir()
    for number, each in enumerate(objects.values()):
        each.save_as(files / f"{number}.dcm", enforce_file_format=True)
    said = subprocess.run(
        [PEERS_BIN / "validate_iods", files, "--standard-path", tables, "--edition", EDITION],
        capture_output=True,
        text=True,
        timeout=240,
    )
    if said.stderr:
        raise RuntimeError(said.stderr)
    return _by_object(said.stdout, tuple(objects))


def _by_object(said: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in said.splitlines():
        if begins := _BEGINS.match(line):
            name = names[int(begins[1])]
            found[name] = []
        elif name and not _SAYS_NOTHING.fullmatch(line):
            found[name].append(line.strip())
    if found.keys() != set(names):
        raise RuntimeError(f"It did not look at every object: {said}")
    return found
