"""Closed lines around what is inside a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inference.contours import contours_of, signed_area

Mask = npt.NDArray[np.bool_]


def drawn(*rows: str) -> Mask:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "areas"),
    [
        (drawn("...", "..."), []),
        (drawn("###", "###"), [6]),
        (drawn("###", "#.#", "###"), [9, -1]),
        (drawn("#.", ".#"), [1, 1]),
        (drawn("##.", "#.#", "###"), [7]),
        (drawn("#.#", "###"), [5]),
        (drawn("....", ".##.", "...."), [2]),
    ],
)
def test_outer_lines_and_holes_add_up_to_the_pixels(mask: Mask, areas: list[float]) -> None:
    lines = contours_of(mask)
    assert [signed_area(line) for line in lines] == areas


def test_a_line_runs_along_the_edges_of_pixels_and_turns_at_every_corner() -> None:
    (line,) = contours_of(drawn("....", ".##.", "...."))
    assert line.dtype == np.float32
    corners = {(float(x), float(y)) for x, y in line}
    assert corners == {(0.5, 0.5), (2.5, 0.5), (2.5, 1.5), (0.5, 1.5)}
    assert len(line) == 4


def test_a_line_around_any_mask_encloses_exactly_its_pixels() -> None:
    random = np.random.default_rng(4)
    for _ in range(40):
        mask = random.random(random.integers(1, 24, 2)) < random.random()
        lines = contours_of(mask)
        assert sum(signed_area(line) for line in lines) == mask.sum()
        assert np.array_equal(_filled(lines, mask.shape), mask)


def _filled(lines: tuple[npt.NDArray[np.float32], ...], shape: tuple[int, ...]) -> Mask:
    """Inside is where a ray to the left crosses an odd number of upright pieces."""
    crossings = np.zeros(shape, int)
    for line in lines:
        for (x, y), (_, below) in zip(line + 0.5, np.roll(line, -1, axis=0) + 0.5, strict=True):
            first, last = sorted((int(y), int(below)))
            crossings[first:last, int(x) :] += 1
    inside: Mask = crossings % 2 == 1
    return inside
