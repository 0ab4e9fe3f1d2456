"""A key of a TOML text is found on its line, whatever form it is written in."""

from __future__ import annotations

import pytest

from models.lines import KeyPath, line_of

TEXT = '''# a comment, and then an empty line

name = "x = 1"
text = """
rows = 3
[input]
"""
[input]
rows = 224
"odd key" = 1
words = [
  "a",  # [labels]
  "b",
]

[[labels]]
key = "first"

[[labels]]
key = "second"
coding = { system = "s", code = "c" }

[labels.more]
deep.er = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 3),
        (("text",), 4),
        (("input",), 8),
        (("input", "rows"), 9),
        (("input", "odd key"), 10),
        (("input", "words"), 11),
        (("input", "words", 1), 11),
        (("input", "absent"), 8),
        (("labels",), 16),
        (("labels", 0, "key"), 17),
        (("labels", 1), 19),
        (("labels", 1, "key"), 20),
        (("labels", 1, "coding", "code"), 21),
        (("labels", 1, "absent"), 19),
        (("labels", 1, "more", "deep", "er"), 24),
        (("absent",), None),
        ((), None),
    ],
)
def test_a_key_has_a_line(path: KeyPath, line: int | None) -> None:
    assert line_of(TEXT, path) == line


def test_what_is_not_toml_has_no_lines() -> None:
    assert line_of("= = =", ("a",)) is None
