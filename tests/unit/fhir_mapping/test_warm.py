"""The FHIR library is loaded by a worker before its first study, and by the hook never."""

from __future__ import annotations

import subprocess
import sys


def loaded(program: str) -> str:
    """Which of the two are loaded after running `program` in a fresh process."""
    seen = "import sys; print([m for m in ('fhir.resources', 'onnxruntime') if m in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", f"{program}\n{seen}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_no_fhir_library() -> None:
    assert loaded("import fhir_mapping") == "[]"


def test_warming_up_loads_it() -> None:
    assert loaded("import fhir_mapping; fhir_mapping.warm_up()") == "['fhir.resources']"
