"""The out-of-distribution scores, and the choice among them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.choosing import choose_score, features  # noqa: E402 only with torch
from models.build.ood import candidates  # noqa: E402
from models.build.recipe import CalibrateRecipe, Recipe  # noqa: E402
from models.build.strange import strange_images  # noqa: E402
from models.manifest import InputSpec  # noqa: E402
from tests.unit.models.build.discs import (  # noqa: E402
    SIZE,
    disc_recipe,
    disc_samples,
    outline_recipe,
    tiny_network,
)

SPEC = InputSpec("image", SIZE, SIZE, 0.5, 99.5)
CALIBRATE = CalibrateRecipe(pca=8, neighbours=3)


def clouds() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two classes far apart, their labels, and points that are neither."""
    rng = torch.Generator().manual_seed(0)
    pooled = torch.randn(60, 12, generator=rng)
    pooled[:30, 0] += 20
    pooled[30:, 2] += 20  # a cloud around nothing has no direction for a cosine
    labels = (torch.arange(60) >= 30).long()
    strange = torch.randn(20, 12, generator=rng)
    strange[:, 1] += 30
    return pooled, labels, strange


@pytest.mark.parametrize("name", ["mahalanobis", "nearest"])
def test_a_score_is_larger_where_no_training_image_is(name: str) -> None:
    pooled, labels, strange = clouds()
    (score,) = candidates(pooled, labels, dataclasses.replace(CALIBRATE, ood=(name,)))  # type: ignore[arg-type]
    inside, outside = score(pooled, pooled), score(strange, strange)
    assert float(outside.min()) > float(inside.max())


def test_energy_is_larger_where_no_logit_is_large() -> None:
    (score,) = candidates(*clouds()[:2], dataclasses.replace(CALIBRATE, ood=("energy",)))
    sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.1, 0.0]])
    assert float(score(unsure, unsure)) > float(score(sure, sure))


def test_fewer_images_than_directions_give_finite_scores() -> None:
    pooled = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(5, dtype=torch.int64)
    for score in candidates(pooled, labels, CalibrateRecipe(pca=256, neighbours=10)):
        assert torch.isfinite(score(pooled, pooled)).all()


def test_strange_pictures_are_of_three_kinds_and_the_same_for_a_seed() -> None:
    images = disc_samples(3).images
    strange = strange_images(images, SPEC, 1)
    assert strange.shape == (72, SIZE, SIZE)
    assert np.array_equal(strange, strange_images(images, SPEC, 1))
    assert not np.array_equal(strange, strange_images(images, SPEC, 2))
    assert all(np.ptp(image) > 0 for image in strange)


def samples(*, external: bool, segmentation: bool = False) -> dict[str, object]:
    made = {
        name: disc_samples(6, seed, segmentation=segmentation)
        for seed, name in enumerate(("train", "val", "test"))
    }
    if external:
        made["elsewhere"] = disc_samples(2, 9).take([0, 1, 2, 3])
    return made  # type: ignore[return-value]


def with_calibration(recipe: Recipe, external: str | None = None) -> Recipe:
    data = dataclasses.replace(recipe.data, external=external)
    return dataclasses.replace(recipe, data=data, calibrate=CALIBRATE)


def test_a_classifier_without_images_from_elsewhere_is_chosen_for_by_strange_ones() -> None:
    recipe = with_calibration(disc_recipe())
    chosen = choose_score(tiny_network(recipe), samples(external=False), SPEC, recipe)  # type: ignore[arg-type]
    assert set(chosen.compared) == {"energy", "mahalanobis", "nearest"}
    best = min(row["strange_in_distribution"] for row in chosen.compared.values())
    assert chosen.compared[chosen.score.method]["strange_in_distribution"] == best
    assert "external_auroc" not in chosen.compared["energy"]


def test_images_from_elsewhere_have_the_first_word() -> None:
    recipe = with_calibration(disc_recipe(), "elsewhere")
    chosen = choose_score(tiny_network(recipe), samples(external=True), SPEC, recipe)  # type: ignore[arg-type]
    best = min(row["external_called_negative"] for row in chosen.compared.values())
    assert chosen.compared[chosen.score.method]["external_called_negative"] == best
    assert "elsewhere" in chosen.why


def test_an_outline_has_no_energy() -> None:
    recipe = with_calibration(outline_recipe())
    some = samples(external=False, segmentation=True)
    chosen = choose_score(tiny_network(recipe), some, SPEC, recipe)  # type: ignore[arg-type]
    assert set(chosen.compared) == {"mahalanobis", "nearest"}


def test_the_limit_leaves_the_asked_for_share_of_val_inside() -> None:
    recipe = with_calibration(disc_recipe())
    network, some = tiny_network(recipe), samples(external=False)
    chosen = choose_score(network, some, SPEC, recipe)  # type: ignore[arg-type]
    scores = features(network, some["val"].images).scores(chosen.score)  # type: ignore[attr-defined]
    assert (scores <= chosen.limit).mean() == pytest.approx(0.98, abs=1 / len(scores))
