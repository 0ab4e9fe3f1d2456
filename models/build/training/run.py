"""One cycle's moving parts: weights, their running mean, the optimiser and the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.build.errors import BuildError
from models.build.packs import Samples
from models.build.recipe import Recipe
from models.build.training.device import cores
from models.build.training.draw import batches, steps_of
from models.build.training.losses import Loss, Objective, to_device

State = dict[str, Any]
_CHECKPOINT = "checkpoint.pt"


class Run:
    """A network in one cycle of a recipe; `identity` says of what recipe and data it is."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, cycle: int, samples: Samples, identity: str
    ) -> None:
        self.network, self.recipe, self.cycle = network, recipe, cycle
        self.samples, self.identity = samples, identity
        self.device = next(network.parameters()).device
        train, plan = recipe.train, recipe.train.cycles[cycle]
        self.averaged = AveragedModel(
            network, multi_avg_fn=_running_mean(train.average_decay), use_buffers=True
        )
        groups = _groups(network, plan.learning_rate, train.decoder_rate)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=train.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            [group["lr"] for group in groups],
            total_steps=len(plan.sizes) * steps_of(samples, recipe) + 1,
        )

    def epoch(self, epoch: int, objective: Objective) -> tuple[float, float]:
        """One pass over the samples; the mean class and outline losses."""
        torch.manual_seed(_seed(self.recipe.seed, self.cycle, epoch))  # dropout, dropped blocks
        self.network.train()
        workers = max(1, cores() // 2)
        drawn = batches(self.samples, self.recipe, self.cycle, epoch, workers)
        losses = [self._step(to_device(batch, self.device), objective) for batch in drawn]
        return (
            float(np.mean([loss.classes for loss in losses])),
            float(np.mean([loss.outlines for loss in losses])),
        )

    def _step(self, batch: Any, objective: Objective) -> Loss:
        loss = objective(self.network(batch.images), batch)
        self.optimiser.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.train.gradient_limit)
        self.optimiser.step()
        self.schedule.step()
        self.averaged.update_parameters(self.network)
        return loss._replace(total=loss.total.detach())

    def save(self, work: Path, epochs_done: int) -> None:
        """Write the checkpoint; a kill in between leaves the last one."""
        state: State = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"identity": self.identity, "cycle": self.cycle, "epochs": epochs_done}
        partial = work / f"{_CHECKPOINT}.part"
        torch.save(state, partial)
        partial.replace(work / _CHECKPOINT)

    def resume(self, saved: State) -> int:
        """Take up a checkpoint of this cycle, if that is what it is; give the epochs done."""
        if saved.get("cycle") != self.cycle:
            return 0
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        return int(saved["epochs"])

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "averaged": self.averaged,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }


def saved_state(work: Path, identity: str, device: torch.device) -> State:
    """The checkpoint of the same recipe and data, or nothing.

    Raises BuildError when there is a checkpoint that cannot be read.
    """
    path = work / _CHECKPOINT
    if not path.exists():
        return {}
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises anything at all at a damaged file
        problem = "cannot be read; remove it to train from the start."
        raise BuildError(f"{work.name}/{_CHECKPOINT} {problem}") from error
    return state if state.get("identity") == identity else {}


def _groups(network: nn.Module, rate: float, decoder_rate: float) -> list[dict[str, Any]]:
    """The encoder's weights at `rate`, all others faster: they start from nothing."""
    trained = [(name, w) for name, w in network.named_parameters() if w.requires_grad]
    encoder = [weight for name, weight in trained if name.startswith("encoder.")]
    others = [weight for name, weight in trained if not name.startswith("encoder.")]
    groups = [{"params": encoder, "lr": rate}, {"params": others, "lr": rate * decoder_rate}]
    return [group for group in groups if group["params"]]


def _running_mean(decay: float) -> Any:
    """Averaging that forgets quickly at first, so that a short run is not held at its start."""

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        share = max(1 - decay, 9 / (10 + int(count)))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    return update


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
