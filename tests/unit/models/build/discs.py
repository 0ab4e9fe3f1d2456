"""Made-up samples for quick builds: bright discs in round bodies, a recipe and a tiny network."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from torch import Tensor, nn

from models.build.networks.base import Encoder, Maps, Network
from models.build.networks.decoder import conv_norm_relu
from models.build.networks.tasks import Classifier, Outliner
from models.build.packs import NONE, Samples
from models.build.recipe import Cycle, DataRecipe, NetworkRecipe, Recipe, TrainRecipe

SIZE = 64
NEGATIVE = 2
DATA = DataRecipe(
    pack="discs",
    labels=("big", "small", "none"),
    keys=("big", "small", "no-disc"),
    negative="no-disc",
    outlines="discs",
)


def disc_samples(count: int, seed: int = 0, *, segmentation: bool = False) -> Samples:
    """`count` bodies of each kind: with a big disc, with a small one, with none."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat([0, 1, 2], count)
    planes = [_body(kind, rng) for kind in kinds]
    labels = np.where(kinds == NEGATIVE, NONE, kinds) if segmentation else kinds
    return Samples(
        np.stack([image for image, _ in planes]),
        labels.astype(np.int64),
        np.stack([mask for _, mask in planes]),
        np.ones(len(kinds), np.bool_),
        tuple(f"person {index // 2}" for index in range(len(kinds))),
        tuple(f"discs/{seed}-{index}.png" for index in range(len(kinds))),
    )


def _body(kind: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    image = np.where(x**2 + y**2 < 0.8, 90.0, 0.0) + rng.normal(0, 6, x.shape)
    down, across = rng.uniform(-0.35, 0.35, 2)
    radius = (0.3, 0.15, 0.0)[kind]
    mask = (x - across) ** 2 + (y - down) ** 2 < radius**2
    image[mask] = 220
    return np.clip(image, 0, 255).astype(np.uint8), mask


def disc_recipe(**train: object) -> Recipe:
    """A classifier with an outline decoder; `train` changes its section."""
    section = TrainRecipe("head-mr", cycles=(Cycle(5e-3, (64, 64)),), batch=8, label_smoothing=0.0)
    return Recipe(
        task="classification",
        seed=3,
        data=DATA,
        network=NetworkRecipe("tiny", outline=True, pretrained=False, dropout=0.1),
        train=dataclasses.replace(section, **train),
    )


def outline_recipe(**train: object) -> Recipe:
    """The same for a network that only outlines: the images without a disc have no label."""
    data = dataclasses.replace(DATA, labels=("big", "small"), keys=("disc",), negative=None)
    return dataclasses.replace(disc_recipe(**train), task="segmentation", data=data)


def tiny_network(recipe: Recipe) -> Network:
    """Some thousand weights, of the same protocol as the real ones."""
    dropout = recipe.network.dropout
    if recipe.task == "segmentation":
        return Outliner("tiny", TinyEncoder(), 1, dropout, widths=(16, 8), convolutions=1)
    labels = len(recipe.data.keys)
    return Classifier("tiny", TinyEncoder(), labels, dropout, labels - 1)


class TinyEncoder(Encoder):
    """Skips at 1/2 and 1/4 of the image, `deep` at 1/8."""

    skip_channels = (8, 16)
    deep_channels = features = 24
    layer = "the last convolution"

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 8, 16, 24)
        self.stages = nn.ModuleList(
            conv_norm_relu(before, after, stride=2) for before, after in itertools.pairwise(widths)
        )

    def forward(self, image: Tensor) -> Maps:
        """The map of each stage."""
        first = self.stages[0](image)
        second = self.stages[1](first)
        return Maps((first, second), self.stages[2](second))

    def parts(self) -> list[nn.Module]:
        """The three stages."""
        return list(self.stages)
