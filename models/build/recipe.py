"""The hyper-parameters of one model, read from the `recipe.toml` beside it."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cycle:
    """A rise and fall of the learning rate; `sizes` has each epoch's image size (pixels a side)."""

    learning_rate: float
    sizes: tuple[int, ...]


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
    cycles: tuple[Cycle, ...]
    batch: int
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


def read_recipe(path: Path) -> Recipe:
    """Parse a recipe; an unknown or missing key is a TypeError that names it."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    cycles = [Cycle(c["learning_rate"], tuple(c["sizes"])) for c in table.pop("cycles")]
    return Recipe(cycles=tuple(cycles), **table)


def quick(recipe: Recipe) -> Recipe:
    """The same recipe cut down to a smoke run: what it makes is of no use but to tests."""
    return dataclasses.replace(
        recipe, cycles=(Cycle(1e-3, (64,)),), batch=8, neighbours=3, pca=8, bootstrap=20
    )
