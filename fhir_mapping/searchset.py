"""Take resources out of what a server or a prefetch holds: a Bundle, one resource, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_mapping.reading import Json, member, members, resource, text


def resources_in(body: object, resource_type: str) -> tuple[Json, ...]:
    """Return the resources of one type in a Bundle (its entries), or `body` if it is one itself.

    Anything else (an OperationOutcome, ``null``, HTML) holds none.
    """
    single = resource(body, resource_type)
    if single is not None:
        return (single,)
    entries = (found for _, found in _entries(body))
    return tuple(item for item in entries if item.get("resourceType") == resource_type)


def endpoints_in(body: object) -> dict[str, object]:
    """Return the Endpoints of a Bundle by every reference that may name them.

    That is ``Endpoint/id`` and the entry's ``fullUrl``: what `study_ref` wants as `endpoints`.
    """
    named: dict[str, object] = {}
    for full_url, found in _entries(body):
        if found.get("resourceType") == "Endpoint":
            own_id = text(found, "id", 64)
            names = (f"Endpoint/{own_id}" if own_id else None, full_url)
            named.update({name: found for name in names if name})
    return named


def _entries(body: object) -> Iterator[tuple[str | None, Json]]:
    for entry in members(resource(body, "Bundle"), "entry"):
        yield text(entry, "fullUrl"), member(entry, "resource")
