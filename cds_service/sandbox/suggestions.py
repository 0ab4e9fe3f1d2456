"""What accepting suggestions does: their actions, all of them or none (CDS Hooks 2.0.1, Action).

Actions are written as one FHIR transaction, so what one creates may be referred to by another under
the id that the service gave it. A service is believed about no other patient than the chart's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.sandbox.fhir_errors import Conflict, FhirRefusal, NotFound
from cds_service.sandbox.fhir_store import Written
from cds_service.sandbox.records import Records
from fhir_mapping.errors import InvalidResource
from fhir_mapping.validation import require_valid

Json = dict[str, Any]
Write = Callable[[Json], Sequence[Written]]
"""Carries a transaction Bundle out. Raises `FhirRefusal`: nothing was written then."""

_OWNERS = ("subject", "patient", "for")
_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}


@dataclass(frozen=True)
class Done:
    """One action as it was carried out: its type, what the service said of it, what came of it."""

    kind: str
    description: str
    written: Written
    at_s: float


def carry_out(
    suggestions: Sequence[Mapping[str, Any]],
    patient_id: str,
    records: Records,
    write: Write,
    now_s: float,
) -> tuple[Done, ...]:
    """Write what all actions of these suggestions say, in their order.

    Raises:
        FhirRefusal: an action is none, is not FHIR R4, or concerns another patient; nothing was
            written.
    """
    actions = [action for each in suggestions for action in _actions(each)]
    if not actions:
        return ()
    entries = [_entry(action) for action in actions]
    for entry in entries:
        _require_own(entry, patient_id, records)
    bundle: Json = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    try:
        require_valid(bundle)
    except InvalidResource as error:
        raise FhirRefusal(f"The suggestion holds a resource that is none. {error}") from None
    except (LookupError, TypeError, AttributeError):  # as the library takes an unknown type
        raise FhirRefusal("The suggestion holds a resource of a type that is none.") from None
    done = zip(actions, write(bundle), strict=True)
    return tuple(
        Done(str(action["type"]), str(action.get("description", "")), written, now_s)
        for action, written in done
    )


def _actions(suggestion: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = suggestion.get("actions", [])
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise FhirRefusal("The actions of the suggestion are not an array of objects.")
    yield from found


def _entry(action: Mapping[str, Any]) -> Json:
    """The entry of a transaction that an action means."""
    method = _METHODS.get(str(action.get("type")))
    if method is None:
        raise FhirRefusal("An action is neither create, update nor delete.")
    if method == "DELETE":
        return {"request": {"method": method, "url": _named(action.get("resourceId"))}}
    resource = action.get("resource")
    if not isinstance(resource, Mapping):
        raise FhirRefusal("An action has no resource to write.")
    kind, logical_id = str(resource.get("resourceType")), resource.get("id")
    address = _named(f"{kind}/{logical_id}") if logical_id or method == "PUT" else ""
    if method == "PUT":
        return {"resource": resource, "request": {"method": method, "url": address}}
    # the id is the service's own, for references between its actions: the server gives another
    name = {"fullUrl": address} if address else {}
    return {**name, "resource": resource, "request": {"method": method, "url": kind}}


def _named(reference: Any) -> str:
    """``Type/id``; anything else names no resource of this server."""
    kind, _, logical_id = reference.partition("/") if isinstance(reference, str) else ("", "", "")
    if not kind.isalpha() or not logical_id or "/" in logical_id or logical_id == "None":
        raise FhirRefusal("An action does not name the resource that it changes.")
    return f"{kind}/{logical_id}"


def _require_own(entry: Json, patient_id: str, records: Records) -> None:
    """Refuse what is, or is going to be, somebody else's."""
    resource: Mapping[str, Any] = entry.get("resource", {})
    own = f"Patient/{patient_id}"
    if not _owners(resource) <= {own}:
        raise Conflict("The suggestion is about another patient than this chart's.")
    address = str(entry["request"]["url"])
    kind, _, logical_id = address.partition("/")
    if not logical_id:
        return
    try:
        before = records.read(kind, logical_id)
    except NotFound:
        return  # of a draft the server knows nothing yet
    if _owners(before) != {own}:
        raise Conflict("The suggestion changes what is not a part of this patient's chart.")


def _owners(resource: Mapping[str, Any]) -> set[str]:
    """Whom a resource says that it is about."""
    named = (resource.get(name) for name in _OWNERS)
    found = [each.get("reference") for each in named if isinstance(each, Mapping)]
    return {"/".join(str(each).rsplit("/", 2)[-2:]) for each in found}
