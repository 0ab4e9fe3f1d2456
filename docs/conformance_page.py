"""Writes ``docs/conformance.md`` from the contract tests: ``python -m docs.conformance_page``.

Each test of a requirement says in its docstring ``LEVEL: sentence``; where we do not do it, a line
``Not offered: reason`` follows. What can be seen from outside is read from the catalogue of checks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cds_service.conformance.catalogue import CHECKS

TESTS = Path(__file__).parents[1] / "tests" / "contract" / "test_cds_hooks.py"

INTRODUCTION = """# Conformance to CDS Hooks

scanhook is a service of CDS Hooks 2.0.1, and of the 3.0 ballot where that does not break 2.0:
scopes of SMART 1 and 2, `version`, OperationOutcome for errors. This page is made from the tests
in `tests/contract/test_cds_hooks.py`; a test keeps the two equal.

## Any service, from outside

```sh
scanhook conformance https://cds.example.org --key key.json --jwks-out jwks.json
```

examines any CDS Hooks service, not only ours: it needs neither settings nor a queue. It prints a
table, with `--json` one object, with `--junit FILE` a report for a build server, and ends with 1
if a SHALL is broken (`--strict`: or a SHOULD), with 3 if the service cannot be reached or does
not let it in. A service that checks its callers must know the issuer (`--issuer`) and the public
key set: written by `--jwks-out`, or served on loopback by `--serve-jwks PORT`, which also sees
whether the service follows a `jku` or a `fhirServer` that it was not told of. The key stays the
same with `--key`.

The calls are about `--patient`; their prefetch is `--prefetch FILE` (an object with a value for
each key), else what `--fhir URL` answers to the templates, else an empty chart that is made up.
Cards can only be examined where the service answers with some. About 100 requests are made, one
after another; no redirect is followed, and nobody's card is answered: feedback is sent on cards
that do not exist. With `--origin` a browser client of that origin is played; with `--call HOOK=ID`
a service is called that discovery does not list.
"""

OURS = """## Our service, requirement by requirement

*Kept* is what a test shows; *not offered* is optional and not there. `outside` says whether
`scanhook conformance` looks at it, too.

| id | level | requirement | status | test | outside |
|---|---|---|---|---|---|
"""

TOOL = """
## What is looked at from outside

The level is the specification's own word where it has one for a service, else SHOULD.

| id | check | level | what has to hold | clause |
|---|---|---|---|---|
"""

_NAME = re.compile(r"test_a(?P<number>\d+)_(?P<rest>\w+)")
_LEVEL = re.compile(r"(?P<level>SHALL|SHOULD|MAY): (?P<sentence>.+)")
_NOT_OFFERED = "Not offered: "


@dataclass(frozen=True)
class Row:
    """One requirement; `reason` says why it is not offered."""

    id: str
    level: str
    sentence: str
    test: str
    reason: str = ""


def rows(source: str) -> Iterator[Row]:
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
        reason = more.removeprefix(_NOT_OFFERED)
        yield Row(id_, stated["level"], stated["sentence"], node.name, reason)


def page() -> str:
    """The whole page as Markdown."""
    looked_at = {check.id for check in CHECKS}
    ours = (_row(row, looked_at) for row in rows(TESTS.read_text(encoding="utf-8")))
    tool = (
        f"| {check.id} | {check.name} | {check.level} | {_cell(check.sentence)} | {check.clause} |"
        for check in CHECKS
    )
    return f"{INTRODUCTION}\n{OURS}" + "\n".join(ours) + f"\n{TOOL}" + "\n".join(tool) + "\n"


def _row(row: Row, looked_at: set[str]) -> str:
    status = f"not offered: {row.reason}" if row.reason else "kept"
    outside = "yes" if row.id in looked_at else ""
    cells = (row.id, row.level, row.sentence, status, f"`{row.test}`", outside)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("{{", "`{{").replace("}}", "}}`")


if __name__ == "__main__":
    Path(__file__).with_name("conformance.md").write_text(page(), encoding="utf-8")
