"""What the weights are judged by: the class, the outline, and a teacher's answers to both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.build.networks.base import Heads, Network
from models.build.packs import NONE
from models.build.recipe import Recipe
from models.build.training.draw import Batch, negative_label
from models.contract import FloatArray

_PIXEL_WEIGHT = 2.0  # of the cross-entropy of pixels, summed over masks, beside the Dice loss
_SMALLEST = 4.0  # pixels of the decoder's grid; below this a Dice loss is chance

Teacher = Network | FloatArray
"""A network with the same labels, or its logits (N, L) on the training samples."""


class Targets(NamedTuple):
    """A batch as tensors on the device of the network."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    masked: Tensor
    indices: Tensor


class Loss(NamedTuple):
    """What is minimised, and the parts it is made of (0 where there is no such part)."""

    total: Tensor
    classes: float
    outlines: float


class Wanted(NamedTuple):
    """A teacher's answers to a batch: `logits` (B, L) where `known` (B,), `mask_logits`."""

    logits: Tensor | None
    known: Tensor
    mask_logits: Tensor | None


def to_device(batch: Batch, device: torch.device) -> Targets:
    """The batch's arrays as tensors on `device`."""
    arrays = (batch.images, batch.labels, batch.masks, batch.masked, batch.indices)
    return Targets(*(torch.from_numpy(array).to(device) for array in arrays))


@dataclass(frozen=True)
class Objective:
    """The loss of a recipe; `teacher` is asked about the very images the network sees."""

    recipe: Recipe
    teacher: Teacher | None = None

    def __call__(self, heads: Heads, batch: Targets) -> Loss:
        """Judge the heads of one batch."""
        wanted = self._wanted(batch)
        zero = batch.images.new_zeros(())
        classes = zero if heads.logits is None else self._classes(heads.logits, batch, wanted)
        outlines = zero
        if heads.mask_logits is not None:
            outlines = self._outlines(heads.mask_logits, batch, wanted)
        weight = self.recipe.train.outline_weight if heads.logits is not None else 1.0
        return Loss(classes + weight * outlines, classes.item(), outlines.item())

    def _classes(self, logits: Tensor, batch: Targets, wanted: Wanted) -> Tensor:
        smoothing = self.recipe.train.label_smoothing
        told = functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        distillation = self.recipe.train.distillation
        if distillation is None or wanted.logits is None:
            return told
        imitated = imitation(logits, wanted.logits, wanted.known, distillation.temperature)
        return (1 - distillation.weight) * told + distillation.weight * imitated

    def _outlines(self, mask_logits: Tensor, batch: Targets, wanted: Wanted) -> Tensor:
        target = mask_targets(mask_logits, batch, self.recipe)
        distillation = self.recipe.train.distillation
        theirs = wanted.mask_logits
        if distillation is not None and theirs is not None and theirs.shape[1] == target.shape[1]:
            soft = functional.interpolate(theirs.sigmoid(), target.shape[2:], mode="bilinear")
            target = torch.lerp(target, soft, distillation.weight)
        return outline_loss(mask_logits, target, batch.masked)

    def _wanted(self, batch: Targets) -> Wanted:
        everywhere = torch.ones_like(batch.masked)
        if self.teacher is None:
            return Wanted(None, everywhere, None)
        if isinstance(self.teacher, Network):
            with torch.no_grad():
                heads = self.teacher(batch.images)
            return Wanted(heads.logits, everywhere, heads.mask_logits)
        known = batch.indices != NONE
        saved = torch.from_numpy(self.teacher[batch.indices.cpu().numpy()])
        return Wanted(saved.to(batch.images.device), known, None)


def imitation(logits: Tensor, teacher: Tensor, known: Tensor, temperature: float) -> Tensor:
    """The divergence from the teacher's softened answers, times T squared (arXiv:1503.02531)."""
    theirs = functional.softmax(teacher / temperature, dim=1)
    ours = functional.log_softmax(logits / temperature, dim=1)
    each = functional.kl_div(ours, theirs, reduction="none").sum(1)
    return temperature**2 * (each * known).sum() / known.sum().clamp(min=1)


def mask_targets(mask_logits: Tensor, batch: Targets, recipe: Recipe) -> Tensor:
    """What `mask_logits` (B, K, h, w) should say: a share of each pixel, in the label's mask.

    An outliner's one mask holds any structure; a classifier has one for each label that is not
    negative, in the order of the labels.
    """
    shape = mask_logits.shape[2:]
    area = functional.interpolate(batch.masks[:, None], size=shape, mode="area")
    if recipe.task == "segmentation":
        return area
    negative = negative_label(recipe)
    channels = batch.labels - (batch.labels > negative).long() * (negative != NONE)
    chosen = functional.one_hot(channels.clamp(max=mask_logits.shape[1] - 1), mask_logits.shape[1])
    return area * chosen[:, :, None, None]


def outline_loss(mask_logits: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Cross-entropy of the pixels and soft Dice, over the images whose outline is known.

    Where an image is known to be empty there is no overlap to measure: it counts by how much is
    outlined, in a logarithm, so that a small false outline weighs about as much as a large one.
    Left to the cross-entropy alone, nearly every empty image kept a small one.
    """
    entropy = functional.binary_cross_entropy_with_logits(mask_logits, target, reduction="none")
    each = entropy.mean((2, 3)).sum(1)
    pixels = (each * masked).sum() / masked.sum().clamp(min=1)
    guess = mask_logits.sigmoid()
    inside, both = target.sum((2, 3)), (guess * target).sum((2, 3))
    dice = 1 - (2 * both + 1) / (guess.sum((2, 3)) + inside + 1)
    false = torch.log1p(guess.sum((2, 3))) / math.log1p(guess[0, 0].numel())
    present = (inside > _SMALLEST) & masked[:, None]
    empty = (inside == 0).all(1, keepdim=True) & masked[:, None]
    counted = (dice * present + false * empty).sum() / (present | empty).sum().clamp(min=1)
    return _PIXEL_WEIGHT * pixels + counted
