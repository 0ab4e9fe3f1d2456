"""The shape of the project, as rules that fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "inference", "fhir_mapping", "cds_service")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE = sorted(
    path
    for package in ("models", "inference", "fhir_mapping")
    for path in (ROOT / package).rglob("*.py")
    if "build" not in path.relative_to(ROOT).parts
)


def test_the_arrows_between_packages_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


HEAVY = ("onnxruntime", "pydicom", "highdicom", "matplotlib", "reportlab", "fhir.resources")


def test_the_web_process_starts_without_the_runtime_of_the_models() -> None:
    seen = f"""
import sys, cds_service.bootstrap.web
print([name for name in {HEAVY} if name in sys.modules])
"""
    started = subprocess.run(
        [sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert started.stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_come_from_this_project(package: str) -> None:
    module = __import__(package)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_no_module_is_longer_than_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = [n for n in node.body if not _is_docstring(n)]
                first, last = body[0].lineno if body else node.lineno, node.end_lineno or 0
                if last - first > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert long == []


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(word in path.read_text() for word in ("os.environ", "os.getenv"))
    }
    assert readers == {"cds_service/settings/environment.py"}


def test_the_pure_packages_do_not_know_the_time_of_day() -> None:
    clocks = ("time.time(", "datetime.now(", "date.today(", "utcnow(")
    found = [str(path.relative_to(ROOT)) for path in PURE if _any(clocks, path.read_text())]
    assert found == []


def test_only_one_place_catches_whatever_a_decoder_raises() -> None:
    blind = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "inference").rglob("*.py")
        if "except BaseException" in path.read_text()
    ]
    assert blind == ["inference/boundary.py"]


def test_no_decoder_under_the_gpl_is_installed() -> None:
    import importlib.metadata

    names = {
        (distribution.metadata["Name"] or "").lower().replace("_", "-")
        for distribution in importlib.metadata.distributions()
    }
    assert names.isdisjoint({"pylibjpeg-libjpeg", "dcmtk"})


def test_nothing_is_left_open_in_the_code() -> None:
    words = ("TODO", "FIXME", "XXX", "raise NotImplementedError", "pragma: no cover")
    found = [str(path.relative_to(ROOT)) for path in SOURCES if _any(words, path.read_text())]
    assert found == []


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
