"""Measures of a map, on a toy model whose true map is known: it looks at one bright square."""

from __future__ import annotations

import numpy as np
import pytest

from models.build.evaluate.faithfulness import (
    Explained,
    energy_in,
    points_into,
    report_faithfulness,
    upsampled,
)
from models.build.packs import Samples

CELLS, SIDE = 4, 64


def blocks(images: np.ndarray) -> np.ndarray:
    """Mean brightness of each of 4 x 4 cells."""
    size = SIDE // CELLS
    shape = (-1, CELLS, size, CELLS, size)
    return images[:, 0].reshape(shape).mean(axis=(2, 4)).astype(np.float32)


def honest(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits are the sum of bright cells; the map is exactly that."""
    heat = 6 * blocks(images)
    maps = np.stack([heat, -heat], axis=1)
    return maps.sum(axis=(2, 3)) - np.array([3.0, -3.0], np.float32), maps


def dishonest(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same answers with a map that points to the other side."""
    logits, maps = honest(images)
    return logits, maps[:, :, ::-1, ::-1]


def samples(count: int = 6) -> Samples:
    rng = np.random.default_rng(0)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    masks = np.zeros(images.shape, bool)
    for index in range(count):
        row, column = rng.integers(0, CELLS, 2) * 16
        masks[index, row : row + 16, column : column + 16] = True
    images[masks] = 250
    names = tuple(str(i) for i in range(count))
    return Samples(images, np.zeros(count, np.int64), masks, np.ones(count, bool), names, names)


def measured(maps: object) -> dict[str, object]:
    model = Explained(maps, 1.0, {"all weights": dishonest})  # type: ignore[arg-type]
    return report_faithfulness(model, samples(), 1, 50, 0)


def test_an_honest_map_points_at_what_was_used() -> None:
    report = measured(honest)
    assert report["images"] == 6
    assert report["pointing_game"]["value"] == 1  # type: ignore[index]
    assert report["energy_in_mask"]["value"] > 3 * report["energy_by_chance"]  # type: ignore
    assert report["deletion_auc"] < report["deletion_auc_random"]  # type: ignore[operator]
    assert report["insertion_auc"] > report["insertion_auc_random"]  # type: ignore[operator]


def test_a_dishonest_map_is_found_out() -> None:
    report = measured(dishonest)
    honestly = measured(honest)
    assert report["pointing_game"]["value"] < 0.5  # type: ignore[index]
    assert report["deletion_auc"] > honestly["deletion_auc"]  # type: ignore[operator]


def test_a_map_that_ignores_the_weights_is_found_out() -> None:
    same = Explained(honest, 1.0, {"all weights": honest})
    report = report_faithfulness(same, samples(), 1, 50, 0)
    assert report["randomisation"]["all weights"] == pytest.approx(1)
    assert measured(honest)["randomisation"]["all weights"] < 0.5  # type: ignore[index]


def test_without_a_recognised_finding_there_is_nothing_to_measure() -> None:
    empty = samples().take(np.array([], np.int64))
    blank = Samples(
        np.zeros((2, SIDE, SIDE), np.uint8),
        np.zeros(2, np.int64),
        np.ones((2, SIDE, SIDE), bool),
        np.ones(2, bool),
        ("a", "b"),
        ("a", "b"),
    )
    model = Explained(honest, 1.0, {})
    assert len(empty) == 0
    assert report_faithfulness(model, blank, 1, 50, 0) == {"images": 0}


def test_the_pointing_game_forgives_fifteen_pixels() -> None:
    heat, mask = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), bool)
    heat[30, 30] = 1
    mask[30, 45] = True
    assert points_into(heat, mask)
    assert not points_into(heat, mask, tolerance=14)
    assert not points_into(heat, np.zeros_like(mask))


def test_energy_is_a_share_and_nothing_of_an_empty_map() -> None:
    heat = upsampled(np.array([[1, 0], [0, 0]], np.float32), SIDE, SIDE)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[: SIDE // 2, : SIDE // 2] = True
    assert 0.7 < energy_in(heat, mask) < 1
    assert energy_in(np.zeros_like(heat), mask) == 0
