"""At most so many events a minute for each of many names, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

_REMEMBERED = 1000
_MINUTE_S = 60.0


class Pace:
    """Counts events by name (a page, an address); remembers the thousand names counted last."""

    def __init__(self, per_minute: int, clock_s: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def admits(self, name: str) -> bool:
        """Whether one more event may happen now; it is counted if so."""
        with self._lock:
            if self._is_full(name):
                return False
            times = self._times.setdefault(name, deque(maxlen=self._per_minute))
            times.append(self._clock_s())
            self._times.move_to_end(name)
            while len(self._times) > _REMEMBERED:
                self._times.popitem(last=False)
            return True

    def exhausted(self, name: str) -> bool:
        """Whether no more may happen now; nothing is counted."""
        with self._lock:
            return self._is_full(name)

    def _is_full(self, name: str) -> bool:
        times = self._times.get(name)
        if times is None or len(times) < self._per_minute:
            return False
        return self._clock_s() - times[0] < _MINUTE_S
