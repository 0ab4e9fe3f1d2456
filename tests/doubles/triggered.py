"""The neighbours of notices in memory: a queue, a ledger's Redis, a FHIR server, an archive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, cast

from redis import Redis

from cds_service.clients.errors import NotFound, UpstreamError
from cds_service.clients.facts import StudyFacts
from cds_service.clients.interactions import EntryResult
from cds_service.clients.policy import HttpPolicy
from cds_service.queue.content import changed
from cds_service.queue.errors import QueueError
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import NOTICE, Notices


def study_key(tenant: str, patient_reference: str, study_uid: str) -> str:
    """Opaque, as the real one is."""
    return hashlib.sha256(f"{tenant} {patient_reference} {study_uid}".encode()).hexdigest()[:32]


@dataclass
class Queue:
    """Keeps every order; `error` refuses them."""

    records: dict[str, StudyRecord] = field(default_factory=dict)
    given: list[tuple[dict[str, Any], Priority]] = field(default_factory=list)
    error: QueueError | None = None

    def get(self, study: str) -> StudyRecord | None:
        if self.error:
            raise self.error
        return self.records.get(study)

    def submit(
        self,
        order: Mapping[str, Any],
        study_key: str,
        content_key: str,
        models: str,
        priority: Priority | str = Priority.ROUTINE,
    ) -> StudyRecord:
        if self.error:
            raise self.error
        record = self.records.get(study_key)
        if record is None or changed(record.content_key, content_key):
            record = StudyRecord(study_key, content_key=content_key, models=models)
            self.records[study_key] = record
            self.given.append((dict(order), Priority(priority)))
        return record

    def advance(self, record: StudyRecord, state: State | str, **changes: Any) -> StudyRecord:
        self.records[record.id] = replace(record, state=State(state), **changes)
        return self.records[record.id]

    def end_all(self) -> None:
        """Everything that was ordered has been done."""
        for key, record in self.records.items():
            self.records[key] = replace(record, state=State.ABSTAINED, attempts=1)

    @property
    def notices(self) -> list[dict[str, str]]:
        """What was asked of workers."""
        return [order[NOTICE] for order, _ in self.given if NOTICE in order]

    @property
    def studies(self) -> list[dict[str, Any]]:
        """The studies that were ordered."""
        return [order for order, _ in self.given if NOTICE not in order]


class FewKeys:
    """The commands of Redis that a ledger uses."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def set(self, name: str, value: str, ex: int) -> None:
        self.values[name] = value

    def delete(self, name: str) -> None:
        self.values.pop(name, None)


def ledger(keys: FewKeys | None = None) -> FollowLedger:
    """A ledger without a server."""
    return FollowLedger(cast("Redis", keys or FewKeys()))


def notices(queue: Queue) -> Notices:
    """Gives notices to this queue."""
    return Notices(queue, queue, study_key, lambda _: "models-1")


@dataclass
class Charts:
    """A FHIR server that holds `resources`; a search answers all of a type, then `fails`."""

    resources: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    fails: UpstreamError | None = None

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        for each in self.resources:
            if f"{each['resourceType']}/{each['id']}" == reference:
                return each
        raise NotFound("not there")

    def search(
        self, resource_type: str, params: Mapping[str, str], policy: HttpPolicy | None = None
    ) -> Iterator[Mapping[str, Any]]:
        self.asked.append((resource_type, dict(params)))
        yield from [r for r in self.resources if r["resourceType"] == resource_type]
        if self.fails:
            raise self.fails

    def write(self, entry: dict[str, Any], policy: HttpPolicy | None = None) -> EntryResult:
        """A Subscription; it is given the status ``active`` when the server likes to."""
        resource, method = dict(entry["resource"]), entry["request"]["method"]
        own_id = resource.setdefault("id", f"new-{len(self.resources)}")
        self.resources = [r for r in self.resources if r["id"] != own_id] + [resource]
        return EntryResult(201 if method == "POST" else 200, f"Subscription/{own_id}")


@dataclass
class Days:
    """An archive with studies by day; `fails` on a day."""

    studies_of: Mapping[date, Sequence[StudyFacts]]
    fails: Mapping[date, UpstreamError] = field(default_factory=dict)
    asked: list[tuple[date, str]] = field(default_factory=list)

    def studies(self, first: date, last: date, modality: str = "") -> Sequence[StudyFacts]:
        self.asked.append((first, modality))
        if first in self.fails:
            raise self.fails[first]
        found = self.studies_of.get(first, ())
        return [facts for facts in found if not modality or modality in facts.modalities]
