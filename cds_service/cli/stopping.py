"""How a command that runs until it is told to stop hears of it."""

from __future__ import annotations

import signal
from types import FrameType


def hear_signals() -> None:
    """Let SIGTERM and SIGINT both end the command as Ctrl-C does.

    SIGINT too is set by hand: a shell that starts a command in the background has it ignored, and
    whoever then sends one still means it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
