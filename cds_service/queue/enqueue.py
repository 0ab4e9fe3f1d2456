"""Ordering the analysis of a study: once for each content, however often it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from cds_service.queue.content import changed, counts_of, renewed
from cds_service.queue.errors import StaleRecord, TamperedPayload
from cds_service.queue.payload import Sealer, job_key
from cds_service.queue.policy import DispatchPolicy
from cds_service.queue.records import StudyRecords
from cds_service.queue.shares import Share
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.queue.transport import Transport

__all__ = ["DispatchPolicy", "Dispatcher", "OpenedOrder"]


@dataclass(frozen=True)
class OpenedOrder:
    """What a worker finds in a job: the order, and enough to rebuild a lost record."""

    order: dict[str, Any]
    blank: StudyRecord


class Dispatcher:
    """Accepts orders. The record is written first, the job second: a crash in between is healed
    by the reconciler, so an order that was answered is never lost.

    Args:
        connection: the one that `records` uses.
        sealer: seals orders.
        records: the truth about each study.
        policy: caps and retries.
    """

    def __init__(
        self,
        connection: Redis,
        sealer: Sealer,
        records: StudyRecords,
        policy: DispatchPolicy | None = None,
    ) -> None:
        self.policy = policy or DispatchPolicy()
        self.records = records
        self.transport = Transport(connection, self.policy)
        self._sealer = sealer

    def submit(
        self,
        order: Mapping[str, Any],
        study_key: str,
        content_key: str,
        models: str,
        priority: Priority | str = Priority.ROUTINE,
    ) -> StudyRecord:
        """Make sure that this content of the study is analysed, and say where it stands.

        Duplicates are success. An ended study starts again if its content or the models changed,
        or if it failed long enough ago, or before so much was known of its content. A more urgent
        priority moves a waiting study forward.

        Args:
            order: identifiers and references only; sealed before it leaves the process. Its
                member ``tenant`` says whose share of the queue it takes.
            study_key: `Sealer.study_key` of the study.
            content_key: names the content as far as the caller knows it (see `content`); empty
                means "as it is".
            models: version of the set of models.
            priority: stat, routine or backfill.

        Raises:
            QueueFull: the order was not accepted.
            QueueUnavailable: Redis did not answer in time; nothing is promised.
            PayloadTooLarge: the order holds more than identifiers.
        """
        wanted = self._blank(study_key, content_key, models, Priority(priority), order)
        share = self._share(order, wanted.priority)
        record, created = self.records.create_or_get(wanted, share)
        if created:
            self.transport.push(record, _tenant(order))
            return record
        if self._starts_again(record, wanted):
            return self._restart(record, wanted, order)
        return self._promote(record, wanted.priority, order)

    def learn(self, record: StudyRecord, content_key: str) -> StudyRecord:
        """Note what more is known of a content that has not changed; the analysis goes on.

        Raises:
            QueueUnavailable: Redis did not answer in time.
        """
        known = renewed(record.content_key, content_key)
        try:
            return self.records.note_content(record, known)
        except StaleRecord:
            return self.records.get(record.id) or record

    def requeue(self, study_key: str) -> StudyRecord | None:
        """Try a failed study again now, by hand; None if there is no such record."""
        record = self.records.get(study_key)
        if record is None or record.state is not State.FAILED:
            return record
        return self._restart(record, record, self.opened(record.sealed).order)

    def ahead_of(self, record: StudyRecord) -> int | None:
        """How many studies wait before this one; None if it does not wait."""
        return self.transport.ahead_of(record)

    def enqueue_again(self, record: StudyRecord, at_front: bool = False) -> StudyRecord:
        """Queue an open record whose job is gone; StaleRecord if somebody else was first."""
        tenant = _tenant(self.opened(record.sealed).order)
        claimed = self.records.claim(record)
        self.transport.drop(record.job_id)
        self.transport.push(claimed, tenant, at_front=at_front)
        return claimed

    def opened(self, payload: str) -> OpenedOrder:
        """The order of a sealed payload. Raises TamperedPayload."""
        sealed = self._sealer.open(payload)
        try:
            order, content, models, priority = (
                sealed.order[name] for name in ("order", "content", "models", "priority")
            )
            blank = StudyRecord(
                sealed.study,
                priority=Priority(priority),
                job_id=job_key(sealed.study, content, models),
                content_key=content,
                models=models,
                sealed=payload,
            )
        except (KeyError, ValueError, TypeError):
            raise TamperedPayload("a sealed order lacks what we put into it") from None
        return OpenedOrder(order, blank)

    def _blank(
        self, study: str, content: str, models: str, priority: Priority, order: Mapping[str, Any]
    ) -> StudyRecord:
        envelope = {"order": order, "content": content, "models": models, "priority": priority}
        return StudyRecord(
            study,
            priority=priority,
            job_id=job_key(study, content, models),
            content_key=content,
            models=models,
            sealed=self._sealer.seal(study, envelope),
        )

    def _share(self, order: Mapping[str, Any], priority: Priority) -> Share:
        return self.policy.share(_tenant(order), priority)

    def _starts_again(self, record: StudyRecord, wanted: StudyRecord) -> bool:
        if changed(record.content_key, wanted.content_key) or wanted.models != record.models:
            return True
        if record.state is not State.FAILED:
            return False
        if renewed(record.content_key, wanted.content_key) != record.content_key:
            return True  # it failed on less than is known now: perhaps it was not there yet
        age_ms = self.records.now_ms() - record.updated_ms
        return age_ms >= self.policy.retry_failed_after_s * 1000

    def _restart(
        self, record: StudyRecord, wanted: StudyRecord, order: Mapping[str, Any]
    ) -> StudyRecord:
        """Begin anew; if somebody else did so first, theirs is as good."""
        known = record.content_key
        if changed(known, wanted.content_key):
            known = counts_of(known)
        try:
            restarted = self.records.restart(
                record,
                self._share(order, wanted.priority),
                priority=wanted.priority,
                job_id=wanted.job_id,
                content_key=renewed(known, wanted.content_key),
                models=wanted.models,
                sealed=wanted.sealed,
            )
        except StaleRecord:
            return self.records.get(record.id) or record
        self.transport.drop(record.job_id)
        self.transport.drop(wanted.job_id)
        self.transport.push(restarted, _tenant(order))
        return restarted

    def _promote(
        self, record: StudyRecord, priority: Priority, order: Mapping[str, Any]
    ) -> StudyRecord:
        if record.ended or not priority.before(record.priority):
            return record
        self.transport.promote(record, _tenant(order), priority)
        try:
            return self.records.reprioritise(record, priority)
        except StaleRecord:
            return self.records.get(record.id) or record


def _tenant(order: Mapping[str, Any]) -> str:
    """Whose order it is; an order without a tenant is that of one without a name."""
    return str(order.get("tenant", ""))
