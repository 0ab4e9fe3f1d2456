"""dciodvfy of Debian's dicom3tools: an independent judge of modules, types and conditions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import Dataset


def errors_in(made: Dataset, folder: Path) -> list[str]:
    """What it calls an error in an object; the test is skipped where the program is not there."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    file = folder / "object.dcm"
    made.save_as(file, enforce_file_format=True)
    said = subprocess.run([program, file], capture_output=True, text=True, errors="replace")
    return [line for line in (said.stderr + said.stdout).splitlines() if "Error" in line]
