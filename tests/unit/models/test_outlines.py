"""Which regions of a mask are kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.manifest_parts import Outline
from models.outlines import kept_regions, label_regions

Mask = npt.NDArray[np.bool_]


def drawn(*rows: str) -> Mask:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "areas"),
    [
        (drawn("...", "..."), []),
        (drawn("###", "###"), [6]),
        (drawn("#.#", ".#.", "#.#"), [1, 1, 1, 1, 1]),
        (drawn("#.#", "#.#", "###"), [7]),
        (drawn("###", "#.#", "###"), [8]),
        (drawn("..#", "#.."), [1, 1]),
        (drawn("##.", ".##", "#.."), [4, 1]),
        (drawn("#.#.#", "#.#.#", "#####"), [11]),
        (drawn("#"), [1]),
    ],
)
def test_pixels_that_share_an_edge_are_one_region(mask: Mask, areas: list[int]) -> None:
    labels, found = label_regions(mask)
    assert found.tolist() == areas
    assert np.array_equal(labels > 0, mask)
    assert [int((labels == number).sum()) for number in range(1, len(areas) + 1)] == areas


def test_any_mask_is_labelled_as_by_filling_each_region_in_turn() -> None:
    random = np.random.default_rng(3)
    for _ in range(40):
        mask = random.random(random.integers(1, 24, 2)) < random.random()
        labels, _ = label_regions(mask)
        assert np.array_equal(labels, _flooded(mask))


@pytest.mark.parametrize(
    ("least", "parts", "kept"),
    [
        (0.0, 3, drawn("##..#", "##...", "....#", "....#")),
        (0.0, 1, drawn("##...", "##...", ".....", ".....")),
        (0.1, 3, drawn("##...", "##...", "....#", "....#")),
        (0.2, 3, drawn("##...", "##...", ".....", ".....")),
        (0.5, 3, drawn(".....", ".....", ".....", ".....")),
    ],
)
def test_the_largest_regions_that_are_large_enough_are_kept(
    least: float, parts: int, kept: Mask
) -> None:
    mask = drawn("##..#", "##...", "....#", "....#")
    assert np.array_equal(kept_regions(mask, Outline(least, "area", parts)), kept)


def _flooded(mask: Mask) -> npt.NDArray[np.int64]:
    labels = np.zeros(mask.shape, np.int64)
    for seed in zip(*np.nonzero(mask), strict=True):
        if labels[seed]:
            continue
        number, todo = labels.max() + 1, [seed]
        while todo:
            row, column = todo.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not labels[row, column]:
                labels[row, column] = number
                todo += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return labels
