"""The published hooks: what is in their context, and which of it a prefetch template may use.

From the CDS Hooks Library, one page for each hook. A context here is an example that keeps the
rules; of a hook that is not published only the usual fields are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Who:
    """Whose chart an example is about; ids are bare, the user is a reference."""

    patient_id: str = "example"
    user: str = "Practitioner/example"
    encounter_id: str = "example"


@dataclass(frozen=True)
class Field:
    """One field of a context; `token` says whether a prefetch template may use it."""

    name: str
    example: Callable[[Who], Any]
    required: bool = True
    token: bool = True


def _order(who: Who) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": "draft-1",
        "status": "draft",
        "intent": "order",
        "code": {"text": "Magnetic resonance imaging of the brain"},
        "subject": {"reference": f"Patient/{who.patient_id}"},
        "requester": {"reference": who.user},
    }


def _bundle(*resources: Json) -> dict[str, Any]:
    entry = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entry}


def _appointment(who: Who) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "appointment-1",
        "status": "proposed",
        "participant": [
            {"actor": {"reference": f"Patient/{who.patient_id}"}, "status": "needs-action"}
        ],
    }


_USER = Field("userId", lambda who: who.user)
_PATIENT = Field("patientId", lambda who: who.patient_id)
_ENCOUNTER = Field("encounterId", lambda who: who.encounter_id)
_MAYBE_ENCOUNTER = Field("encounterId", lambda who: who.encounter_id, required=False)
_DRAFTS = Field("draftOrders", lambda who: _bundle(_order(who)), token=False)
_COMMON = (_USER, _PATIENT, _MAYBE_ENCOUNTER)

HOOKS: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "patient-view": _COMMON,
        "order-select": (
            *_COMMON,
            Field("selections", lambda _: ["ServiceRequest/draft-1"], token=False),
            _DRAFTS,
        ),
        "order-sign": (*_COMMON, _DRAFTS),
        "order-dispatch": (
            _PATIENT,
            Field("dispatchedOrders", lambda _: ["ServiceRequest/order-1"]),
            Field("performer", lambda _: "Organization/example"),
            Field("fulfillmentTasks", lambda _: [], required=False, token=False),
        ),
        "encounter-start": (_USER, _PATIENT, _ENCOUNTER),
        "encounter-discharge": (_USER, _PATIENT, _ENCOUNTER),
        "appointment-book": (
            *_COMMON,
            Field("appointments", lambda who: _bundle(_appointment(who)), token=False),
        ),
        "allergyintolerance-create": _COMMON,
        "medication-refill": _COMMON,
        "medication-verify": _COMMON,
        "problem-list-item-create": _COMMON,
        "medication-prescribe": _COMMON,
        "order-review": _COMMON,
    }
)

HOOK_VERSIONS: Mapping[str, str] = MappingProxyType(
    {**dict.fromkeys(HOOKS, "1.0"), "order-dispatch": "1.1"}
)


def context_of(hook: str, who: Who) -> dict[str, Any]:
    """An example of the hook's context."""
    filled = ((field.name, field.example(who)) for field in HOOKS.get(hook, _COMMON))
    return {name: value for name, value in filled if value != []}


def required_fields(hook: str) -> tuple[str, ...]:
    """Names of what the context must have."""
    return tuple(field.name for field in HOOKS.get(hook, ()) if field.required)
