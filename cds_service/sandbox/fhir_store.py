"""A FHIR R4 store in memory: versions, conditional writes, atomic transactions."""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cds_service.sandbox.fhir_errors import FhirRefusal, NotFound, NotSupported, PreconditionFailed
from cds_service.sandbox.fhir_search import TYPES, Page, Resource, matches, require_known, search

Query = Sequence[tuple[str, str]]
Key = tuple[str, str]

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True)
class Written:
    """A resource as it stands after a write; `created` says whether it is new.

    One that was `deleted` is as it was before, or its type and id alone where there was none.
    """

    resource: Resource
    created: bool
    deleted: bool = False

    @property
    def location(self) -> str:
        """``Type/id/_history/version``"""
        kind, logical_id = self.resource["resourceType"], self.resource["id"]
        return f"{kind}/{logical_id}/_history/{self.resource['meta']['versionId']}"


class FhirStore:
    """The resources of one server. Every call is atomic; what comes out is a copy."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._current: dict[Key, Resource] = {}
        self._history: dict[Key, tuple[Resource, ...]] = {}
        self._lock = threading.RLock()

    def read(self, resource_type: str, logical_id: str) -> Resource:
        """The current version. Raises `NotFound`."""
        with self._lock:
            return copy.deepcopy(_existing(self._current, resource_type, logical_id))

    def history(self, resource_type: str, logical_id: str) -> tuple[Resource, ...]:
        """All versions, newest first. Raises `NotFound`."""
        with self._lock:
            _existing(self._current, resource_type, logical_id)
            return copy.deepcopy(self._history[resource_type, logical_id][::-1])

    def search(self, resource_type: str, query: Query) -> Page:
        """One page of matches. Raises `NotSupported` for a parameter that is not known."""
        with self._lock:
            return copy.deepcopy(search(self._current.values(), resource_type, query))

    def all(self) -> tuple[Resource, ...]:
        """Every resource, in the order of its first writing."""
        with self._lock:
            return tuple(copy.deepcopy(list(self._current.values())))

    def keep(self, resource: Resource) -> None:
        """Write one resource under its own id."""
        with self.change() as draft:
            draft.update(resource, resource["id"])

    @contextmanager
    def change(self) -> Iterator[Draft]:
        """Write through a draft: all of it is kept when the block ends well, else nothing."""
        with self._lock:
            draft = Draft(dict(self._current), self._now().isoformat(timespec="milliseconds"))
            yield draft
            self._current = draft.current
            for key in draft.deleted:
                self._history.pop(key, None)
            for key, resource in draft.versions:
                self._history[key] = (*self._history.get(key, ()), resource)


class Draft:
    """The store as it will be. Raises `FhirRefusal` and its kin from every write."""

    def __init__(self, current: dict[Key, Resource], moment: str) -> None:
        self.current = current
        self.versions: list[tuple[Key, Resource]] = []
        self.deleted: list[Key] = []
        self._moment = moment

    def matching(self, resource_type: str, query: Query) -> Resource | None:
        """The one resource that meets a condition (R4 http.html#cond-update).

        Raises `PreconditionFailed` if there are several, `FhirRefusal` if it says nothing.
        """
        if not query:
            raise FhirRefusal("A condition without a parameter would match anything.")
        require_known(resource_type, query)
        found = [one for one in self.current.values() if matches(one, resource_type, query)]
        if len(found) > 1:
            raise PreconditionFailed("The condition matches several resources.")
        return found[0] if found else None

    def create(self, resource: Mapping[str, Any], if_none_exist: Query | None = None) -> Written:
        """POST: a new resource with a new id, unless the condition finds one."""
        kind = _type_of(resource)
        if if_none_exist is not None:
            existing = self.matching(kind, if_none_exist)
            if existing is not None:
                return Written(existing, created=False)
        return self._write(resource, str(uuid.uuid4()))

    def update(
        self, resource: Mapping[str, Any], logical_id: str, if_match: str | None = None
    ) -> Written:
        """PUT by id; an id that is not there yet is taken (update as create)."""
        if resource.get("id", logical_id) != logical_id:
            raise FhirRefusal("The id in the resource is another than that of the address.")
        existing = self.current.get((_type_of(resource), logical_id))
        if if_match is not None:
            version = existing["meta"]["versionId"] if existing else None
            if if_match.removeprefix("W/").strip('"') != version:
                raise PreconditionFailed("Another version is current.")
        return self._write(resource, logical_id)

    def update_where(
        self, resource: Mapping[str, Any], query: Query, if_match: str | None = None
    ) -> Written:
        """PUT by condition: the match is updated; without one the resource is created."""
        existing = self.matching(_type_of(resource), query)
        if existing is None and if_match is None:
            return self._write(resource, str(resource.get("id") or uuid.uuid4()))
        logical_id = existing["id"] if existing else ""
        return self.update(resource, logical_id, if_match)

    def delete(self, resource_type: str, logical_id: str) -> Written:
        """DELETE by id, with its history; what is not there is as good as deleted."""
        key = (_kept(resource_type), logical_id)
        absent = {"resourceType": resource_type, "id": logical_id}
        self.deleted.append(key)
        return Written(self.current.pop(key, absent), created=False, deleted=True)

    def _write(self, resource: Mapping[str, Any], logical_id: str) -> Written:
        if not _ID.fullmatch(logical_id):
            raise FhirRefusal("The id has another form than FHIR's.")
        key = (_type_of(resource), logical_id)
        existing = self.current.get(key)
        stored = copy.deepcopy(dict(resource)) | {"id": logical_id}
        meta = {k: v for k, v in stored.get("meta", {}).items() if k not in _SERVER_META}
        if existing is not None and _content(existing) == _content(stored):
            return Written(existing, created=False)
        version = int(existing["meta"]["versionId"]) + 1 if existing else 1
        stored["meta"] = meta | {"versionId": str(version), "lastUpdated": self._moment}
        self.current[key] = stored
        self.versions.append((key, stored))
        return Written(stored, created=existing is None)


_SERVER_META = ("versionId", "lastUpdated")


def _content(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What the client wrote, without the server's own members of meta."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in _SERVER_META}
    return {**resource, "meta": meta}


def _type_of(resource: Mapping[str, Any]) -> str:
    kind = _kept(resource.get("resourceType"))
    if not isinstance(resource.get("meta", {}), Mapping):
        raise FhirRefusal("meta is not an object.")
    return kind


def _kept(kind: object) -> str:
    if kind not in TYPES:
        raise NotSupported("This server does not keep resources of that type.")
    return str(kind)


def _existing(current: Mapping[Key, Resource], resource_type: str, logical_id: str) -> Resource:
    found = current.get((resource_type, logical_id))
    if found is None:
        raise NotFound("There is no such resource.")
    return found
