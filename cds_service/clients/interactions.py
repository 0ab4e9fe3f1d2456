"""What was asked of a FHIR server, one by one, for whoever keeps an audit trail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cds_service.clients.errors import UpstreamError
from fhir_mapping.audit_event import Interaction

Resource = dict[str, Any]


Watch = Callable[[Interaction], None]
"""Told of each interaction when it is over; it must neither raise nor take long."""


@dataclass(frozen=True)
class EntryResult:
    """What became of one entry of a Bundle, or of a write of its own."""

    status: int
    reference: str | None = None
    """``Type/id`` of the resource, if the server said so."""

    version: str | None = None
    """The version id, if the server said so."""

    @property
    def created(self) -> bool:
        """Whether the resource is new."""
        return self.status == 201


def nobody(interaction: Interaction) -> None:
    """Nobody watches."""


def on_behalf_of(user: str, watch: Watch) -> Watch:
    """A watch that is told, of each interaction, whose wish it was (a reference)."""
    return (lambda seen: watch(replace(seen, user=user))) if user else watch


@contextmanager
def reading(watch: Watch, interaction: Interaction) -> Iterator[list[Resource]]:
    """Tell of a read or search when it is over; what it showed is put into the list."""
    seen: list[Resource] = []
    failed = ""
    try:
        yield seen
    except UpstreamError as error:
        failed = error.kind
        raise
    finally:
        shown = tuple(f"{r.get('resourceType')}/{r.get('id')}" for r in seen)
        asked = [f"Patient/{v.rpartition('/')[2]}" for n, v in interaction.query if n in _WHOM]
        patient = next((p for p in [*map(patient_of, seen), *asked] if p), "")
        references = interaction.references or shown
        watch(replace(interaction, references=references, patient=patient, failed=failed))


_WHOM = ("patient", "subject")


@contextmanager
def writing(watch: Watch, entries: list[Resource]) -> Iterator[list[EntryResult]]:
    """Tell of the writes of a Bundle's entries; their results are put into the list in order."""
    done: list[EntryResult] = []
    failed = ""
    try:
        yield done
    except UpstreamError as error:
        failed = error.kind
        raise
    finally:
        for number, entry in enumerate(entries):
            result = done[number] if number < len(done) else None
            watch(_written(entry, result, "" if result else failed or "unknown"))


def _written(entry: Resource, result: EntryResult | None, failed: str) -> Interaction:
    request, resource = entry.get("request", {}), entry.get("resource", {})
    created = result.created if result else request.get("method") == "POST"
    place = (result.reference if result else None) or str(request.get("url")).partition("?")[0]
    return Interaction(
        "create" if created else "update",
        str(resource.get("resourceType", "")),
        (place,) if "/" in place else (),
        patient_of(resource),
        failed=failed,
    )


def patient_of(resource: Mapping[str, Any]) -> str:
    """The reference of the patient that a resource is, or is about; empty if it names none."""
    if resource.get("resourceType") == "Patient" and isinstance(resource.get("id"), str):
        return f"Patient/{resource['id']}"
    for name in ("subject", "patient"):
        named = resource.get(name)
        reference = named.get("reference") if isinstance(named, dict) else None
        if isinstance(reference, str) and "Patient/" in reference:
            return "Patient/" + reference.rpartition("Patient/")[2]
    return ""
