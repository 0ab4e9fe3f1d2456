"""The requirements of the conformance page: of the hook from its tests, the others from a table.

A test of CDS Hooks says in its docstring ``LEVEL: sentence``; where we do not do it, a line
``Not offered: reason`` follows. What lies beside the hook is in `TABLE`, with the tests that show
it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
HOOK_TESTS = _TESTS / "contract" / "test_cds_hooks.py"
TABLE = _TESTS / "reference" / "requirements.toml"

_NAME = re.compile(r"test_a(?P<number>\d+)_(?P<rest>\w+)")
_LEVEL = re.compile(r"(?P<level>SHALL|SHOULD|MAY): (?P<sentence>.+)")
_NOT_OFFERED = "Not offered: "


@dataclass(frozen=True)
class Row:
    """One requirement.

    `tests` are (file below ``tests/``, name); of what is not offered they show the absence.
    `reason` says why it is not offered, `but` what of it is not kept, `note` what to know of one
    that is kept.
    """

    id: str
    level: str
    sentence: str
    tests: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    but: str = ""
    note: str = ""

    @property
    def status(self) -> str:
        """Kept, kept in part, or not offered, with what there is to say of it."""
        if self.reason:
            return f"not offered: {self.reason}"
        if self.but:
            return f"in part: {self.but}."
        return f"kept: {self.note}." if self.note else "kept"


def of_hooks(source: str) -> Iterator[Row]:
    """The requirements of the tests in a Python source, in its order.

    Raises:
        ValueError: a test of a requirement whose docstring does not say it.
    """
    for node in ast.parse(source).body:
        name = _NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
        if name is None or not isinstance(node, ast.FunctionDef):
            continue
        said, _, more = (ast.get_docstring(node) or "").partition("\n\n")
        stated = _LEVEL.fullmatch(" ".join(said.split()))
        more = " ".join(more.split())
        if stated is None or (more and not more.startswith(_NOT_OFFERED)):
            raise ValueError(f"{node.name} does not say its requirement")
        id_ = f"A{int(name['number']):02}" if name["number"] != "4" else "a.4"
        tests = (("contract/test_cds_hooks.py", node.name),)
        reason = more.removeprefix(_NOT_OFFERED)
        yield Row(id_, stated["level"], stated["sentence"], tests, reason)


def of_table(source: str) -> Iterator[Row]:
    """The requirements of a table (TOML), in its order.

    Raises:
        ValueError: one that is neither shown by a test nor not offered.
    """
    for id_, said in tomllib.loads(source).items():
        tests = tuple(
            (file, name) for file, names in said.get("tests", {}).items() for name in names
        )
        row = Row(
            id_,
            said["level"],
            said["says"],
            tests,
            said.get("not_offered", ""),
            said.get("but", ""),
            said.get("note", ""),
        )
        if not (row.tests or row.reason):
            raise ValueError(f"{id_} is not shown by a test, and no reason says why")
        yield row
