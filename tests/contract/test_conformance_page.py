"""``docs/conformance.md`` says what the tests of the requirements say, and all of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from docs.conformance_page import page
from docs.conformance_rows import HOOK_TESTS, TABLE, Row, of_hooks, of_table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"

NUMBERS = {*range(1, 12), *range(20, 31), *range(40, 51), *range(60, 78), *range(80, 89),
           *range(90, 105)}  # fmt: skip
"""Of the requirements on CDS Hooks in the project's list."""

BESIDE = {
    "B": range(1, 12),
    "C": (*range(1, 17), *range(20, 32), *range(40, 46), *range(50, 70)),
    "E": range(1, 12),
    "F": range(20, 25),
}
"""Of its other parts, those that are about the program."""

TABLED = tuple(of_table(TABLE.read_text(encoding="utf-8")))


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()  # else: python -m docs.conformance_page


def test_every_requirement_has_one_test() -> None:
    found = [row.id for row in of_hooks(HOOK_TESTS.read_text(encoding="utf-8"))]
    numbered = [id_ for id_ in found if id_ != "a.4"]
    assert sorted(numbered) == sorted({f"A{number:02}" for number in NUMBERS})
    assert found.count("a.4") == 6


def test_every_other_requirement_is_in_the_table_in_its_order() -> None:
    wanted = [f"{part}{number:02}" for part, numbers in BESIDE.items() for number in numbers]
    assert [row.id for row in TABLED] == wanted


@pytest.mark.parametrize("row", TABLED, ids=lambda row: row.id)
def test_a_requirement_has_a_level_a_sentence_and_tests_that_are_there(row: Row) -> None:
    assert row.level in ("SHALL", "SHOULD", "MAY", "ours")
    assert row.sentence.endswith((".", ")"))
    for file, name in row.tests:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        there = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        assert name in there


@pytest.mark.parametrize(
    "docstring",
    ["", '"""Something."""', '"""SHALL: It is so.\n\n    And more.\n    """', '"""MUST: It is."""'],
)
def test_a_test_that_does_not_say_its_requirement_is_an_error(docstring: str) -> None:
    with pytest.raises(ValueError, match="test_a01_x"):
        list(of_hooks(f"def test_a01_x() -> None:\n    {docstring or 'pass'}\n"))


def test_a_requirement_is_shown_or_not_offered() -> None:
    with pytest.raises(ValueError, match="C01"):
        list(of_table('[C01]\nlevel = "MAY"\nsays = "It is."\n'))


def test_what_is_not_offered_may_have_a_test_of_its_absence() -> None:
    shown = 'not_offered = "so."\ntests."a.py" = ["test_a"]'
    (row,) = of_table(f'[C01]\nlevel = "MAY"\nsays = "It is."\n{shown}\n')
    assert (row.tests, row.status) == ((("a.py", "test_a"),), "not offered: so.")


@pytest.mark.parametrize(
    ("said", "status"),
    [("", "kept"), ('note = "so"', "kept: so."), ('but = "not so"', "in part: not so.")],
)
def test_what_is_kept_may_have_a_note_and_what_is_not_says_why(said: str, status: str) -> None:
    (row,) = of_table(f'[C01]\nlevel = "MAY"\nsays = "It is."\ntests."a.py" = ["test_a"]\n{said}\n')
    assert row.status == status


def test_no_shall_is_kept_in_part() -> None:
    assert not [row.id for row in TABLED if row.level == "SHALL" and row.but]


def test_what_is_not_offered_has_its_reason() -> None:
    source = (
        'def test_a08_x():\n    """MAY: It is.\n\n    Not offered: for\n    a reason.\n    """\n'
    )
    (row,) = of_hooks(source)
    assert (row.id, row.level, row.sentence, row.status) == (
        "A08",
        "MAY",
        "It is.",
        "not offered: for a reason.",
    )
