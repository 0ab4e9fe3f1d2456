"""Names of a study's content: unknown is not changed."""

from __future__ import annotations

import pytest

from cds_service.queue.content import changed, counted, counts_of, named, renewed


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
    assert renewed(known, stated) == renewed(stated, known) == both


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


@pytest.mark.parametrize(
    ("known", "stated", "news", "now"),
    [
        ("48~b", "24~a", False, "48~b"),
        ("24~a", "48~b", True, "48~b"),
        ("48~b", "48~c", True, "48~b+c"),
        ("48~b+c", "48~b", False, "48~b+c"),
        ("9~a", "10~b", True, "10~b"),
        ("2~a+b+c+d", "2~e", True, "2~b+c+d+e"),
        ("a-word-of-before", "24~a", True, "24~a"),
        ("48~b.-.r", "24~a.3~s.-", False, "48~b.3~s.r"),
    ],
)
def test_a_smaller_count_and_one_that_was_stated_before_are_no_news(
    known: str, stated: str, news: bool, now: str
) -> None:
    assert changed(known, stated) is news
    assert renewed(known, stated) == now
    assert not changed(now, stated), "so whoever takes turns is heard once"


def test_of_a_content_that_changed_its_counts_stay_true() -> None:
    assert counts_of(f"{counted(48, 'b')}.-.read.version") == "48~b.-.-.-"
