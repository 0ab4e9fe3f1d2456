"""An epoch's samples are balanced, repeatable, and labelled for what they show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.packs import NONE
from models.build.training.draw import (
    Batch,
    batches,
    counterfactual,
    drawn_order,
)
from tests.unit.models.build.discs import (
    NEGATIVE,
    disc_recipe,
    disc_samples,
    outline_recipe,
)

SAMPLES = disc_samples(16)
OUTLINED = disc_samples(16, segmentation=True)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_epoch_draws_the_same_samples_whatever_the_threads(workers: int) -> None:
    recipe = disc_recipe(transplant=0.5, heal=0.3)
    first = list(batches(SAMPLES, recipe, 0, 1))
    again = list(batches(SAMPLES, recipe, 0, 1, workers))
    assert len(first) == 6
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_another_epoch_draws_others() -> None:
    first, second = (next(batches(SAMPLES, disc_recipe(), 0, epoch)) for epoch in (0, 1))
    assert not np.array_equal(first.images, second.images)


@pytest.mark.parametrize(
    ("shares", "counts"),
    [((), [16, 16, 16]), ((0.5, 0.25, 0.25), [24, 12, 12]), ((0.0, 0.5, 0.5), [0, 24, 24])],
)
def test_labels_get_their_shares_of_an_epoch(shares: tuple[float, ...], counts: list[int]) -> None:
    order = drawn_order(SAMPLES, disc_recipe(class_shares=shares), rng())
    assert np.bincount(SAMPLES.labels[order], minlength=3).tolist() == counts


def test_no_sample_comes_twice_before_its_class_is_through() -> None:
    order = drawn_order(SAMPLES, disc_recipe(), rng())
    assert len(set(order.tolist())) == len(SAMPLES)


def test_images_without_a_label_are_a_stratum_of_their_own() -> None:
    recipe = outline_recipe(class_shares=(0.25, 0.25, 0.5))
    order = drawn_order(OUTLINED, recipe, rng())
    assert (OUTLINED.labels[order] == NONE).sum() == 24


def test_a_moved_lesion_takes_its_label_and_outline_along() -> None:
    recipe = disc_recipe(transplant=1.0)
    negative = int(np.flatnonzero(SAMPLES.labels == NEGATIVE)[0])
    drawn = [counterfactual(SAMPLES, negative, recipe, rng(seed)) for seed in range(40)]
    gained = [example for example in drawn if example.label != NEGATIVE]
    assert gained
    for example in gained:
        assert example.masked
        assert example.index == NONE
        changed = np.abs(example.image.astype(int) - SAMPLES.images[negative]) > 20
        assert changed.any()
        assert example.mask[changed].mean() > 0.6


def test_a_healed_lesion_leaves_an_empty_outline() -> None:
    recipe = disc_recipe(heal=1.0)
    small = int(np.flatnonzero(SAMPLES.labels == 1)[0])
    drawn = [counterfactual(SAMPLES, small, recipe, rng(seed)) for seed in range(40)]
    healed = [example for example in drawn if example.label == NEGATIVE]
    assert healed
    assert not any(example.mask.any() for example in healed)


def test_nothing_is_moved_where_no_outline_is_known() -> None:
    blind = dataclasses.replace(SAMPLES, masked=np.zeros(len(SAMPLES), np.bool_))
    recipe = disc_recipe(transplant=1.0, heal=1.0)
    drawn = [counterfactual(blind, index, recipe, rng(index)) for index in range(len(blind))]
    assert [example.index for example in drawn] == list(range(len(blind)))


def test_outlines_stay_on_their_discs_through_augmentation() -> None:
    recipe = disc_recipe(strong=0.0)
    for batch in batches(SAMPLES, recipe, 0, 0):
        for image, mask, label in zip(batch.images[:, 0], batch.masks, batch.labels, strict=True):
            inside = mask > 0.9
            if label == NEGATIVE:
                assert not mask.any()
            elif inside.sum() > 20:
                assert image[inside].mean() > image[mask < 0.1].mean() + 0.1
