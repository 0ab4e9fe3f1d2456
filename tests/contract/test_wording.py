"""No text that is ours, or that a model package brings, says a forbidden word on a card."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_mapping.wording import FORBIDDEN
from models.registry import ModelPackage, load_registry

ROOT = Path(__file__).parents[2]

SPOKEN = [
    path
    for folder in ("cds_service", "fhir_mapping", "inference")
    for path in sorted((ROOT / folder).rglob("*.py"))
    # what tests other people's services says what they may say
    if not path.is_relative_to(ROOT / "cds_service" / "conformance")
]
TEMPLATES = sorted((ROOT / "cds_service").rglob("*.html"))
PACKAGES = load_registry().packages

_MARKUP = re.compile(r"<style.*?</style>|<[^>]*>|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)


def said(text: str) -> list[str]:
    """The forbidden words in a text."""
    return [word for word in FORBIDDEN if word in text.lower()]


def sentences(path: Path) -> Iterator[str]:
    """The strings of a module that could be shown: no docstrings, and not the list itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.Assign) and _silent(node)
        for each in ast.walk(node)
    }
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str | bytes):
            yield from [str(each.value)] if id(each) not in silent else []


def _silent(node: ast.Expr | ast.Assign) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return ast.unparse(node.targets[0]) in ("FORBIDDEN", "_FORBIDDEN")


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_says_a_forbidden_word(path: Path) -> None:
    assert {text: said(text) for text in sentences(path) if said(text)} == {}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_template_says_a_forbidden_word(path: Path) -> None:
    assert said(_MARKUP.sub(" ", path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.manifest.id))
def test_no_model_is_shipped_that_names_what_may_not_be_said(package: ModelPackage) -> None:
    manifest = package.manifest
    codings = [label.coding.display for label in manifest.labels if label.coding]
    for text in (manifest.title, *(label.display for label in manifest.labels), *codings):
        assert said(text) == []


def test_the_lint_finds_what_it_looks_for(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text('"""Normal."""\nSAID = "The scan is Normal."\nprint("all clear")\n')
    assert [said(text) for text in sentences(planted)] == [["normal"], ["all clear"]]
