"""Training draws balanced classes, repeats itself, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.data import NEGATIVE, Split, load_splits  # noqa: E402 only with torch
from models.build.recipe import Cycle, Recipe, quick, read_recipe  # noqa: E402 only with torch
from models.build.train import batches, sample, train  # noqa: E402 only with torch
from tests.unit.models.build.slices import write_data  # noqa: E402 only with torch

SHIPPED = Path(__file__).parents[4] / "models" / "brain-mri-tumour" / "recipe.toml"


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    return load_splits(write_data(tmp_path_factory.mktemp("data")))


@pytest.fixture
def recipe() -> Recipe:
    two = (Cycle(1e-3, (32, 32)), Cycle(1e-3, (32,)))
    return dataclasses.replace(quick(read_recipe(SHIPPED)), cycles=two)


def test_the_same_epoch_draws_the_same_samples(splits: dict[str, Split], recipe: Recipe) -> None:
    first, again = (list(batches(splits["train"], recipe, 0, 1)) for _ in range(2))
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(labels, labels_again)


def test_another_epoch_draws_others(splits: dict[str, Split], recipe: Recipe) -> None:
    first, second = (next(batches(splits["train"], recipe, 0, epoch)) for epoch in (0, 1))
    assert not np.array_equal(first[0], second[0])


def test_classes_are_drawn_alike_when_no_lesion_moves(
    splits: dict[str, Split], recipe: Recipe
) -> None:
    still = dataclasses.replace(recipe, transplant=0.0, heal=0.0)
    labels = np.concatenate([drawn for _, drawn in batches(splits["train"], still, 0, 0)])
    assert np.bincount(labels).tolist() == [6, 6, 6, 6]


def test_a_moved_lesion_changes_the_label(splits: dict[str, Split], recipe: Recipe) -> None:
    always = dataclasses.replace(recipe, transplant=1.0, heal=1.0)
    train_split, rng = splits["train"], np.random.default_rng(0)
    negative = int(np.flatnonzero(train_split.labels == NEGATIVE)[0])
    positive = int(np.flatnonzero(train_split.labels != NEGATIVE)[0])
    gained = [sample(train_split, negative, always, rng)[1] for _ in range(20)]
    healed = [sample(train_split, positive, always, rng)[1] for _ in range(20)]
    assert {label for label in gained if label != NEGATIVE}
    assert NEGATIVE in healed


class Stopped(Exception):
    """Somebody pulled the plug."""


def test_a_run_stopped_in_between_ends_with_the_same_weights(
    splits: dict[str, Split], recipe: Recipe, tmp_path: Path
) -> None:
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = train(splits, recipe, tmp_path / "whole", lambda _: None, pretrained=False)

    def stop(_: str) -> None:
        raise Stopped

    for _ in range(3):
        with pytest.raises(Stopped):
            train(splits, recipe, tmp_path / "stopped", stop, pretrained=False)
    resumed = train(splits, recipe, tmp_path / "stopped", lambda _: None, pretrained=False)
    for name, weight in whole.state_dict().items():
        assert torch.allclose(weight, resumed.state_dict()[name], atol=1e-5), name


def test_a_checkpoint_of_another_recipe_is_not_taken_up(
    splits: dict[str, Split], recipe: Recipe, tmp_path: Path
) -> None:
    train(splits, recipe, tmp_path, lambda _: None, pretrained=False)
    lines: list[str] = []
    train(splits, dataclasses.replace(recipe, seed=99), tmp_path, lines.append, pretrained=False)
    assert len(lines) == 3
