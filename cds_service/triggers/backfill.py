"""Studies of the past: a range of days, in the backfill lane, as fast as the workers follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from cds_service.queue.errors import QueueFull
from cds_service.queue.state import Priority
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.polling import DAY, ArchiveDays, as_date, days

REST_S = 0.5


@dataclass(frozen=True)
class DayDone:
    """One day of one archive, and how many studies it had."""

    day: date
    studies: int


@dataclass(frozen=True)
class Backfill:
    """Gives the studies of past days to the queue, oldest first, and remembers how far it came.

    `waiting` counts what waits in the backfill lane; above `depth` no more is given. A run that is
    stopped goes on where it was when the same range is asked for again; `run` names one that
    looks at every study again.
    """

    source: ArchiveDays
    ledger: FollowLedger
    waiting: Callable[[], int]
    depth: int
    modalities: Sequence[str] = ()
    run: str = ""
    sleep: Callable[[float], None] = time.sleep

    def begins(self, first: date, last: date) -> date:
        """The first day that is not done yet."""
        done = as_date(self.ledger.reached(*self._cursor(first, last)))
        return first if done is None else max(first, done + DAY)

    def days(self, first: date, last: date) -> Iterator[DayDone]:
        """Do one day after the other; the cursor moves when a day is whole.

        Raises:
            UpstreamError, QueueUnavailable: the day in hand is not done.
        """
        for day in days(self.begins(first, last), last):
            count = self._day(day)
            self.ledger.reach(day.isoformat(), *self._cursor(first, last))
            yield DayDone(day, count)

    def restart(self, first: date, last: date) -> None:
        """Forget how far the range was done."""
        self.ledger.forget(*self._cursor(first, last))

    def _day(self, day: date) -> int:
        while True:
            try:
                return self.source.give(
                    day, Priority.BACKFILL, self.modalities, self.run, self._wait
                )
            except QueueFull:
                self.sleep(REST_S)  # what was given already costs nothing the second time

    def _wait(self) -> None:
        while self.waiting() >= self.depth:
            self.sleep(REST_S)

    def _cursor(self, first: date, last: date) -> tuple[str, ...]:
        wanted = ",".join(sorted(self.modalities))
        return ("backfill", self.source.archive, first.isoformat(), last.isoformat(), wanted)
