"""Writes ``docs/conformance.md`` from the requirements: ``python -m docs.conformance_page``.

What is kept is read from the tests (`docs.conformance_rows`); what can be seen from outside is read
from the catalogue of checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cds_service.conformance.catalogue import CHECKS
from docs.conformance_rows import HOOK_TESTS, TABLE, Row, of_hooks, of_table

INTRODUCTION = """# Conformance to CDS Hooks

scanhook is a service of CDS Hooks 2.0.1, and of the 3.0 ballot where that does not break 2.0:
scopes of SMART 1 and 2, `version`, OperationOutcome for errors. This page is made from the tests
in `tests/contract/test_cds_hooks.py` and the table in `tests/reference/requirements.toml`; a test
keeps them equal.

## Any service, from outside

```sh
scanhook conformance https://cds.example.org --key key.json --jwks-out jwks.json
```

examines any CDS Hooks service, not only ours: it needs neither settings nor a queue. It prints a
table, with `--json` one object, with `--junit FILE` a report for a build server, and ends with 1
if a SHALL is broken (`--strict`: or a SHOULD), with 3 if the service cannot be reached, lists
nothing that could be called, or does not let it in. A service that checks its callers must know the
issuer (`--issuer`) and the public key set: written by `--jwks-out`, or served on loopback by
`--serve-jwks PORT`, which also sees whether the service follows a `jku` or a `fhirServer` that it
was not told of. The key stays the same with `--key`.

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

BESIDE = """
## Beside the hook: queue, resources, SMART, audit

The level is the word of the specification that is named; *ours* is what follows from how systems
behave. What follows *kept* is to be known of it, and takes nothing away; *in part* says what is not
there; of what is not offered a test shows the absence, where it can. Tests are in the files named
below, and each of them is there.
"""

SECTIONS = {
    "B": "Long work behind a short hook",
    "C": "FHIR R4 resources",
    "E": "SMART",
    "F": "Audit",
}
"""The part of the list of requirements that an id begins with -> its heading."""

TABLE_HEAD = """| id | level | requirement | status | shown by |
|---|---|---|---|---|
"""

TOOL = """
## What is looked at from outside

The level is the specification's own word where it has one for a service, else SHOULD.

| id | check | level | what has to hold | clause |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    looked_at = {check.id for check in CHECKS}
    hooks = of_hooks(HOOK_TESTS.read_text(encoding="utf-8"))
    ours = (_hook_row(row, "yes" if row.id in looked_at else "") for row in hooks)
    beside = tuple(of_table(TABLE.read_text(encoding="utf-8")))
    sections = (
        f"\n### {heading}\n\n{TABLE_HEAD}" + _lines(map(_row, _of(part, beside)))
        for part, heading in SECTIONS.items()
    )
    tool = (
        _line(check.id, check.name, check.level, check.sentence, check.clause) for check in CHECKS
    )
    return f"{INTRODUCTION}\n{OURS}{_lines(ours)}{BESIDE}{''.join(sections)}{TOOL}{_lines(tool)}"


def _of(part: str, rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.id.startswith(part))


def _hook_row(row: Row, outside: str) -> str:
    ((_, test),) = row.tests
    return _line(row.id, row.level, row.sentence, row.status, f"`{test}`", outside)


def _row(row: Row) -> str:
    files: dict[str, list[str]] = {}
    for file, name in row.tests:
        files.setdefault(file, []).append(f"`{name}`")
    tests = "; ".join(f"{', '.join(names)} in `tests/{file}`" for file, names in files.items())
    return _line(row.id, row.level, row.sentence, row.status, tests)


def _line(*cells: str) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("{{", "`{{").replace("}}", "}}`")


if __name__ == "__main__":
    Path(__file__).with_name("conformance.md").write_text(page(), encoding="utf-8")
