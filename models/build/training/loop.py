"""Train a network by a recipe; stop and resume at any epoch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from models.build.errors import NetworkError
from models.build.measure.eager import saved_weights
from models.build.networks import Network, create
from models.build.packs import Samples
from models.build.recipe import Recipe
from models.build.steps import sha256
from models.build.training.device import cores, pick_device
from models.build.training.look import glance, look
from models.build.training.losses import Objective, Teacher
from models.build.training.run import Run, saved_state

Progress = Callable[[str], None]
_GLANCE = 256  # validation images looked at after an epoch; all of them at the end


def train(
    samples: Mapping[str, Samples],
    recipe: Recipe,
    work: Path,
    progress: Progress,
    teacher: Teacher | None = None,
    *,
    make: Callable[[Recipe], Network] | None = None,
    encoder: Path | None = None,
    threads: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Network:
    """Train on `train`, look at `val` after each epoch, give the averaged network on the CPU.

    Each cycle starts from the averaged weights of the one before. `work`/checkpoint.pt is written
    after every epoch; it is taken up again only for the same recipe and the same images, and then
    what follows is what would have followed. `teacher` answers for the recipe's distillation: a
    network, or its logits (N, L) on the training samples. `make` makes the network in place of
    `make_network`; `encoder` is a file of `save_network` whose encoder it starts with; `threads`
    computes on fewer cores than this process may use. Raises NetworkError for a network that cannot
    be made, BuildError for a checkpoint that cannot be read.
    """
    torch.set_num_threads(threads or cores())
    device = pick_device()
    torch.manual_seed(recipe.seed)
    network = (make or make_network)(recipe)
    if encoder is not None:
        start_from(network, encoder)
    network.freeze_first(recipe.network.frozen_blocks)
    network.to(device=device, memory_format=torch.channels_last)
    identity = _identity(samples["train"], recipe) + (sha256(encoder) if encoder else "")
    saved = saved_state(work, identity, device)
    objective = Objective(recipe, _placed(teacher, device))
    for cycle in range(saved.get("cycle", 0), len(recipe.train.cycles)):
        run = Run(network, recipe, cycle, samples["train"], identity)
        _finish_cycle(run, run.resume(saved), objective, samples["val"], work, progress, clock)
        network.load_state_dict(run.averaged.module.state_dict())
    progress(f"val: {look(network, samples['val'], recipe)}")
    network.to("cpu").eval()
    return network


def make_network(recipe: Recipe) -> Network:
    """The recipe's network before training; NetworkError where there is none of that name."""
    wanted = recipe.network
    try:
        return create(
            wanted.name,
            labels=len(recipe.data.keys),
            outline=wanted.outline,
            pretrained=wanted.pretrained,
            dropout=wanted.dropout,
        )
    except (ValueError, ImportError) as error:
        raise NetworkError(f"The network {wanted.name!r} cannot be made: {error}") from error


def start_from(network: Network, path: Path) -> None:
    """Give the network the encoder that `save_network` wrote; NetworkError where it is another."""
    weights = saved_weights(path)
    own = network.encoder.state_dict(prefix="encoder.")
    if not all(name in weights and weights[name].shape == w.shape for name, w in own.items()):
        raise NetworkError(f"{path.parent.name}/{path.name} has another encoder.")
    network.load_state_dict({name: weights[name] for name in own}, strict=False)


def _finish_cycle(
    run: Run,
    done: int,
    objective: Objective,
    val: Samples,
    work: Path,
    progress: Progress,
    clock: Callable[[], float],
) -> None:
    """The epochs of a cycle that are not done yet; one line for each."""
    sizes, few = run.recipe.train.cycles[run.cycle].sizes, glance(val, _GLANCE)
    for epoch in range(done, len(sizes)):
        begun = clock()
        classes, outlines = run.epoch(epoch, objective)
        run.save(work, epoch + 1)
        where = f"cycle {run.cycle + 1}/{len(run.recipe.train.cycles)}"
        where += f", epoch {epoch + 1}/{len(sizes)} at {sizes[epoch]} px"
        losses = f"class loss {classes:.3f}, outline loss {outlines:.3f}"
        seen = look(run.averaged.module, few, run.recipe)
        progress(f"{where}: {losses}; {len(few)} of val: {seen}; {clock() - begun:.0f} s")


def _placed(teacher: Teacher | None, device: torch.device) -> Teacher | None:
    if isinstance(teacher, Network):
        teacher.to(device).eval()
    return teacher


def _identity(samples: Samples, recipe: Recipe) -> str:
    """A digest of what decides the weights, and of nothing else: a recipe grows other keys."""
    data = (recipe.data.labels, recipe.data.keys, recipe.data.negative, samples.files)
    parts = (recipe.task, recipe.seed, data, recipe.network, recipe.train)
    digest = hashlib.sha256(repr(parts).encode())
    digest.update(samples.labels.data)
    digest.update(np.ascontiguousarray(samples.images).data)
    digest.update(np.packbits(samples.masks).data if samples.masked.any() else b"")
    return digest.hexdigest()
