"""Damaged DICOM: whatever is done to a file, one of our three errors leaves, or an image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = 10_000
OURS = {"UndecodablePixels", "UnreadableInstance", "LimitExceeded"}


@pytest.mark.faults
def test_ten_thousand_mutants_leave_only_our_errors() -> None:
    """In a process whose memory is limited to 4 GiB: no crash, no hang, no other exception."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.dicom_mutants", "0", str(MUTANTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    report = json.loads(child.stdout)
    assert sum(report["left"].values()) == MUTANTS
    assert set(report["left"]) - {"read"} == OURS
    assert report["slowest_s"] < 10
    assert child.stderr == "", "a decoder that prints an error has swallowed it"
