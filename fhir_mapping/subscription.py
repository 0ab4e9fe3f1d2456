"""What we ask a FHIR server to tell us: a Subscription (R4), plain or of a topic (backport)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_mapping.context import Resource
from fhir_mapping.reading import member, members, resource, text

_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
_REASON = "Imaging AI: analyse a study as soon as it is available"
_FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True)
class Wanted:
    """One Subscription as we want it.

    `criteria` is a search of R4, or with `topic` the canonical URL of a SubscriptionTopic, which
    `filters` narrow. `payload` is ``empty``, ``id-only`` or ``full-resource``; a plain R4
    Subscription knows only the first and the last. `end` is an ``instant``.
    """

    endpoint: str
    header: str
    criteria: str
    end: str
    topic: bool = False
    filters: Sequence[str] = ()
    payload: str = "id-only"
    heartbeat_s: int = 0


def subscription(wanted: Wanted, status: str = "requested") -> Resource:
    """Return the Subscription resource (R4 subscription.html; backport: backport-subscription)."""
    channel: Resource = {
        "type": "rest-hook",
        "endpoint": wanted.endpoint,
        "header": [wanted.header],
    }
    if wanted.topic or wanted.payload == "full-resource":
        channel["payload"] = _FHIR_JSON
    made: Resource = {
        "resourceType": "Subscription",
        "status": status,
        "reason": _REASON,
        "criteria": wanted.criteria,
        "end": wanted.end,
        "channel": channel,
    }
    return _of_topic(made, wanted) if wanted.topic else made


def is_ours(found: object, endpoint: str) -> bool:
    """Whether a Subscription calls exactly this address."""
    return text(member(resource(found, "Subscription"), "channel"), "endpoint", 2048) == endpoint


def still_good(found: object, wanted: Wanted, not_before: str) -> bool:
    """Whether a Subscription of ours works, asks for what we want, and ends after `not_before`.

    Both times are FHIR ``instant`` in UTC as we write them; another spelling counts as ended.
    """
    made = subscription(wanted)
    own = resource(found, "Subscription") or {}
    channel, asked = member(own, "channel"), member(made, "channel")
    same = all(channel.get(name) == asked.get(name) for name in ("type", "header", "payload"))
    filters = _extensions(own, "_criteria") == _extensions(made, "_criteria")
    contents = _extensions(channel, "_payload") == _extensions(asked, "_payload")
    works = text(own, "status") == "active" and own.get("criteria") == made["criteria"]
    return works and same and filters and contents and (text(own, "end") or "") > not_before


def _of_topic(made: Resource, wanted: Wanted) -> Resource:
    content = {"url": f"{_BACKPORT}/backport-payload-content", "valueCode": wanted.payload}
    channel = {**member(made, "channel"), "_payload": {"extension": [content]}}
    if wanted.heartbeat_s:
        period = {"url": f"{_BACKPORT}/backport-heartbeat-period"}
        channel["extension"] = [{**period, "valueUnsignedInt": wanted.heartbeat_s}]
    topical = {**made, "meta": {"profile": [f"{_BACKPORT}/backport-subscription"]}}
    if wanted.filters:
        url = f"{_BACKPORT}/backport-filter-criteria"
        topical["_criteria"] = {
            "extension": [{"url": url, "valueString": each} for each in wanted.filters]
        }
    return {**topical, "channel": channel}


def _extensions(owner: object, name: str) -> list[object]:
    return [dict(each) for each in members(member(owner, name), "extension")]
