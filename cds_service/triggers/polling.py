"""Archives that tell nobody: asked by Study Date, day by day, with a mark that is never ahead."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from cds_service.clients.facts import StudyFacts
from cds_service.queue.state import Priority
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import Asks, Notice, Notices

log = logging.getLogger(__name__)

DAY = timedelta(days=1)


class StudyList(Protocol):
    """An archive (see `clients.dicomweb.Archive`)."""

    def studies(self, first: date, last: date, modality: str = "") -> Sequence[StudyFacts]:
        """The studies of these days; complete, or an error."""


def _at_once() -> None:
    """Nothing to wait for."""


@dataclass(frozen=True)
class ArchiveDays:
    """The studies of one archive, as notices to the tenants whose images lie there."""

    archive: str
    images: StudyList
    tenants: Sequence[str]
    notices: Notices

    def give(
        self,
        day: date,
        priority: Priority,
        modalities: Sequence[str] = (),
        run: str = "",
        before_each: Callable[[], None] = _at_once,
    ) -> int:
        """Give a notice for each study of a day; how many studies there were.

        A study that was noticed with as many images before costs nothing more, unless `run` names
        another run. `before_each` may wait.

        Raises:
            UpstreamError, QueueError: not all were given.
        """
        found = {
            facts.study_uid: facts
            for modality in modalities or ("",)
            for facts in self.images.studies(day, day, modality)
        }
        for facts in found.values():
            state = f"{facts.series} {facts.instances} {run}"
            for tenant in self.tenants:
                before_each()
                notice = Notice(Asks.IMAGES, tenant, facts.study_uid, self.archive)
                self.notices.give(notice, state, priority)
        return len(found)


@dataclass(frozen=True)
class Poll:
    """One look at everything that is polled.

    `tenants` are those whose FHIR server is searched; `look_back` is where an archive is begun
    that was never asked, `overlap` what is asked for once more, since a study grows.
    """

    sources: Sequence[ArchiveDays]
    tenants: Sequence[str]
    notices: Notices
    ledger: FollowLedger
    look_back: timedelta
    overlap: timedelta
    today: Callable[[], date]

    def search_charts(self) -> None:
        """Let a worker search each FHIR server. Raises QueueError."""
        for tenant in self.tenants:
            self.notices.give(Notice(Asks.SEARCH, tenant))

    def look_at(self, source: ArchiveDays) -> int:
        """Give what is new in one archive; how many studies its days have.

        The mark moves after each whole day: a page that fails leaves it, and the next poll asks
        for that day again.

        Raises:
            UpstreamError, QueueError: not all were given.
        """
        count, today = 0, self.today()
        for day in self._days(source, today):
            count += source.give(day, Priority.ROUTINE)
            self.ledger.reach(min(day, today).isoformat(), "images", source.archive)
        log.info("archive polled", extra={"count": count})
        return count

    def _days(self, source: ArchiveDays, today: date) -> Iterator[date]:
        """Oldest first, up to tomorrow: a scanner's clock may be in another zone."""
        mark = as_date(self.ledger.reached("images", source.archive))
        first = today - self.look_back if mark is None else min(mark, today) - self.overlap
        return days(first, today + DAY)


def days(first: date, last: date) -> Iterator[date]:
    """Each day from `first` to `last`."""
    for number in range((last - first).days + 1):
        yield first + number * DAY


def as_date(text: str) -> date | None:
    """The date that was noted; None for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
