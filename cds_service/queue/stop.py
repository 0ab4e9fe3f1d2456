"""Being asked to stop: warm at first, cold if asked again."""

from __future__ import annotations

import signal
import time
from types import FrameType


class Stopped(Exception):
    """Asked to stop before there was anything to do."""


class Stop:
    """What the signals asked for: the first is warm, a second one second later is cold."""

    def __init__(self) -> None:
        self.asked_at = 0.0
        self.cold = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def __bool__(self) -> bool:
        return self.asked_at > 0

    def given_up(self, since_s: float, farewell_s: float) -> bool:
        """Whether what could not be done since then (`time.monotonic`) may be left undone.

        Asked warmly it is tried for `farewell_s` more; asked coldly, or not asked, is clear.
        """
        if not self.asked_at:
            return False
        return self.cold or time.monotonic() - max(since_s, self.asked_at) > farewell_s

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if not self.asked_at:
            self.asked_at = time.monotonic()
        elif time.monotonic() - self.asked_at > 1:
            self.cold = True
