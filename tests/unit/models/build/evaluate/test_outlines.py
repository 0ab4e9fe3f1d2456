"""Regions and what is said of outlines, on drawn masks."""

from __future__ import annotations

import numpy as np

from models.build.evaluate.outlines import (
    OutlineOperating,
    at_size,
    choose_outline,
    outlined,
    report_outlines,
)
from models.build.evaluate.regions import regions_of
from models.build.packs import Samples
from models.manifest import Outline
from models.outlines import kept_regions

SIDE = 64


def discs(*places: tuple[int, int, int]) -> np.ndarray:
    """(row, column, radius) of each."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), bool)
    for row, column, radius in places:
        mask |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return mask


def logits_of(mask: np.ndarray, sure: float = 3.0) -> np.ndarray:
    return np.where(mask, sure, -sure).astype(np.float32)


def test_the_regions_are_those_that_are_served() -> None:
    """What is measured as kept is what `models.outlines` keeps."""
    rng = np.random.default_rng(0)
    for share in (0.3, 0.55, 0.6):
        mask = rng.random((SIDE, SIDE)) < share
        found = regions_of(mask, np.ones_like(mask)).kept(0.01, parts=3)
        assert sum(found.areas) == kept_regions(mask, Outline(0.01, "area", 3)).sum()


def test_dice_counts_the_regions_that_are_kept() -> None:
    found = regions_of(discs((20, 20, 8), (50, 50, 3)), discs((20, 20, 8)))
    assert len(found.areas) == 2
    assert found.dice < 1
    assert found.kept(0.0, parts=1).dice == 1
    assert found.kept(0.02, parts=5).dice == 1


def test_an_outline_beside_the_lesion_is_a_miss() -> None:
    assert regions_of(discs((10, 10, 4)), discs((50, 50, 6))).missed
    assert regions_of(discs(), discs((50, 50, 6))).missed
    assert not regions_of(discs((50, 52, 4)), discs((50, 50, 6))).missed


def test_what_is_outlined_where_nothing_is_is_false() -> None:
    found = regions_of(discs((10, 10, 4)), discs())
    assert found.false
    assert found.dice == 0
    assert regions_of(discs(), discs()).dice == 1


def test_the_smallest_region_is_chosen_so_that_specks_are_left_out() -> None:
    masks = np.stack([discs((20, 20, 8))] * 4 + [discs()] * 4)
    speckled = np.stack([one | discs((50, 50, 1)) for one in masks])
    chosen = choose_outline(logits_of(speckled), masks, parts=2)
    found = outlined(logits_of(speckled), masks, chosen)
    assert [one.dice for one in found] == [1.0] * 8


def samples_of(masks: np.ndarray, labels: list[int], masked: list[bool]) -> Samples:
    names = tuple(str(i) for i in range(len(masks)))
    images = np.zeros(masks.shape, np.uint8)
    return Samples(images, np.array(labels), masks, np.array(masked), names, names)


def test_the_report_tells_missed_and_false_outlines_apart() -> None:
    truth = np.stack([discs((20, 20, 8)), discs((40, 40, 5)), discs(), discs(), discs()])
    said = np.stack([discs((20, 20, 8)), discs(), discs((9, 9, 3)), discs(), discs((9, 9, 3))])
    samples = samples_of(truth, [0, 1, -1, -1, -1], [True] * 4 + [False])
    how = OutlineOperating(1.0, 0.5, 0.0, 1)
    report = report_outlines(logits_of(said), samples, truth, how, ("big", "small"), 50, 0)
    assert (report["images"], report["with_structure"]) == (4, 2)
    assert report["dice"]["value"] == 0.5
    assert report["missed"]["value"] == 0.5
    assert report["false_outlines"]["value"] == 0.5
    assert report["per_class"]["big"]["dice"]["value"] == 1
    assert report["per_class"]["small"]["missed"] == 1
    assert report["area_error"]["median"] == 0
    assert report["left_out"]["images"] == 1


def test_a_mask_is_halved_by_the_majority_of_its_blocks() -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, :2, :1] = True
    assert at_size(mask, 2, 2)[0].tolist() == [[True, False], [False, False]]
    assert at_size(mask, 4, 4) is mask
