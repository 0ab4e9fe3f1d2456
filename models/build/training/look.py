"""How well a network in training does on images that it does not train on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from models.build.packs import Samples, as_input
from models.build.recipe import Recipe
from models.build.training.draw import negative_label

_BATCH = 32


class Overlap(NamedTuple):
    """By image: pixels guessed to be inside, pixels that are, and both."""

    guessed: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    both: npt.NDArray[np.float64]


def glance(samples: Samples, images: int) -> Samples:
    """At most so many samples, evenly from all of them."""
    if len(samples) <= images:
        return samples
    return samples.take(np.linspace(0, len(samples) - 1, images).astype(np.int64))


def look(network: nn.Module, samples: Samples, recipe: Recipe) -> str:
    """A line of figures: accuracy by class, Dice, missed and false outlines, whatever there is."""
    network.eval()
    device = next(network.parameters()).device
    guesses: list[npt.NDArray[np.int64]] = []
    overlaps: list[Overlap] = []
    with torch.inference_mode():
        for start in range(0, len(samples), _BATCH):
            part = slice(start, start + _BATCH)
            heads = network(torch.from_numpy(as_input(samples.images[part])).to(device))
            if heads.logits is not None:
                guesses.append(heads.logits.argmax(1).cpu().numpy())
            if heads.mask_logits is not None:
                overlaps.append(_overlap(heads.mask_logits, samples.masks[part]))
    said = [_said_of_classes(np.concatenate(guesses), samples, recipe)] if guesses else []
    if overlaps and samples.masked.any():
        whole = Overlap(*(np.concatenate(parts) for parts in zip(*overlaps, strict=True)))
        said.append(_said_of_outlines(whole, samples))
    return ", ".join(said)


def _overlap(mask_logits: torch.Tensor, masks: npt.NDArray[np.bool_]) -> Overlap:
    highest = mask_logits.amax(1, keepdim=True)
    wide = functional.interpolate(highest, size=masks.shape[1:], mode="bilinear")
    guess = (wide[:, 0] > 0).cpu().numpy()
    planes = (guess, masks, guess & masks)
    return Overlap(*(plane.sum((1, 2)).astype(np.float64) for plane in planes))


def _said_of_classes(guesses: npt.NDArray[np.int64], samples: Samples, recipe: Recipe) -> str:
    labels, negative = samples.labels, negative_label(recipe)
    by_class = [
        f"{key} {np.mean(guesses[labels == index] == index):.2f}"
        for index, key in enumerate(recipe.data.keys)
        if (labels == index).any()
    ]
    said = f"accuracy {np.mean(guesses == labels):.3f} ({', '.join(by_class)})"
    findings = labels != negative
    if negative >= 0 and findings.any():
        said += f", findings called negative {np.mean(guesses[findings] == negative):.3f}"
    return said


def _said_of_outlines(overlap: Overlap, samples: Samples) -> str:
    there = overlap.true > 0
    said = []
    if there.any():
        dice = 2 * overlap.both[there] / (overlap.guessed[there] + overlap.true[there])
        said.append(f"Dice {dice.mean():.3f}, missed {np.mean(overlap.both[there] == 0):.3f}")
    empty = samples.masked & ~there
    if empty.any():
        said.append(f"false outlines {np.mean(overlap.guessed[empty] > 0):.3f}")
    return ", ".join(said)
