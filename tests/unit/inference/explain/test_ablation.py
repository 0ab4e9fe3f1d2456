"""Maps by taking parts away, against networks whose answer is known cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from inference.explain.ablation import cell_drops, patch_drops
from models.contract import FloatArray

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(3, 7, 7), (2, 1, 1), (4, 9, 8), (1, 14, 14)])
def test_for_a_mean_and_a_linear_layer_a_cell_is_worth_what_it_adds(
    shape: tuple[int, int, int],
) -> None:
    """Where a class activation map is exact, taking a cell away loses just its part of it."""
    channels, down, across = shape
    maps = RANDOM.normal(size=shape).astype(np.float32)
    weights = RANDOM.normal(size=(5, channels)).astype(np.float32)

    def head(feature_maps: FloatArray) -> FloatArray:
        return np.asarray(feature_maps.mean(axis=(2, 3)) @ weights.T + 3, np.float32)

    expected = np.tensordot(weights[2], maps, 1) / (down * across)
    assert cell_drops(maps, 2, head) == pytest.approx(expected, abs=1e-4)


def test_cells_are_taken_away_one_at_a_time_and_nothing_else_is_changed() -> None:
    seen: list[FloatArray] = []

    def head(feature_maps: FloatArray) -> FloatArray:
        seen.append(feature_maps.copy())
        return np.zeros((len(feature_maps), 1), np.float32)

    maps = RANDOM.normal(size=(2, 3, 3)).astype(np.float32) + 5
    cell_drops(maps, 0, head)
    whole, without = seen
    assert np.array_equal(whole[0], maps)
    assert [int((each == 0).any(axis=0).sum()) for each in without] == [1] * 9
    assert sum((each == 0).all(axis=0).astype(int) for each in without).tolist() == [[1] * 3] * 3


@pytest.mark.parametrize("size", [(224, 224), (30, 50)])
def test_a_patch_is_worth_what_the_network_reads_in_it(size: tuple[int, int]) -> None:
    image = np.full((1, 1, *size), 0.25, np.float32)
    row, column = size[0] * 3 // 7 + 1, size[1] * 5 // 7 + 1
    image[0, 0, row, column] = 1.0

    def network(images: FloatArray) -> FloatArray:
        one = images[:, 0, row, column]
        return np.stack((np.zeros_like(one), one), axis=1)

    drops = patch_drops(image, 1, network)
    expected = np.zeros((7, 7))
    expected[3, 5] = 0.75
    assert drops == pytest.approx(expected)
    assert not patch_drops(image, 0, network).any()
    assert image.max() == 1, "the image itself is left as it was"
