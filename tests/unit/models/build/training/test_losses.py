"""The losses ask for the right thing, and only where the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.networks.base import Heads  # noqa: E402 only with torch
from models.build.recipe import Distillation  # noqa: E402 only with torch
from models.build.training.losses import (  # noqa: E402 only with torch
    Objective,
    Targets,
    imitation,
    mask_targets,
    outline_loss,
)
from tests.unit.models.build.discs import disc_recipe, outline_recipe  # noqa: E402 only with torch


def targets(labels: list[int], masked: list[bool] | None = None) -> Targets:
    count = len(labels)
    masks = torch.zeros(count, 16, 16)
    masks[torch.tensor(labels) != 2, 4:12, 4:12] = 1
    return Targets(
        torch.zeros(count, 1, 16, 16),
        torch.tensor(labels),
        masks,
        torch.tensor(masked or [True] * count),
        torch.arange(count),
    )


def saying(target: torch.Tensor, strength: float = 8.0) -> torch.Tensor:
    """Mask logits that say just what the target is."""
    return (target * 2 - 1) * strength


def test_an_outline_is_asked_for_in_the_mask_of_its_label() -> None:
    wanted = mask_targets(torch.zeros(3, 2, 8, 8), targets([0, 1, 2]), disc_recipe())
    assert wanted.sum((2, 3)).tolist() == [[16, 0], [0, 16], [0, 0]]


@pytest.mark.parametrize("negative", ["big", "small", "no-disc"])
def test_the_masks_are_those_of_the_findings_wherever_the_negative_stands(negative: str) -> None:
    recipe = disc_recipe()
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, negative=negative))
    place = recipe.data.keys.index(negative)
    batch = targets([0, 1, 2])
    batch = batch._replace(masks=(torch.tensor([0, 1, 2]) != place)[:, None, None].repeat(1, 4, 4))
    batch = batch._replace(masks=batch.masks.float())
    wanted = mask_targets(torch.zeros(3, 2, 4, 4), batch, recipe).amax((2, 3))
    findings = [label for label in range(3) if label != place]
    assert wanted[findings].tolist() == [[1, 0], [0, 1]]
    assert wanted[place].tolist() == [0, 0]


def test_an_outliner_has_one_mask_for_every_label() -> None:
    wanted = mask_targets(torch.zeros(2, 1, 8, 8), targets([0, 1]), outline_recipe())
    assert wanted.sum((2, 3)).tolist() == [[16], [16]]


def test_a_right_outline_costs_little_and_a_wrong_one_much() -> None:
    target = mask_targets(torch.zeros(2, 1, 8, 8), targets([0, 1]), outline_recipe())
    known = torch.tensor([True, True])
    right = outline_loss(saying(target), target, known)
    wrong = outline_loss(saying(1 - target), target, known)
    assert right < 0.05
    assert wrong > 1


def test_outlines_that_are_not_known_cost_nothing() -> None:
    target = torch.zeros(2, 1, 8, 8)
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert outline_loss(logits, target, torch.tensor([False, False])) == 0


def test_a_batch_of_empty_outlines_has_a_finite_loss_that_a_false_outline_raises() -> None:
    target, known = torch.zeros(2, 1, 8, 8), torch.tensor([True, True])
    quiet, loud = (outline_loss(torch.full_like(target, v), target, known) for v in (-6.0, 2.0))
    assert 0 < quiet < 0.1 < loud < 10


def test_imitating_a_teacher_is_free_only_where_both_agree() -> None:
    teacher = torch.tensor([[2.0, 0, -1], [0, 3.0, 0]])
    known = torch.tensor([True, True])
    assert imitation(teacher + 5, teacher, known, 2.0) == pytest.approx(0, abs=1e-6)
    assert imitation(-teacher, teacher, known, 2.0) > 0.5
    assert imitation(-teacher, teacher, torch.tensor([False, False]), 2.0) == 0


@pytest.mark.parametrize("right", [True, False])
def test_saved_logits_pull_the_classes_towards_them(right: bool) -> None:
    recipe = disc_recipe(distillation=Distillation("tiny", weight=1.0, temperature=1.0))
    saved = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]], np.float32)
    heads = Heads(torch.from_numpy(saved if right else -saved), None, None, None)
    loss = Objective(recipe, saved)(heads, targets([0, 1, 2])).classes
    assert (loss < 0.01) is right
