"""Each benchmark runs with small numbers; what it measures then is worth nothing."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import NAMES, main


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_tells_what_it_found(name: str, tmp_path: Path) -> None:
    written, page = tmp_path / "found.json", tmp_path / "found.md"
    done = CliRunner().invoke(
        main, [name, "--quick", "--json", str(written), "--markdown", str(page)]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads(written.read_text())["found"][name]
    assert found["tables"]
    assert all(table["rows"] for table in found["tables"])
    assert importlib.import_module(f"benchmarks.{name}").__doc__
    assert f"`python -m benchmarks {name}`" in page.read_text()
