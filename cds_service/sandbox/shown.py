"""What the pages draw: cards, calls and resources as plain values. Nothing of them is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markupsafe import Markup

from cds_service.sandbox.holdings import StoredObject
from cds_service.sandbox.hook_client import Exchange
from cds_service.sandbox.results import CardResult, card_result
from cds_service.sandbox.suggestions import Done

LONGEST_TEXT = 4000
"""Characters of one string in a request or a resource that are shown: a PDF is not for reading."""

_INDICATORS = frozenset({"info", "warning", "critical"})

# pictures would be requests to somebody else's server; raw HTML stays text
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_MARKDOWN.disable("image")


@dataclass(frozen=True)
class ShownCard:
    """One card; `answered` is what the user did about it, empty while nothing was done, and of its
    suggestions `several` may be taken at once."""

    uuid: str
    service: str
    summary: str
    detail: Markup
    indicator: str
    source: str
    links: list[dict[str, str]]
    suggestions: list[dict[str, Any]]
    several: bool
    reasons: list[dict[str, str]]
    result: CardResult
    answered: str


def shown_card(card: Mapping[str, Any], service: str, answered: str) -> ShownCard:
    """A card's text is the service's: it is no markup, and its addresses are not followed."""
    source = card.get("source")
    indicator = str(card.get("indicator", "info"))
    return ShownCard(
        uuid=str(card.get("uuid", "")),
        service=service,
        summary=_unbroken(str(card.get("summary", ""))),
        detail=Markup(_MARKDOWN.render(_unbroken(str(card.get("detail", ""))))),  # noqa: S704  HTML is off
        indicator=indicator if indicator in _INDICATORS else "info",
        source=str(source.get("label", "")) if isinstance(source, dict) else "",
        links=[_link(link) for link in dicts(card, "links")],
        suggestions=[_suggestion(one) for one in dicts(card, "suggestions") if one.get("uuid")],
        several=several(card),
        reasons=override_reasons(card),
        result=card_result(card),
        answered=answered,
    )


def several(card: Mapping[str, Any]) -> bool:
    """Whether suggestions of a card may be taken together (Card Attributes, selectionBehavior)."""
    return card.get("selectionBehavior") == "any"


def _suggestion(suggestion: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "uuid": str(suggestion["uuid"]),
        "label": str(suggestion.get("label", "")),
        "recommended": suggestion.get("isRecommended") is True,
        "actions": [str(one.get("description", "")) for one in dicts(suggestion, "actions")],
    }


def override_reasons(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """The codings that a card may be set aside with (CDS Hooks 2.0.1, Override Reason)."""
    names = ("code", "system", "display")
    return [
        {name: str(reason[name]) for name in names if name in reason}
        for reason in dicts(card, "overrideReasons")
    ]


def dicts(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of an array member; none if it is something else."""
    found = value.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _link(link: dict[str, Any]) -> dict[str, str]:
    """A link that can be followed has an address; a SMART app would need a launch of its own."""
    url = str(link.get("url", ""))
    web = urlsplit(url).scheme in ("http", "https") and link.get("type") == "absolute"
    return {"label": str(link.get("label", "")), "url": url if web else ""}


def shown_exchange(exchange: Exchange) -> dict[str, Any]:
    """One call of the CDS service, for the drawer."""
    return {
        "number": exchange.number,
        "hook": exchange.hook,
        "url": exchange.url,
        "at": _clock(exchange.at_s),
        "took_ms": exchange.took_ms,
        "status": exchange.status,
        "what": exchange.problem or _answer(exchange),
        "request": _text(exchange.request),
        "response": _text(exchange.response) if exchange.response is not None else "",
    }


def _answer(exchange: Exchange) -> str:
    entries = dicts(exchange.request, "feedback")
    if entries:
        reason = entries[0].get("overrideReason", {})
        words = reason.get("reason", {}).get("display") or reason.get("userComment", "")
        return ": ".join(part for part in (str(entries[0].get("outcome", "")), str(words)) if part)
    count = len(exchange.cards)
    return "1 card" if count == 1 else f"{count} cards"


def shown_resource(resource: Mapping[str, Any]) -> dict[str, str]:
    """One line for a resource that was written, and all of it for who opens the line."""
    meta = resource.get("meta", {})
    return {
        "kind": str(resource["resourceType"]),
        "what": _what(resource),
        "status": str(resource.get("status", "")),
        "version": str(meta.get("versionId", "")),
        "at": _time_of(str(meta.get("lastUpdated", ""))),
        "json": _text(resource),
    }


def shown_action(done: Done) -> dict[str, str]:
    """One action of a suggestion that was accepted."""
    resource = shown_resource(done.written.resource)
    reference = f"{done.written.resource['resourceType']}/{done.written.resource['id']}"
    words = done.description or resource["what"]
    shown = {"action": done.kind, "reference": reference, "at": _clock(done.at_s)}
    return resource | shown | {"what": words}


def shown_object(stored: StoredObject) -> dict[str, str]:
    """One series of DICOM objects that was stored."""
    size = f"{stored.size_bytes / 1024:,.0f} KiB" if stored.size_bytes else ""
    return {
        "modality": stored.modality,
        "what": stored.description or "Series without a description",
        "uid": stored.series_uid,
        "size": size,
        "instances": "1 object" if stored.instances == 1 else f"{stored.instances} objects",
        "at": _clock(stored.at_s) if stored.at_s else "",
    }


def _clock(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%H:%M:%S} UTC"


def _time_of(instant: str) -> str:
    try:
        return _clock(datetime.fromisoformat(instant).timestamp())
    except ValueError:
        return ""


def _text(value: object) -> str:
    return json.dumps(_short(value), indent=2, ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_short(item) for item in value]
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:60]}… ({len(value):,} characters)"
    return value


def _what(resource: Mapping[str, Any]) -> str:
    if resource.get("status") == "entered-in-error":  # what it states is no finding any more
        return ": ".join(filter(None, ("Withdrawn", _concept(resource.get("code") or {}))))
    if "conclusion" in resource:
        return _unbroken(str(resource["conclusion"]))
    value, code = resource.get("valueCodeableConcept"), resource.get("code")
    names = [_concept(part) for part in (code, value) if part]
    device_names = [str(name.get("name", "")) for name in dicts(resource, "deviceName")]
    targets = [str(one.get("reference", "")).partition("/")[0] for one in dicts(resource, "target")]
    return ": ".join(names) or ", ".join(device_names) or ", ".join(dict.fromkeys(targets))


def _unbroken(text: str) -> str:
    """A number stays in one line with its per cent sign."""
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", text)


def _concept(concept: Mapping[str, Any]) -> str:
    displays = [str(c.get("display") or c.get("code", "")) for c in dicts(concept, "coding")]
    return str(concept.get("text") or next(iter(displays), ""))
