"""Where the training runs, and on how many cores."""

from __future__ import annotations

import os

import torch


def pick_device() -> torch.device:
    """The GPU if there is one that PyTorch can use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
