"""JSON -> HookRequest: the body of a call, checked by the rules of CDS Hooks 2.0.1.

Members that we do not know are ignored. Every sentence names the member at fault and quotes no
value, since the answer may be logged on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from cds_service.hooks.authorization import FhirAuthorization, parse_scopes
from cds_service.hooks.errors import InvalidCall

Json = Mapping[str, Any]

_UUID_FORM = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUID = re.compile(_UUID_FORM)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
_DRAFT = re.compile(rf"{_REFERENCE.pattern}|urn:uuid:{_UUID_FORM}")
_USER = re.compile(r"(?:Practitioner(?:Role)?|Patient|RelatedPerson)/[A-Za-z0-9\-.]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,10}")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_TEXT_LIMIT = 2048
_TOKEN_LIMIT = 16_384


class Sent(Enum):
    """What the client did about one prefetch key (CDS Hooks 2.0.1, Prefetch)."""

    ABSENT = "absent"
    """Not sent, or of a shape that we cannot use: read it ourselves."""

    EMPTY = "empty"
    """``null``: the client looked and there is nothing. Not to be read again."""

    FAILED = "failed"
    """An OperationOutcome: the client could not. Its server may still answer our token, once."""

    PRESENT = "present"


@dataclass(frozen=True)
class Prefetched:
    """One prefetch key's value; `resource` is there when `sent` is PRESENT."""

    sent: Sent
    resource: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class HookContext:
    """The context of a hook, over all hooks that we serve; ids are bare, references relative.

    What the hook does not have is empty: ``order-dispatch`` alone names no user.
    """

    patient_id: str = field(repr=False)
    user_reference: str | None = field(default=None, repr=False)
    encounter_id: str | None = field(default=None, repr=False)
    selections: tuple[str, ...] = field(default=(), repr=False)
    draft_orders: Json = field(default_factory=dict, repr=False)
    dispatched_orders: tuple[str, ...] = field(default=(), repr=False)
    performer_reference: str | None = field(default=None, repr=False)
    fulfillment_tasks: tuple[Json, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class HookRequest:
    """One call of one hook."""

    hook: str
    hook_instance: str
    context: HookContext
    fhir_server: str | None = field(default=None, repr=False)
    authorization: FhirAuthorization | None = None
    prefetch: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def prefetched(self, key: str, resource_type: str) -> Prefetched:
        """What was sent under `key`, if it is a `resource_type`."""
        if key not in self.prefetch:
            return Prefetched(Sent.ABSENT)
        value = self.prefetch[key]
        if value is None:
            return Prefetched(Sent.EMPTY)
        found = value.get("resourceType") if isinstance(value, Mapping) else None
        if found == "OperationOutcome":
            return Prefetched(Sent.FAILED)
        return (
            Prefetched(Sent.PRESENT, value) if found == resource_type else Prefetched(Sent.ABSENT)
        )


def parse_request(body: Json, hook: str) -> HookRequest:
    """Check a call of `hook`.

    Raises:
        InvalidCall: a required member is missing, one has another type or form, the hook is
            another than the service's, or a token comes without a server to use it on.
    """
    if _required(body, "hook") != hook:
        raise InvalidCall("hook is not the one that this service is for.")
    hook_instance = _required(body, "hookInstance")
    if not _UUID.fullmatch(hook_instance):
        raise InvalidCall("hookInstance is not a UUID.")
    context = _object(body, "context", required=True)
    server = _optional(body, "fhirServer")
    authorization = _authorization(_object(body, "fhirAuthorization"))
    if authorization is not None and server is None:
        raise InvalidCall("fhirServer is missing, though fhirAuthorization is given.")
    return HookRequest(
        hook=hook,
        hook_instance=hook_instance.lower(),
        context=CONTEXTS[hook](context or {}),
        fhir_server=server,
        authorization=authorization,
        prefetch=_object(body, "prefetch") or {},
    )


def _patient_view(context: Json) -> HookContext:
    """patient-view 1.0: userId, patientId, optional encounterId."""
    encounter = context.get("encounterId")
    return HookContext(
        patient_id=_matching(context, "patientId", _ID, "a FHIR id"),
        user_reference=_user(context),
        encounter_id=_matching(context, "encounterId", _ID, "a FHIR id") if encounter else None,
    )


def _encounter(context: Json) -> HookContext:
    """encounter-start 1.0, encounter-discharge 1.0: patient-view's, with the encounter."""
    _matching(context, "encounterId", _ID, "a FHIR id")
    return _patient_view(context)


def _order_sign(context: Json) -> HookContext:
    """order-sign 1.0: patient-view's and the Bundle draftOrders, of drafts and of signed orders."""
    orders = _object(context, "draftOrders", where="context.", required=True) or {}
    if orders.get("resourceType") != "Bundle":
        raise InvalidCall("context.draftOrders is not a Bundle.")
    return replace(_patient_view(context), draft_orders=orders)


def _order_select(context: Json) -> HookContext:
    """order-select 1.0: order-sign's, and which of the drafts were selected.

    A draft that has no id yet may be named by its fullUrl: which one it is decides nothing here.
    """
    return replace(_order_sign(context), selections=_references(context, "selections", _DRAFT))


def _order_dispatch(context: Json) -> HookContext:
    """order-dispatch 1.1: patientId, dispatchedOrders, performer, optional fulfillmentTasks."""
    orders = _references(context, "dispatchedOrders")
    if not orders:
        raise InvalidCall("context.dispatchedOrders is empty.")
    return HookContext(
        patient_id=_matching(context, "patientId", _ID, "a FHIR id"),
        dispatched_orders=orders,
        performer_reference=_matching(
            context, "performer", _REFERENCE, "a reference like Organization/1"
        ),
        fulfillment_tasks=_tasks(context),
    )


CONTEXTS: Mapping[str, Callable[[Json], HookContext]] = {
    "patient-view": _patient_view,
    "order-select": _order_select,
    "order-sign": _order_sign,
    "order-dispatch": _order_dispatch,
    "encounter-start": _encounter,
    "encounter-discharge": _encounter,
}
"""Each hook's context: a new hook is one function and one row here and in `discovery`."""


def _user(context: Json) -> str | None:
    """The user's reference; of a bare id, which some clients send, the type is not known."""
    if _ID.fullmatch(_required(context, "userId", "context.")):
        return None
    return _matching(context, "userId", _USER, "a reference like Practitioner/1")


def _references(context: Json, name: str, pattern: re.Pattern[str] = _REFERENCE) -> tuple[str, ...]:
    found = context.get(name)
    if not isinstance(found, list):
        raise InvalidCall(f"context.{name} is missing or not an array.")
    if not all(isinstance(item, str) and pattern.fullmatch(item) for item in found):
        raise InvalidCall(f"context.{name} has an item that is not a reference.")
    return tuple(found)


def _tasks(context: Json) -> tuple[Json, ...]:
    found = context.get("fulfillmentTasks", [])
    if not isinstance(found, list):
        raise InvalidCall("context.fulfillmentTasks is not an array.")
    if not all(isinstance(item, Mapping) and item.get("resourceType") == "Task" for item in found):
        raise InvalidCall("context.fulfillmentTasks has an item that is not a Task.")
    return tuple(found)


def _authorization(value: Json | None) -> FhirAuthorization | None:
    if value is None:
        return None
    where = "fhirAuthorization."
    token = _required(value, "access_token", where, limit=_TOKEN_LIMIT)
    if not _TOKEN.fullmatch(token):
        raise InvalidCall("fhirAuthorization.access_token is not a bearer token.")
    if _required(value, "token_type", where).lower() != "bearer":
        raise InvalidCall("fhirAuthorization.token_type is not Bearer.")
    # required of clients, and read by nobody here: to miss it costs nothing
    _optional(value, "subject", where)
    return FhirAuthorization(
        access_token=token,
        scopes=parse_scopes(_required(value, "scope", where, limit=_TOKEN_LIMIT)),
        expires_in_s=_expires_in(value),
        patient_id=_optional(value, "patient", where),
    )


def _expires_in(value: Json) -> int | None:
    """Clients leave it out or send digits as a text, though a number is required.

    Both are borne: our use of the token lasts seconds.
    """
    found = value.get("expires_in")
    if isinstance(found, str) and _SECONDS.fullmatch(found):
        found = int(found)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int):
        raise InvalidCall("fhirAuthorization.expires_in is not a whole number.")
    return found


def _required(value: Json, name: str, where: str = "", limit: int = _TEXT_LIMIT) -> str:
    found = value.get(name)
    if found is None:
        raise InvalidCall(f"{where}{name} is missing.")
    if not isinstance(found, str) or not found or len(found) > limit:
        raise InvalidCall(f"{where}{name} is not a usable string.")
    return found


def _optional(value: Json, name: str, where: str = "") -> str | None:
    return None if value.get(name) is None else _required(value, name, where)


def _matching(context: Json, name: str, pattern: re.Pattern[str], what: str) -> str:
    found = _required(context, name, "context.")
    if not pattern.fullmatch(found):
        raise InvalidCall(f"context.{name} is not {what}.")
    return found


def _object(value: Json, name: str, where: str = "", *, required: bool = False) -> Json | None:
    found = value.get(name)
    if found is None:
        if required:
            raise InvalidCall(f"{where}{name} is missing.")
        return None
    if not isinstance(found, Mapping):
        raise InvalidCall(f"{where}{name} is not an object.")
    return found
