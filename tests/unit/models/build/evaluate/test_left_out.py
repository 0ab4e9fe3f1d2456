"""Parts of the true outline that are not outlined, on drawn masks."""

from __future__ import annotations

import numpy as np
import pytest

from models.build.evaluate.left_out import left_out, report_left_out

SIDE = 100


def block(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[rows, columns] = True
    return mask


LUNG = block(slice(20, 80), slice(10, 40))
CASES = {
    "the same": (LUNG, False),
    "a line that is three pixels off everywhere": (
        LUNG | block(slice(17, 83), slice(7, 43)),
        False,
    ),
    "a solid part beside it, of 2 % of the frame": (
        LUNG | block(slice(40, 60), slice(50, 60)),
        True,
    ),
    "a solid part, of half a percent": (LUNG | block(slice(40, 50), slice(50, 55)), False),
    "three small parts that are as large together": (
        LUNG
        | block(slice(10, 18), slice(50, 58))
        | block(slice(40, 48), slice(50, 58))
        | block(slice(70, 78), slice(50, 58)),
        False,
    ),
}


@pytest.mark.parametrize(("truth", "expected"), CASES.values(), ids=CASES)
def test_only_a_solid_part_counts_as_left_out(truth: np.ndarray, expected: bool) -> None:
    assert left_out(LUNG, truth) is expected


def test_what_is_outlined_too_much_is_not_left_out() -> None:
    assert not left_out(np.ones((SIDE, SIDE), bool), LUNG)


def test_the_others_are_those_with_something_there_and_nothing_left_out() -> None:
    heart = LUNG | block(slice(40, 80), slice(50, 80))
    empty = np.zeros((SIDE, SIDE), bool)
    pairs = [(LUNG, LUNG), (LUNG, heart), (empty, empty), (LUNG, LUNG)]
    report = report_left_out(
        iter(pairs), np.array([0.9, 0.6, 1.0, 0.8]), np.array([True, True, False, True])
    )
    assert report["images"] == 1
    assert report["dice_of_others"] == 0.85
    assert report["dice_5th_percentile_of_others"] == 0.805


def test_where_every_image_leaves_something_out_there_are_no_others() -> None:
    report = report_left_out(
        iter([(np.zeros((SIDE, SIDE), bool), LUNG)]), np.array([0.0]), np.array([True])
    )
    assert (report["images"], report["dice_of_others"]) == (1, None)
