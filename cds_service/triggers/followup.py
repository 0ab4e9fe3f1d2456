"""What a worker does with a notice: read the chart, and order the study as a hook would have.

The chart is read with our own identity, whatever the notification carried: what it says may be old,
and only the FHIR server knows whose study it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from cds_service.clients.errors import NotFound, Rejected
from cds_service.clients.policy import HttpPolicy
from cds_service.orders import StudyKey, content_of, order_of
from cds_service.queue.child import JobContext
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.triggers.chart import OpenChart
from cds_service.triggers.errors import NoBackend, NotInChart
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import Asks, Notice, Notices, Records, notice_of
from fhir_mapping.errors import MappingError
from fhir_mapping.reading import ID, member, text
from fhir_mapping.study import StudyRef
from inference.analysis import SeriesUse
from inference.evidence.objects import is_evidence
from models.contract import SeriesFacts

log = logging.getLogger(__name__)

OUTCOME = "followed-up"
"""What the record of a notice ends with: never what a model said."""

SEARCH_POLICY = HttpPolicy(deadline_s=60)
PAGE = 100
MOST = 1000
"""Studies of one search; then it goes on in a job of its own."""

OVERLAP = timedelta(minutes=5)
"""A server's commits need not appear in the order of their time stamps."""


class StudyRecords(Records, Protocol):
    """The records, and how an attempt ends."""

    def advance(self, record: StudyRecord, state: State | str, **changes: Any) -> StudyRecord:
        """Take one step. Raises StaleRecord."""


class Archive(Protocol):
    """An archive (see `clients.dicomweb.Archive`)."""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        """The series of a study; empty if the archive does not have it."""

    def instances(self, study_uid: str, series_uid: str) -> Sequence[str]:
        """The SOP Instance UIDs that it lists for a series."""


Planned = Callable[[str, Sequence[SeriesFacts]], Sequence[SeriesUse]]
"""(tenant's name, series of a study) -> which of them the models in use would read."""


@dataclass(frozen=True)
class FollowUp:
    """Follows one notice up; safe to run twice, since every order is named by content.

    `charts` are by tenant name, for those whose FHIR server we may read; `archives` by name;
    `subscribe` makes a tenant's Subscription.
    """

    charts: Mapping[str, OpenChart]
    archives: Mapping[str, Archive]
    planned: Planned
    notices: Notices
    records: StudyRecords
    ledger: FollowLedger
    study_key: StudyKey
    subscribe: Callable[[str], object]
    look_back: timedelta = timedelta(days=1)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __call__(self, order: dict[str, Any], job: JobContext) -> None:
        """One attempt; whatever it raises carries `kind` and `retryable` for the worker."""
        notice = notice_of(order)
        kind = ""
        try:
            if notice.asks is Asks.SUBSCRIBE:
                self.subscribe(notice.tenant)
            elif notice.asks is Asks.SEARCH:
                self._search(notice, job.record.priority)
            elif notice.asks is Asks.STUDY:
                self._study(notice, job.record.priority)
            else:
                self._images(notice, job.record.priority)
        except (MappingError, NotFound) as error:
            kind = error.kind  # there is nothing to analyse, which is no failure of ours
        except NotInChart as error:
            if not job.last_attempt:
                raise
            kind = error.kind
        if kind:
            log.info("nothing was ordered", extra={"kind": kind, "tenant": notice.tenant})
        self.records.advance(job.record, State.ABSTAINED, outcome=OUTCOME, error_kind=kind)

    def _study(self, notice: Notice, priority: Priority) -> None:
        chart = self._chart(notice)
        ref = chart.study(chart.server.read(notice.subject))
        self._order(ref, notice, priority)

    def _images(self, notice: Notice, priority: Priority) -> None:
        refs = self._chart(notice).studies_of(notice.subject)
        if not refs:
            raise NotInChart("no chart has this study, or not yet")
        there = [ref for ref in refs if ref.archive == notice.archive]
        held = self._held(notice) if there else {}
        for ref in there:
            self._order(ref, notice, priority, held)

    def _held(self, notice: Notice) -> Mapping[str, Any]:
        """What the archive says of a study, as `content_of` names it.

        What it calls the state of a study in which our own series lie changes with those, too.
        """
        archive, uid = self.archives[notice.archive], notice.subject
        series = archive.series(uid)
        if not series:
            return {"version": notice.version or None}
        read = self.planned(notice.tenant, series)
        ours = any(
            is_evidence(s.series_uid, s.series_number, s.description, s.modality) for s in series
        )
        return {
            "version": None if ours else notice.version or None,
            "read": read,
            "images": [i for s in read if s.used for i in archive.instances(uid, s.series_uid)],
        }

    def _order(
        self,
        ref: StudyRef,
        notice: Notice,
        priority: Priority,
        held: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        tenant = notice.tenant
        key = self.study_key(tenant, ref.patient_reference, ref.name)
        content = content_of(ref, tenant, self.study_key, **held)
        orders, models = self.notices.orders, self.notices.models(tenant)
        record = orders.submit(order_of(ref, tenant), key, content, models, priority)
        said = {"study": key, "state": str(record.state), "tenant": tenant}
        log.info("study ordered before a hook", extra=said)

    def _search(self, notice: Notice, priority: Priority) -> None:
        """Give a notice for every study that changed since the last search.

        The watermark moves to the newest change that was seen, and never past one that was not
        given on, nor past our own clock: a page that fails leaves it where it was, and one
        resource that claims to be of next year hides nothing that comes before.
        """
        since, now = self._since(notice.tenant), self.now()
        newest, sorted_so_far, count = since, True, 0
        for count, resource in enumerate(self._changed(notice, since), start=1):
            changed = _moment(resource) or since
            sorted_so_far = sorted_so_far and changed >= newest
            newest = max(newest, min(changed, now))
            self._give(resource, notice, priority)
            if count >= MOST and sorted_so_far and newest - OVERLAP > since:
                self.notices.give(notice, priority=priority)
                break
        self.ledger.reach(newest.isoformat(), "search", notice.tenant)
        log.info("charts searched", extra={"count": count, "tenant": notice.tenant})

    def _since(self, tenant: str) -> datetime:
        written, now = self.ledger.reached("search", tenant), self.now()
        try:
            mark = datetime.fromisoformat(written).astimezone(UTC)
        except ValueError:
            return now - self.look_back
        return mark if mark <= now else now - self.look_back

    def _changed(self, notice: Notice, since: datetime) -> Any:
        """ImagingStudies in the order of their change, as far as the server can sort."""
        start = (since - OVERLAP).isoformat(timespec="seconds").replace("+00:00", "Z")
        params = {
            "status": "available",
            "_lastUpdated": f"ge{start}",
            "_sort": "_lastUpdated",
            "_count": str(PAGE),
        }
        server = self._chart(notice).server
        found = server.search("ImagingStudy", params, SEARCH_POLICY)
        try:
            yield from found
        except Rejected:
            del params["_sort"]
            yield from server.search("ImagingStudy", params, SEARCH_POLICY)

    def _give(self, resource: Mapping[str, Any], notice: Notice, priority: Priority) -> None:
        own_id = text(resource, "id", 64)
        if resource.get("resourceType") == "ImagingStudy" and own_id and ID.fullmatch(own_id):
            meta = member(resource, "meta")
            seen = f"{text(meta, 'versionId', 64)} {text(meta, 'lastUpdated', 64)}"
            asked = replace(notice, asks=Asks.STUDY, subject=f"ImagingStudy/{own_id}")
            self.notices.give(asked, seen if meta else "", priority)

    def _chart(self, notice: Notice) -> OpenChart:
        chart = self.charts.get(notice.tenant)
        if chart is None:
            raise NoBackend("this tenant's FHIR server may not be read without a user")
        return chart


def _moment(resource: Mapping[str, Any]) -> datetime | None:
    """When the server last changed a resource (``meta.lastUpdated``)."""
    try:
        return datetime.fromisoformat(
            text(member(resource, "meta"), "lastUpdated", 64) or ""
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
