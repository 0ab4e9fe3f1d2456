"""The manifest's template: what a person writes once, with `$names` where figures go."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from models import schema
from models.build.errors import PackageError, at
from models.errors import ManifestError
from models.manifest import InputSpec

BLOCKS = ("files", "outputs", "precision")
"""Placeholders that stand for whole lines; every other one stands for a value or within a text."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


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


def read_frame(path: Path) -> Frame:
    """Read the template before anything is measured.

    Raises PackageError, naming file and line, when it cannot be read, is not TOML, or lacks one of
    these keys.
    """
    text = _text(path)
    blank = _fill(text, defaultdict(lambda: "0", dict.fromkeys(BLOCKS, "")))
    try:
        table: dict[str, Any] = tomllib.loads(blank)
        spec = schema.read(InputSpec, table.get("input"), ("input",))
        parts = table.get("outline", {}).get("parts", 1)
        modalities = tuple(table["applies_to"]["modalities"])
        return Frame(str(table["id"]), spec, int(parts), modalities)
    except tomllib.TOMLDecodeError as error:
        raise PackageError(at(path.name, None, f"is not TOML: {error}.")) from error
    except ManifestError as error:
        raise PackageError(at(path.name, None, error.sentence)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = "needs the keys id and applies_to.modalities, and of an outline its parts."
        raise PackageError(at(path.name, None, problem)) from error


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
