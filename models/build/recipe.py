"""The hyper-parameters of one model, read from the `recipe.toml` beside it."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """A run of epochs at one image size (pixels a side)."""

    epochs: int
    size: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a build besides the data.

    `frozen_blocks` keep their ImageNet weights; `transplant` is the share of tumour-free samples
    that receive a lesion, `heal` the share of tumour samples that lose it;
    `pca` and `neighbours` shape the out-of-distribution score; `ood_percentile` of the validation
    slices are in distribution. On the validation split, the threshold of the findings
    is as strict as it can be while `coverage` of all slices get an answer, and that of the negative
    while `negative_answered` of the tumour-free slices still get it.
    """

    seed: int
    stages: tuple[Stage, ...]
    batch: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    dropout: float
    average_decay: float
    frozen_blocks: int
    transplant: float
    heal: float
    pca: int
    neighbours: int
    ood_percentile: float
    negative_answered: float
    coverage: float
    bootstrap: int

    @property
    def epochs(self) -> int:
        """All epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def size_at(self, epoch: int) -> int:
        """The image size (pixels a side) of an epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size
            epoch -= stage.epochs
        return self.stages[-1].size


def read_recipe(path: Path) -> Recipe:
    """Parse a recipe; an unknown or missing key is a TypeError that names it."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    stages = tuple(Stage(**stage) for stage in table.pop("stages"))
    return Recipe(stages=stages, **table)


def quick(recipe: Recipe) -> Recipe:
    """The same recipe cut down to a smoke run: what it makes is of no use but to tests."""
    return dataclasses.replace(
        recipe, stages=(Stage(1, 64),), batch=8, neighbours=3, pca=8, bootstrap=20
    )
