"""A hint on its way to a worker: one job for each, with a record of its own.

Like a shadow run it is retried and found again as any study is. It holds references only, sealed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from cds_service.orders import Orders, StudyKey
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.triggers.errors import UnreadableNotice

NOTICE = "notice"
"""Member of an order that holds a notice, and the first part of its record's id."""


class Asks(StrEnum):
    """What a notice asks a worker to do."""

    STUDY = "study"
    """Read the ImagingStudy `subject` and order it."""

    SEARCH = "search"
    """Search the tenant's FHIR server for what is new."""

    IMAGES = "images"
    """Find the chart of the study with the UID `subject`, which the archive has."""

    SUBSCRIBE = "subscribe"
    """Make or renew the tenant's Subscription."""


@dataclass(frozen=True)
class Notice:
    """One hint. `version` is what the archive calls this state of the study, if it does."""

    asks: Asks
    tenant: str
    subject: str = ""
    archive: str = ""
    version: str = ""

    def order(self) -> dict[str, Any]:
        """As JSON values for the queue."""
        said = {name: value for name, value in asdict(self).items() if value}
        return {NOTICE: said, "tenant": self.tenant}


def is_notice(order: Mapping[str, Any]) -> bool:
    """Whether an order is a notice."""
    return NOTICE in order


def of_notice(study: str) -> bool:
    """Whether a record's id is that of a notice."""
    return study.startswith(f"{NOTICE}-")


def notice_of(order: Mapping[str, Any]) -> Notice:
    """The inverse of `Notice.order`.

    Raises:
        UnreadableNotice: another version of scanhook made it.
    """
    try:
        said = {str(name): str(value) for name, value in order[NOTICE].items()}
        return Notice(Asks(said.pop("asks")), **said)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnreadableNotice("The notice lacks what we put into it.") from None


class Records(Protocol):
    """The records (see `queue.records.StudyRecords`)."""

    def get(self, study: str) -> StudyRecord | None:
        """The record of this opaque id. Raises QueueUnavailable."""


@dataclass(frozen=True)
class Notices:
    """Gives notices to the queue. `models` is the version of a tenant's set of models."""

    orders: Orders
    records: Records
    study_key: StudyKey
    models: Callable[[str], str]
    fresh: Callable[[], str] = lambda: secrets.token_hex(8)

    def give(
        self, notice: Notice, state: str = "", priority: Priority = Priority.ROUTINE
    ) -> StudyRecord:
        """Make sure that the notice is followed up after now.

        Args:
            notice: what to do.
            state: names what was seen of the subject: the same state again asks for nothing more.
                Empty is a state of its own each time.
            priority: of the notice and of the study that it leads to.

        Raises:
            QueueFull, QueueUnavailable: it was not accepted.
        """
        key = f"{NOTICE}-{self._opaque(notice, notice.asks, notice.subject, notice.archive)}"
        record = self.records.get(key)
        if record is not None and not state and _has_not_begun(record):
            state = record.content_key  # what waits to look will see whatever there is by then
        else:
            state = self._opaque(notice, "state", state)[:16] if state else self.fresh()
        models = self.models(notice.tenant)
        return self.orders.submit(notice.order(), key, state, models, priority)

    def _opaque(self, notice: Notice, *parts: str) -> str:
        return self.study_key(notice.tenant, NOTICE, "\n".join(parts))


def _has_not_begun(record: StudyRecord) -> bool:
    return record.state is State.RECEIVED and record.attempts == 0
