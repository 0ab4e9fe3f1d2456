"""The arithmetic of the figures, and their two renderings."""

from __future__ import annotations

import pytest

from benchmarks.results import Aim, Result, Table, markdown, paired_ratio, percentile, shown


def test_a_ratio_is_of_pairs_so_that_a_slow_round_disturbs_both() -> None:
    assert paired_ratio([2, 20, 2], [1, 10, 1]) == 2


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


@pytest.mark.parametrize(
    ("aim", "held"),
    [
        (Aim("ratio", 6.1, 6, at_least=True), True),
        (Aim("ratio", 5.9, 6, at_least=True), False),
        (Aim("time", 99, 100, unit="ms"), True),
        (Aim("time", 101, 100, unit="ms"), False),
    ],
)
def test_a_missed_aim_says_so(aim: Aim, held: bool) -> None:
    assert aim.held is held
    assert aim.sentence.endswith("reached" if held else "MISSED")


def test_a_page_has_every_table_aim_and_note() -> None:
    table = Table("Times", ("way", "ms"), (("ours", 12.345), ("theirs", "–")))
    page = markdown(Result((table,), (Aim("time", 12.345, 20, unit="ms"),), ("Noted.",)))
    assert "| ours | 12.3 |" in page
    assert "- time: 12.3 ms (at most 20 ms): reached" in page
    assert "- Noted." in page


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (1234.5, "1234"), (1.234, "1.23")])
def test_a_number_has_as_many_digits_as_it_deserves(value: float, text: str) -> None:
    assert shown(value) == text
