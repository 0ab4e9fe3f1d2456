"""Names of a study's content: unknown is not changed."""

from __future__ import annotations

import pytest

from cds_service.queue.content import changed, joined, named, renewed


@pytest.mark.parametrize(
    ("known", "stated", "both"),
    [
        ("", "", ""),
        ("", "a.-.c", "a.-.c"),
        ("a.-.c", "", "a.-.c"),
        ("a.b.c", "a.b.c", "a.b.c"),
        ("a.-.-", "-.b.-", "a.b.-"),
        ("-.-.-", "a.b.c", "a.b.c"),
        ("plain", "plain", "plain"),
        ("a", "a.b", "a.b"),
        ("a.-.-.d", "a.b.c", "a.b.c.d"),
    ],
)
def test_names_that_do_not_disagree_are_one_content(known: str, stated: str, both: str) -> None:
    assert not changed(known, stated)
    assert joined(known, stated) == both


@pytest.mark.parametrize(
    ("known", "stated"), [("a.b.c", "a.b.d"), ("a.-.c", "x.b.-"), ("plain", "other"), ("a", "b.c")]
)
def test_what_both_know_and_disagree_on_is_a_change(known: str, stated: str) -> None:
    assert changed(known, stated)
    assert changed(stated, known)


def test_a_part_of_which_nothing_is_known_has_its_place() -> None:
    assert named(["a", None, "c"]) == "a.-.c"


@pytest.mark.parametrize(
    ("known", "stated", "now"),
    [
        ("a.b", "x.-", "x.b"),
        ("a.b", "", "a.b"),
        ("", "a.-", "a.-"),
        ("a.b", "-.-.c", "a.b.c"),
        ("a.b.c", "-.x", "a.x.c"),
    ],
)
def test_the_newer_word_counts_and_says_nothing_of_the_rest(
    known: str, stated: str, now: str
) -> None:
    assert renewed(known, stated) == now
