"""Small files that claim to be large: refused before memory is asked for, within a second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.dicom_bombs import BOMBS

ROOT = Path(__file__).resolve().parents[2]
OURS = {"UndecodablePixels", "UnreadableInstance", "LimitExceeded"}


@pytest.mark.faults
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(name: str) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.dicom_bombs", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    report = json.loads(child.stdout)
    assert report["ended"] in OURS
    assert report["cpu_s"] < 1
    assert report["growth_bytes"] < 100 * 1024 * 1024
