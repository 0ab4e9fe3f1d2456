"""Lesions can be moved into a picture and out of it."""

from __future__ import annotations

import numpy as np

from models.build.counterfactual import heal, neutral, transplant

Y, X = np.mgrid[-1:1:224j, -1:1:224j]
HEAD = np.where(X**2 + Y**2 < 0.7, 100, 0).astype(np.uint8)
DISC = (X - 0.3) ** 2 + (Y + 0.1) ** 2 < 0.015
SICK = np.where(DISC, 220, HEAD).astype(np.uint8)
NONE = np.zeros_like(DISC)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_transplanted_lesion_stands_out_of_its_new_surroundings() -> None:
    changed = transplant(HEAD, SICK, DISC, rng())
    assert changed is not None
    moved = np.abs(changed.astype(int) - HEAD) > 30
    assert 0.6 < moved.sum() / DISC.sum() < 1.4


def test_a_transplant_leaves_the_host_alone_elsewhere() -> None:
    changed = transplant(HEAD, SICK, DISC, rng())
    assert changed is not None
    assert (changed == HEAD).mean() > 0.95


def test_a_lesion_is_not_put_into_air() -> None:
    assert transplant(np.zeros_like(HEAD), SICK, DISC, rng()) is None


def test_nothing_can_be_transplanted_without_an_outline() -> None:
    assert transplant(HEAD, SICK, NONE, rng()) is None


def test_healing_takes_the_lesion_out() -> None:
    healed = heal(SICK, DISC, rng())
    assert healed is not None
    assert np.abs(healed[DISC].astype(int) - 100).max() < 40


def test_a_lesion_too_large_to_be_healed_is_left() -> None:
    assert heal(SICK, X**2 + Y**2 < 0.3, rng()) is None


def test_a_neutral_patch_keeps_the_lesion() -> None:
    textured = (SICK + rng().integers(0, 20, SICK.shape)).astype(np.uint8)
    changed = [neutral(textured, DISC, DISC, rng(seed)) for seed in range(8)]
    made = [image for image in changed if image is not None]
    assert made
    for image in made:
        assert np.array_equal(image[DISC], textured[DISC])
        assert not np.array_equal(image, textured)
