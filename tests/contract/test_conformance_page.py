"""``docs/conformance.md`` says what the tests of the requirements say, and all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.conformance_page import TESTS, page, rows

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

NUMBERS = {*range(1, 12), *range(20, 31), *range(40, 51), *range(60, 78), *range(80, 89),
           *range(90, 105)}  # fmt: skip
"""Of the requirements on CDS Hooks in the project's list."""


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()  # else: python -m docs.conformance_page


def test_every_requirement_has_one_test() -> None:
    found = [row.id for row in rows(TESTS.read_text(encoding="utf-8"))]
    numbered = [id_ for id_ in found if id_ != "a.4"]
    assert sorted(numbered) == sorted({f"A{number:02}" for number in NUMBERS})
    assert found.count("a.4") == 6


@pytest.mark.parametrize(
    "docstring",
    ["", '"""Something."""', '"""SHALL: It is so.\n\n    And more.\n    """', '"""MUST: It is."""'],
)
def test_a_test_that_does_not_say_its_requirement_is_an_error(docstring: str) -> None:
    with pytest.raises(ValueError, match="test_a01_x"):
        list(rows(f"def test_a01_x() -> None:\n    {docstring or 'pass'}\n"))


def test_what_is_not_offered_has_its_reason() -> None:
    source = (
        'def test_a08_x():\n    """MAY: It is.\n\n    Not offered: for\n    a reason.\n    """\n'
    )
    (row,) = rows(source)
    assert (row.id, row.level, row.sentence, row.reason) == (
        "A08",
        "MAY",
        "It is.",
        "for a reason.",
    )
