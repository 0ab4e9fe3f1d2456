"""Sides of an image without a plane, as Patient Orientation states them (PS3.3 C.7.6.1.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from inference.sides import edges_of, stated_sides
from models.contract import PlaneGeometry


@pytest.mark.parametrize(
    ("stated", "edges"),
    [
        (["L", "F"], ("R", "L", "H", "F")),
        (["P", "F"], ("A", "P", "H", "F")),
        (["R", "HP"], ("L", "R", "FA", "HP")),
        (["LFP", "FLA"], ("RHA", "LFP", "HRP", "FLA")),
    ],
)
def test_the_opposite_edges_have_the_opposite_letters(
    stated: list[str], edges: tuple[str, str, str, str]
) -> None:
    assert edges_of(None, stated_sides(stated)) == edges


@pytest.mark.parametrize(
    "stated",
    [
        [], ["L"], ["L", ""], ["L", "F", "A"], ["LE", "RT"], ["l", "f"], ["L", "R"], ["L", "L"],
        ["LR", "F"], ["LL", "F"], ["LFPA", "F"], [1, 2],
    ],
)  # fmt: skip
def test_what_cannot_be_true_of_a_person_is_not_stated(stated: Sequence[object]) -> None:
    assert stated_sides(stated) is None
    assert edges_of(None, None) is None


def test_a_plane_counts_more_than_what_else_is_stated() -> None:
    axial = PlaneGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1))
    assert edges_of(axial, ("P", "F")) == ("R", "L", "A", "P")
