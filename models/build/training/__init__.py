"""Finding the weights: both tasks through one loop, on a CPU or a GPU, resumable at any epoch."""

from __future__ import annotations

from models.build.training.device import cores, pick_device
from models.build.training.loop import Progress, train
from models.build.training.losses import Teacher

__all__ = ["Progress", "Teacher", "cores", "pick_device", "train"]
