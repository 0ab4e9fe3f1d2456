"""Bring a changed graph back to the answers of the one it was made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.compress.calibration_set import DIFFICULTIES
from models.build.compress.trainable import GraphModule
from models.build.packs import Images, Samples, as_input

Progress = Callable[[str], None]
_BATCH = 8  # a graph with fake quantisation keeps every activation twice
_CLEAN = 0.6  # the share of images that are shown as they are
_WARM_UP = 0.05
_STEPS_LEARN = 10.0  # times the rate of the weights: there is one step for many weights
_HEADS = ("logits", "feature_map", "mask_logits")


@dataclass(frozen=True)
class Tuning:
    """How long, how fast (the peak of the learning rate), and from which seed."""

    epochs: int
    learning_rate: float
    seed: int


def tune(
    student: GraphModule, teacher: GraphModule, train: Samples, how: Tuning, progress: Progress
) -> None:
    """Train `student` in place to answer like `teacher` on the images of `train`.

    No label is looked at: the student imitates logits, mask logits and the feature map (which the
    out-of-distribution score and the maps of evidence are made of), whatever of them both give.
    The same seed gives the same weights. It runs on a GPU where there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student.to(device).train()
    teacher.to(device).eval()
    steps = how.epochs * math.ceil(len(train) / _BATCH)
    optimiser, schedule = _optimiser(student, how.learning_rate, steps)
    for epoch in range(how.epochs):
        losses = []
        for images in _batches(train, how.seed, epoch):
            batch = torch.from_numpy(as_input(images)).to(device)
            with torch.no_grad():
                expected = teacher(batch)
            loss = imitation(student(batch), expected)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        progress(f"tuning, epoch {epoch + 1} of {how.epochs}: loss {np.mean(losses):.4f}")
    student.cpu().eval()
    teacher.cpu()


def _optimiser(
    student: GraphModule, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    groups = [
        {"params": list(student.weights.parameters()), "lr": rate},
        {"params": list(student.steps.parameters()), "lr": rate * _STEPS_LEARN},
    ]
    optimiser = torch.optim.Adam([group for group in groups if group["params"]])
    rates = [group["lr"] for group in optimiser.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=steps + 1, pct_start=_WARM_UP
    )
    return optimiser, schedule


def imitated(outputs: list[str]) -> list[str]:
    """Which of a graph's outputs the student imitates."""
    return [name for name in _HEADS if name in outputs]


def imitation(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
    """Divergence of the class probabilities, and squared differences relative to the teacher's.

    Logits count as well as probabilities: where the teacher is sure, the probabilities are flat.
    """
    parts = [_relative(ours[name], theirs[name]) for name in theirs]
    if "logits" in theirs:
        mine, true = (functional.log_softmax(side["logits"], 1) for side in (ours, theirs))
        parts.append(functional.kl_div(mine, true, reduction="batchmean", log_target=True))
    return torch.stack(parts).sum()


def _relative(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours - theirs).square().mean() / theirs.square().mean().clamp(min=1e-6)


def _batches(train: Samples, seed: int, epoch: int) -> Iterator[Images]:
    rng = np.random.default_rng((seed, epoch, 9))
    order = rng.permutation(len(train))
    for start in range(0, len(train), _BATCH):
        yield np.stack([_shown(train.images[i], rng) for i in order[start : start + _BATCH]])


def _shown(image: Images, rng: np.random.Generator) -> Images:
    """The image, mirrored half of the time, and made difficult now and then."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < _CLEAN:
        return image
    change = list(DIFFICULTIES.values())[int(rng.integers(1, len(DIFFICULTIES)))]
    return change(image, rng)
