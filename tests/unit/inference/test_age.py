"""A patient's age in years, from what the header says."""

from __future__ import annotations

import pytest

from inference.age import age_years


@pytest.mark.parametrize(
    ("stated", "born", "studied", "years"),
    [
        ("045Y", "", "", 45.0),
        (" 018m ", "", "", 1.5),
        ("052W", "", "", 0.9966),
        ("010D", "", "", 0.0274),
        ("045Y", "20000101", "20010101", 45.0),
        ("", "20000101", "20050701", 5.5),
        ("45", "20000101", "20050701", 5.5),
        ("", "2000.01.01", "20050701", 5.5),
        ("", "20000101", "", None),
        ("", "", "", None),
        ("", "20000231", "20050101", None),
        ("", "20050101", "20000101", None),
        ("", "18000101", "20000101", None),
        ("unknown", "unknown", "unknown", None),
    ],
)
def test_an_age_is_what_was_stated_or_the_time_since_birth(
    stated: str, born: str, studied: str, years: float | None
) -> None:
    assert age_years(stated, born, studied) == pytest.approx(years, abs=0.005)
