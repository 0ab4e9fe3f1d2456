"""Random changes keep the kind of thing an image is, and can be repeated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.build import augment as changes

Y, X = np.mgrid[-1:1:224j, -1:1:224j]
HEAD = np.where(X**2 + Y**2 < 0.6, 120 + 40 * X, 0).astype(np.uint8)
ALL = [change for _, change in changes._CHANGES]


@pytest.mark.parametrize("change", ALL)
def test_each_change_gives_another_plane_of_the_same_kind(
    change: Callable[[changes.Plane, np.random.Generator], changes.Plane],
) -> None:
    changed = change(HEAD, np.random.default_rng(1))
    assert changed.shape == HEAD.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, HEAD)


@pytest.mark.parametrize("size", [160, 224])
def test_an_augmented_image_has_the_size_asked_for(size: int) -> None:
    image = changes.augment(HEAD, HEAD, size, np.random.default_rng(0))
    assert image.shape == (size, size)


def test_the_same_seed_draws_the_same_image() -> None:
    first, second, other = (
        changes.augment(HEAD, HEAD, 160, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_no_change_writes_into_the_image_it_was_given() -> None:
    kept = HEAD.copy()
    for seed in range(30):
        changes.augment(HEAD, HEAD, 160, np.random.default_rng(seed))
    assert np.array_equal(HEAD, kept)


def test_repositioning_keeps_the_head_in_the_frame() -> None:
    for seed in range(30):
        image = changes.reposition(HEAD, 160, np.random.default_rng(seed))
        assert (image > 60).mean() > 0.15


def test_borrowed_grey_levels_move_towards_the_style() -> None:
    bright = np.clip(HEAD.astype(int) * 2, 0, 255).astype(np.uint8)
    matched = changes.match_grey_levels(HEAD, bright, np.random.default_rng(0))
    assert abs(matched.mean() - bright.mean()) < abs(HEAD.mean() - bright.mean())


def test_swapped_contrast_leaves_air_dark_and_turns_tissue_over() -> None:
    swapped = changes.swap_contrast(HEAD, np.random.default_rng(0))
    assert swapped[0, 0] < 40
    assert swapped[112, 70] > swapped[112, 154]
