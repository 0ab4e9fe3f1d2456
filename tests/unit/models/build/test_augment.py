"""Random changes keep the kind of thing an image is, carry its outline, and can be repeated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.build import changes
from models.build.augment import AUGMENTATIONS, augment
from models.build.changes import Plane
from models.build.placement import reposition

Y, X = np.mgrid[-1:1:224j, -1:1:224j]
HEAD = np.where(X**2 + Y**2 < 0.6, 120 + 40 * X, 0).astype(np.uint8)
LEFT = np.where((X + 0.3) ** 2 + (Y + 0.2) ** 2 < 0.03, 255, 0).astype(np.uint8)
MARKED = np.where(LEFT > 0, 255, HEAD // 2).astype(np.uint8)
KINDS = sorted(AUGMENTATIONS)
ALL = sorted(
    {change for kind in AUGMENTATIONS.values() for _, change in (*kind.light, *kind.strong)},
    key=lambda change: change.__name__,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(kind: str, seed: int, size: int = 160, *, strong: bool = True) -> tuple[Plane, Plane]:
    return augment(MARKED, LEFT, HEAD, size, AUGMENTATIONS[kind], rng(seed), strong=strong)


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
def test_each_change_gives_another_plane_of_the_same_kind(
    change: Callable[[Plane, np.random.Generator], Plane],
) -> None:
    changed = change(HEAD, rng(1))
    assert changed.shape == HEAD.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, HEAD)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [160, 224])
def test_an_augmented_image_and_its_mask_have_the_size_asked_for(kind: str, size: int) -> None:
    image, mask = drawn(kind, 0, size)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_image(kind: str) -> None:
    first, second, other = (drawn(kind, seed) for seed in (5, 5, 6))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_change_writes_into_the_image_or_the_mask_it_was_given(kind: str) -> None:
    image, mask = MARKED.copy(), LEFT.copy()
    for seed in range(30):
        drawn(kind, seed)
    assert np.array_equal(MARKED, image)
    assert np.array_equal(LEFT, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_moves_with_its_image(kind: str) -> None:
    for seed in range(40):
        placement = AUGMENTATIONS[kind].placement
        image, mask = reposition(MARKED, LEFT, 192, placement, rng(seed))
        assert mask.any()
        assert (
            np.array_equal(image > 200, mask > 140) or ((image > 200) ^ (mask > 140)).mean() < 0.01
        )


def test_chests_are_mirrored_but_never_turned_upside_down() -> None:
    placed = [
        reposition(MARKED, LEFT, 224, AUGMENTATIONS["chest-xray"].placement, rng(seed))[1]
        for seed in range(60)
    ]
    middles = [np.argwhere(mask > 127).mean(0) for mask in placed]
    assert all(down < 112 for down, _ in middles)
    assert 10 < sum(across > 112 for _, across in middles) < 50


@pytest.mark.parametrize("kind", KINDS)
def test_light_changes_stay_nearer_to_the_image_than_strong_ones(kind: str) -> None:
    def distance(*, strong: bool) -> float:
        means = [drawn(kind, seed, strong=strong)[0].mean() for seed in range(60)]
        return float(np.std(means))

    assert distance(strong=False) < distance(strong=True)


def test_borrowed_grey_levels_move_towards_the_style() -> None:
    bright = np.clip(HEAD.astype(int) * 2, 0, 255).astype(np.uint8)
    matched = changes.match_grey_levels(HEAD, bright, rng())
    assert abs(matched.mean() - bright.mean()) < abs(HEAD.mean() - bright.mean())


def test_swapped_contrast_leaves_air_dark_and_turns_tissue_over() -> None:
    swapped = changes.swap_contrast(HEAD, rng())
    assert swapped[0, 0] < 40
    assert swapped[112, 70] > swapped[112, 154]


def test_collimation_darkens_margins_alone() -> None:
    white = np.full((100, 100), 200, np.uint8)
    dark = changes.collimate(white, rng(3))
    assert (dark[10:90, 10:90] == 200).all()
    assert (dark < 40).any()
