"""A transaction Bundle: all entries or none (R4 http.html#transaction)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cds_service.sandbox.fhir_errors import FhirRefusal, NotSupported
from cds_service.sandbox.fhir_store import Draft, FhirStore, Query, Written


@dataclass(frozen=True)
class Entry:
    """One write of a Bundle; `logical_id` is the id that the resource will have.

    The resource of a deletion is empty.
    """

    method: str
    kind: str
    full_url: str
    resource: Mapping[str, Any]
    logical_id: str
    condition: Query | None
    if_match: str | None

    @property
    def deletes(self) -> bool:
        """Whether the resource is taken away."""
        return self.method == "DELETE"

    @property
    def reference(self) -> str:
        """``Type/id``"""
        return f"{self.kind}/{self.logical_id}"

    @property
    def condition_key(self) -> str:
        """``Type?name=value&...``, the names in order."""
        return f"{self.kind}?{urlencode(sorted(self.condition or ()))}"


def transact(store: FhirStore, bundle: Mapping[str, Any]) -> tuple[Written, ...]:
    """Write every entry and give what became of each, in the order of the Bundle.

    References to an entry's ``fullUrl`` become references to the resource it ends up as.

    Raises:
        FhirRefusal: nothing was written; two entries that mean one resource are refused too.
    """
    with store.change() as draft:
        entries = entries_of(bundle)
        # deletions come first, wherever they stand (R4 http.html#trules)
        gone = {i: draft.delete(e.kind, e.logical_id) for i, e in enumerate(entries) if e.deletes}
        placed = [_placed(draft, entry) for entry in entries]
        # the same condition twice would be one resource, though neither is there yet
        conditions = [entry.condition_key for entry in placed if entry.condition is not None]
        references = [entry.reference for entry in placed]
        if len({*references, *conditions}) != len(references) + len(conditions):
            raise FhirRefusal("Two entries of the transaction are the same resource.")
        targets = {entry.full_url: entry.reference for entry in placed if entry.full_url}
        return tuple(gone.get(i) or _apply(draft, e, targets) for i, e in enumerate(placed))


def entries_of(bundle: Mapping[str, Any]) -> list[Entry]:
    """The writes of a transaction, checked for their form. Raises `FhirRefusal`."""
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
        raise FhirRefusal("The body is not a transaction Bundle.")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise FhirRefusal("Bundle.entry is not an array.")
    return [_entry(entry) for entry in entries]


def _entry(entry: Any) -> Entry:
    request = entry.get("request") if isinstance(entry, Mapping) else None
    resource = entry.get("resource") if isinstance(entry, Mapping) else None
    if not isinstance(request, Mapping):
        raise FhirRefusal("An entry lacks its request.")
    method, url = str(request.get("method")), str(request.get("url", ""))
    path, _, query = url.partition("?")
    kind, _, logical_id = path.partition("/")
    if method == "DELETE" and logical_id and not query:
        return Entry(method, kind, "", {}, logical_id, None, None)
    if not isinstance(resource, Mapping):
        raise FhirRefusal("An entry lacks its resource.")
    if method not in ("POST", "PUT") or (method == "POST" and (logical_id or query)):
        raise NotSupported(
            "An entry is POST of a type, PUT of an id or condition, DELETE of an id."
        )
    if kind != resource.get("resourceType"):
        raise FhirRefusal("An entry's resource is of another type than its address.")
    if method == "PUT" and not (bool(logical_id) ^ bool(query)):
        raise FhirRefusal("A PUT names either an id or a condition.")
    condition: Query | None = parse_qsl(query) if query else None
    if method == "POST" and "ifNoneExist" in request:
        condition = parse_qsl(str(request["ifNoneExist"]))
    if_match = request.get("ifMatch")
    full_url = str(entry.get("fullUrl", ""))
    return Entry(
        method, kind, full_url, resource, logical_id, condition, str(if_match) if if_match else None
    )


def _placed(draft: Draft, entry: Entry) -> Entry:
    """The entry with the id that its resource has, or will have."""
    if entry.logical_id:
        return entry
    existing = draft.matching(entry.kind, entry.condition) if entry.condition is not None else None
    own = str(entry.resource.get("id") or "") if entry.method == "PUT" else ""
    return replace(entry, logical_id=existing["id"] if existing else own or str(uuid.uuid4()))


def _apply(draft: Draft, entry: Entry, targets: Mapping[str, str]) -> Written:
    existing = draft.current.get((entry.kind, entry.logical_id))
    if entry.method == "POST" and existing is not None:
        return Written(existing, created=False)
    resource = {k: v for k, v in _rewritten(entry.resource, targets).items() if k != "id"}
    return draft.update(resource, entry.logical_id, entry.if_match)


def _rewritten(value: Any, targets: Mapping[str, str]) -> Any:
    """Every string that is exactly an entry's ``fullUrl``, as the reference it stands for.

    R4 asks for references, ids in ``uri`` elements and links in narrative; ours are references.
    """
    if isinstance(value, Mapping):
        return {name: _rewritten(item, targets) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rewritten(item, targets) for item in value]
    return targets.get(value, value) if isinstance(value, str) else value


def response_bundle(written: Sequence[Written]) -> dict[str, Any]:
    """The transaction-response that reports on `written`."""
    return {
        "resourceType": "Bundle",
        "type": "transaction-response",
        "entry": [{"response": _response(one)} for one in written],
    }


def _response(one: Written) -> dict[str, str]:
    if one.deleted:
        return {"status": "204"}
    return {
        "status": "201" if one.created else "200",
        "location": one.location,
        "etag": f'W/"{one.resource["meta"]["versionId"]}"',
        "lastModified": one.resource["meta"]["lastUpdated"],
    }
