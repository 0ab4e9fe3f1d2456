"""What a FHIR server posts when something has changed -> which studies to look at.

Three forms are read, as plain JSON and leniently, for a notification is only a hint:

- R4 ``Subscription``, channel ``rest-hook`` (R4 subscription.html): nothing at all, or a resource;
- the R4 Subscriptions backport: a Bundle of type ``history`` whose first entry is a ``Parameters``
  in place of the SubscriptionStatus;
- R4B and R5: a ``SubscriptionStatus``, in a ``history`` or ``subscription-notification``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from fhir_mapping.addresses import relative_reference
from fhir_mapping.reading import Json, member, members, resource, text

STUDIES_AT_MOST = 200
"""Of one notification: one that names more is followed by a search instead."""

_STATUS = ("Parameters", "SubscriptionStatus")


class Kind(StrEnum):
    """What a notification says of itself (SubscriptionStatus.type); `CHANGE` is a plain R4 one."""

    CHANGE = "change"
    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    EVENTS = "event-notification"
    QUERY = "query"


_KINDS = {
    "handshake": Kind.HANDSHAKE,
    "heartbeat": Kind.HEARTBEAT,
    "event-notification": Kind.EVENTS,
    "query-status": Kind.QUERY,
    "query-event": Kind.QUERY,
}


@dataclass(frozen=True)
class NamedStudy:
    """An ImagingStudy that changed: ``ImagingStudy/id``, and its version where it was sent."""

    reference: str
    version: str | None = None


@dataclass(frozen=True)
class Notification:
    """What was said, as far as it matters here.

    `studies` are those that it names. `search` says that something changed which it does not name:
    only a search can tell. `events` are the numbers of the events in it, `total` is how many there
    were since the subscription began (``eventsSinceSubscriptionStart``). `status` is that of the
    Subscription.
    """

    kind: Kind
    studies: tuple[NamedStudy, ...] = ()
    search: bool = False
    subscription: str | None = None
    status: str | None = None
    events: tuple[int, ...] = ()
    total: int | None = None

    @property
    def reached(self) -> int | None:
        """The highest event number that this notification knows of."""
        return max((*self.events, *(() if self.total is None else (self.total,))), default=None)

    def missed_after(self, last: int | None) -> bool:
        """Whether events may not have arrived, when `last` was the number reached before.

        Events that do not raise the count, or a count that goes back, have come twice or late; or
        the server counts anew, and nobody knows how far it had come before these.
        """
        if self.reached is None or last is None:
            return False
        if self.reached < last or (self.reached == last and self.kind is Kind.EVENTS):
            return True
        return len({number for number in self.events if number > last}) < self.reached - last


def notification(body: object, fhir_base: str) -> Notification:
    """Read the parsed body of a notification; ``None`` is an empty one.

    References are taken if they point into `fhir_base`; whatever else is sent leads to a search.
    """
    bundle = resource(body, "Bundle")
    if bundle is None:
        return _changed(_studies([{"resource": body}], fhir_base))
    entries = tuple(members(bundle, "entry"))
    status = next(filter(None, map(_status_in, entries)), None)
    if status is None:
        return _changed(_studies(entries, fhir_base))
    return _of_topic(status, entries, fhir_base)


def _changed(studies: tuple[NamedStudy, ...]) -> Notification:
    many = len(studies) > STUDIES_AT_MOST
    return Notification(Kind.CHANGE, () if many else studies, search=many or not studies)


def _of_topic(status: Json, entries: tuple[Json, ...], fhir_base: str) -> Notification:
    said = _said(status)
    kind = _KINDS.get(_word(said, "type") or "", Kind.EVENTS)
    events = [_said(each) for each in said.get("notificationevent", ()) if isinstance(each, dict)]
    studies = _unique([*_studies(entries, fhir_base), *_in_focus(events, fhir_base)])
    numbers = (_number(value) for event in events for value in event.get("eventnumber", ()))
    totals = (_number(value) for value in said.get("eventssincesubscriptionstart", ()))
    made = Notification(
        kind,
        subscription=next(_references(said, "subscription"), None),
        status=_word(said, "status"),
        events=tuple(number for number in numbers if number is not None),
        total=next(totals, None),
    )
    if kind is not Kind.EVENTS:
        return made
    several = _changed(studies)
    return replace(made, studies=several.studies, search=several.search)


def _status_in(entry: Json) -> Json | None:
    found = member(entry, "resource")
    return found if found.get("resourceType") in _STATUS and "type" in _said(found) else None


Said = Mapping[str, list[object]]


def _said(status: Json) -> Said:
    """The values by name, without hyphens and case: both forms of a status read alike."""
    made: dict[str, list[object]] = {}
    for name, value in _pairs(status):
        made.setdefault(name.replace("-", "").lower(), []).append(value)
    return made


def _pairs(status: Json) -> Iterator[tuple[str, object]]:
    for list_name in ("parameter", "part"):
        for each in members(status, list_name):
            yield text(each, "name") or "", each if "part" in each else _value(each)
    for name, value in status.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item


def _value(parameter: Json) -> object:
    return next((value for name, value in parameter.items() if name.startswith("value")), None)


def _word(said: Said, name: str) -> str | None:
    return next((text({name: value}, name, 64) for value in said.get(name, ())), None)


def _references(said: Said, name: str) -> Iterator[str]:
    for value in said.get(name, ()):
        written = text(value, "reference")
        if written:
            yield written


def _number(value: object) -> int | None:
    """An event number: R4 writes it as a string, since it has no 64-bit integer."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    counts = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if counts and isinstance(value, int) else None


def _in_focus(events: Iterable[Said], fhir_base: str) -> Iterator[NamedStudy]:
    for event in events:
        for name in ("focus", "additionalcontext"):
            for written in _references(event, name):
                found = relative_reference(written, "ImagingStudy", fhir_base)
                if found:
                    yield NamedStudy(found)


def _studies(entries: object, fhir_base: str) -> tuple[NamedStudy, ...]:
    """The ImagingStudy resources of some entries, and the addresses of those that are not sent."""
    found: list[NamedStudy] = []
    for entry in members({"entry": entries}, "entry"):
        study = resource(entry.get("resource"), "ImagingStudy")
        own_id = text(study, "id", 64)
        written = f"ImagingStudy/{own_id}" if own_id else text(entry, "fullUrl")
        reference = relative_reference(written, "ImagingStudy", fhir_base)
        removed = text(member(entry, "request"), "method") == "DELETE"
        if reference and not removed:
            found.append(NamedStudy(reference, text(member(study, "meta"), "versionId", 64)))
    return _unique(found)


def _unique(studies: list[NamedStudy]) -> tuple[NamedStudy, ...]:
    """Each study once; the first word on it counts, which is the one that states a version."""
    return tuple({each.reference: each for each in reversed(studies)}.values())[::-1]
