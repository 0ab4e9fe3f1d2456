"""pytest finds every test: it passes by folders whose names look like those of a build's output."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def test_no_folder_of_tests_is_passed_by(pytestconfig: pytest.Config) -> None:
    patterns = pytestconfig.getini("norecursedirs")
    folders = {folder for path in TESTS.rglob("test_*.py") for folder in path.parents}
    inside = [folder for folder in folders if folder.is_relative_to(TESTS)]
    assert TESTS / "unit" / "models" / "build" in inside
    passed_by = [f for f in inside if any(fnmatch(f.name, pattern) for pattern in patterns)]
    assert passed_by == []
