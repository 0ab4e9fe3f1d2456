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
    made = transplant(HEAD, SICK, DISC, rng())
    assert made is not None
    changed = np.abs(made[0].astype(int) - HEAD) > 30
    assert 0.6 < changed.sum() / DISC.sum() < 1.4


def test_a_transplanted_lesion_brings_its_outline_to_where_it_now_lies() -> None:
    made = [transplant(HEAD, SICK, DISC, rng(seed)) for seed in range(12)]
    done = [pair for pair in made if pair is not None]
    assert done
    for image, mask in done:
        changed = np.abs(image.astype(int) - HEAD) > 30
        assert mask.sum() == DISC.sum()
        assert (changed & mask).sum() > 0.9 * changed.sum()


def test_a_transplant_leaves_the_host_alone_elsewhere() -> None:
    made = transplant(HEAD, SICK, DISC, rng())
    assert made is not None
    assert (made[0] == HEAD).mean() > 0.95


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
