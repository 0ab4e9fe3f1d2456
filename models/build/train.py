"""Fine-tune the network; stop and resume at any epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.build.augment import augment
from models.build.counterfactual import heal, neutral, transplant
from models.build.data import LABELS, NEGATIVE, Split, as_input
from models.build.network import LiteClassifier
from models.build.recipe import Recipe

Progress = Callable[[str], None]
State = dict[str, Any]
Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def train(
    splits: dict[str, Split], recipe: Recipe, work: Path, progress: Progress, *, pretrained: bool
) -> LiteClassifier:
    """Train on `train`, report on `val` after each epoch, give the averaged network.

    Each cycle starts from the averaged weights of the one before. `work/checkpoint.pt` is written
    after every epoch; it is taken up again only for the same recipe, and an epoch draws the same
    samples whether or not the run was resumed.
    """
    torch.manual_seed(recipe.seed)
    network = LiteClassifier(len(LABELS), recipe.dropout, pretrained=pretrained)
    network.freeze_first(recipe.frozen_blocks)
    network.to(memory_format=torch.channels_last)
    saved = _saved(work, recipe)
    for number in range(saved.get("cycle", 0), len(recipe.cycles)):
        run = _Run(network, recipe, number, len(splits["train"]))
        for epoch in range(run.resume(saved), len(recipe.cycles[number].sizes)):
            loss = run.epoch(splits["train"], epoch)
            run.save(work, epoch + 1)
            accuracy = _accuracy(run.averaged.module, splits["val"])
            progress(f"cycle {number + 1}, epoch {epoch + 1}: {loss=:.3f}, val {accuracy=:.3f}")
        network.load_state_dict(run.averaged.module.state_dict())
    network.eval()
    return network


class _Run:
    """The moving parts of one cycle: weights, their average, the optimiser, the schedule."""

    def __init__(self, network: LiteClassifier, recipe: Recipe, cycle: int, slices: int) -> None:
        self.network, self.recipe, self.cycle = network, recipe, cycle
        rate, epochs = recipe.cycles[cycle].learning_rate, len(recipe.cycles[cycle].sizes)
        ema = get_ema_multi_avg_fn(recipe.average_decay)
        self.averaged = AveragedModel(network, multi_avg_fn=ema, use_buffers=True)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, rate, weight_decay=recipe.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, rate, total_steps=epochs * math.ceil(slices / recipe.batch) + 1
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def epoch(self, split: Split, epoch: int) -> float:
        """One pass; the answer is the mean loss."""
        torch.manual_seed(hash((self.recipe.seed, self.cycle, epoch)) % 2**31)  # for dropout
        self.network.train()
        losses = []
        for images, labels in _prefetched(batches(split, self.recipe, self.cycle, epoch)):
            logits, _ = self.network(torch.from_numpy(images))
            loss = self.loss(logits, torch.from_numpy(labels))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            self.averaged.update_parameters(self.network)
            losses.append(loss.item())
        return float(np.mean(losses))

    def save(self, work: Path, epochs_done: int) -> None:
        """Write the checkpoint; a kill in between leaves the last one."""
        state: State = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"recipe": _digest(self.recipe), "cycle": self.cycle, "epochs": epochs_done}
        partial = work / "checkpoint.part"
        torch.save(state, partial)
        partial.replace(work / "checkpoint.pt")

    def resume(self, saved: State) -> int:
        """Take up a checkpoint of this cycle, if that is what it is; give the epochs done."""
        if saved.get("cycle") != self.cycle:
            return 0
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        return int(saved["epochs"])

    def _parts(self) -> dict[str, nn.Module]:
        return {
            "network": self.network,
            "averaged": self.averaged,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }


def batches(split: Split, recipe: Recipe, cycle: int, epoch: int) -> Iterator[Arrays]:
    """Class-balanced augmented batches of one epoch: images (B, 1, S, S) in 0..1, labels (B,)."""
    rng = np.random.default_rng((recipe.seed, cycle, epoch))
    pools = [np.flatnonzero(split.labels == label) for label in range(len(LABELS))]
    order = np.concatenate([rng.choice(pool, -(-len(split) // len(LABELS))) for pool in pools])
    rng.shuffle(order)
    size = recipe.cycles[cycle].sizes[epoch]
    for start in range(0, len(split), recipe.batch):
        samples = [sample(split, index, recipe, rng) for index in order[start:][: recipe.batch]]
        styles = rng.integers(0, len(split), len(samples))
        images = [
            augment(image, split.images[style], size, rng)
            for (image, _), style in zip(samples, styles, strict=True)
        ]
        yield as_input(np.stack(images)), np.array([label for _, label in samples], np.int64)


def sample(
    split: Split, index: int, recipe: Recipe, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], int]:
    """A slice and its label, now and then with a lesion moved in or out."""
    image, label, mask = split.images[index], int(split.labels[index]), split.masks[index]
    chance, other = rng.random(), int(rng.integers(len(split)))
    changed = None
    if label == NEGATIVE and chance < recipe.transplant:
        changed = transplant(image, split.images[other], split.masks[other], rng)
        label = label if changed is None else int(split.labels[other])
    elif label != NEGATIVE and chance < recipe.heal:
        changed = heal(image, mask, rng)
        label = label if changed is None else NEGATIVE
    elif chance > 1 - recipe.heal:
        changed = neutral(image, mask, split.masks[other], rng)
    return (image if changed is None else changed), label


def _prefetched(items: Iterator[Arrays]) -> Iterator[Arrays]:
    """Make the next batch in a thread while the last one trains (Pillow lets go of the GIL)."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def _accuracy(network: LiteClassifier, split: Split) -> float:
    network.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(split), 64):
            images: Tensor = torch.from_numpy(as_input(split.images[start : start + 64]))
            guesses = network(images)[0].argmax(1).numpy()
            hits += int((guesses == split.labels[start : start + 64]).sum())
    return hits / len(split)


def _saved(work: Path, recipe: Recipe) -> State:
    """The checkpoint of the same recipe, or nothing."""
    path = work / "checkpoint.pt"
    state: State = torch.load(path, weights_only=True) if path.exists() else {}
    return state if state.get("recipe") == _digest(recipe) else {}


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(repr(dataclasses.astuple(recipe)).encode()).hexdigest()
