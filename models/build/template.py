"""The manifest's template: what a person writes once, with `$names` where figures go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from models.build.errors import PackageError, at
from models.build.expected import expected
from models.build.recipe import Recipe
from models.errors import ManifestError
from models.manifest import InputSpec, Manifest, parse_manifest

BLOCKS = ("files", "outputs", "precision")
"""Placeholders that stand for whole lines; every other one stands for a value or within a text."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_CELLS = re.compile(r"""^\s*method\s*=\s*(["'])cells\1""", re.MULTILINE)
_LINE = re.compile(r"\bline (\d+)")


@dataclass(frozen=True)
class Frame:
    """What the template alone decides and the build must know beforehand.

    `spec` is the graph's input, `parts` the number of structures kept of an outline, `modalities`
    what the model reads.
    """

    id: str
    spec: InputSpec
    parts: int
    modalities: tuple[str, ...]


def read_frame(path: Path, recipe: Recipe) -> Frame:
    """Judge the template before anything is measured: as a manifest, with figures that could be.

    Raises PackageError, naming file and line, when it cannot be read, when it asks for what no
    build of `recipe` measures, when it would not be a manifest, or has not the recipe's labels.
    Whether a figure that some builds lack was measured (of maps, of the second witness), only the
    last step can say.
    """
    text = _text(path)
    values = expected(recipe, cells=bool(_CELLS.search(text)))
    try:
        manifest = parse_manifest(fill(path, values), path.name)
    except ManifestError as error:
        raise PackageError(_as_written(error.sentence, text, values)) from error
    _must_agree(manifest, recipe, path.name)
    parts = manifest.outline.parts if manifest.outline else 1
    return Frame(manifest.id, manifest.input, parts, manifest.applies_to.modalities)


def _must_agree(manifest: Manifest, recipe: Recipe, file: str) -> None:
    """Or an output would go by another label's name."""
    labels = tuple(label.key for label in manifest.labels)
    if manifest.task != recipe.task:
        problem = f"is for a {manifest.task}, the recipe for a {recipe.task}."
        raise PackageError(at(file, None, problem))
    if labels != recipe.data.keys:
        problem = f"has the labels {', '.join(labels)}; the recipe's are "
        raise PackageError(
            at(file, None, f"{problem}{', '.join(recipe.data.keys)}, in this order.")
        )


def fill(path: Path, values: Mapping[str, str]) -> str:
    """The template with every placeholder replaced.

    A placeholder between quotes becomes part of that text; elsewhere it must be a number or one of
    BLOCKS. Raises PackageError with the line for a name that nothing measured gives.
    """
    text = _text(path)
    for number, line in enumerate(text.splitlines(), start=1):
        for name in _names(line):
            if name not in values:
                raise PackageError(
                    at(path.name, number, f"asks for ${name}, which this build does not measure.")
                )
    plain = {
        name: value if name in BLOCKS or _NUMBER.fullmatch(value) else _quoted(value)
        for name, value in values.items()
    }
    return _fill(text, plain)


def _as_written(sentence: str, text: str, values: Mapping[str, str]) -> str:
    """The sentence about the filled text, with the line that the template has there."""
    return _LINE.sub(lambda found: f"line {_line(int(found[1]), text, values)}", sentence, count=1)


def _line(filled: int, text: str, values: Mapping[str, str]) -> int:
    """The line of the template that line `filled` comes from: a block has several."""
    last = 0
    for number, line in enumerate(text.splitlines(), start=1):
        last += 1 + sum(values[name].count("\n") for name in _names(line) if name in BLOCKS)
        if filled <= last:
            return number
    return filled


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(at(path.name, None, "the template cannot be read.")) from error


def _fill(text: str, values: Mapping[str, str]) -> str:
    return Template(text).safe_substitute(values)


def _names(line: str) -> list[str]:
    found = Template.pattern.finditer(line)
    return [name for match in found if (name := match["named"] or match["braced"])]


def _quoted(value: str) -> str:
    """Safe inside a basic TOML string."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
