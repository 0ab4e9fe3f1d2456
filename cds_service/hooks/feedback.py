"""The body of a feedback call (CDS Hooks 2.0.1, Feedback), read without its personal data.

``userComment`` is free text and may name a patient: it is checked for its type and forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cds_service.cards import OVERRIDE_REASONS, OVERRIDE_SYSTEM
from cds_service.feedback import OUTCOMES, Feedback
from cds_service.hooks.errors import InvalidCall

MOST_ENTRIES = 100

_NAME = re.compile(r"[A-Za-z0-9\-]{1,64}")

_TIME = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d):(?P<second>[0-5]\d|60)(\.\d+)?"
    r"(?P<zone>Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
"""``date-time`` of RFC 3339, 5.6. Python reads more of ISO 8601, and neither ``z`` nor a leap
second."""


def parse_feedback(body: Mapping[str, Any]) -> tuple[Feedback, ...]:
    """Check a feedback body.

    Raises:
        InvalidCall: a member that the specification requires is missing or of another form.
    """
    entries = body.get("feedback")
    if not isinstance(entries, list) or not entries:
        raise InvalidCall("feedback is missing or not an array with entries.")
    if len(entries) > MOST_ENTRIES:
        raise InvalidCall(f"feedback has more than {MOST_ENTRIES} entries.")
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: object) -> Feedback:
    if not isinstance(entry, Mapping):
        raise InvalidCall("feedback has an entry that is not an object.")
    card, outcome = entry.get("card"), entry.get("outcome")
    if not isinstance(card, str) or not _NAME.fullmatch(card):
        raise InvalidCall("feedback.card is missing or not the uuid of a card.")
    if outcome not in OUTCOMES:
        raise InvalidCall("feedback.outcome is neither accepted nor overridden.")
    if outcome == "accepted":
        _check_suggestions(entry.get("acceptedSuggestions"))
    return Feedback(card.lower(), outcome, _reason(entry), _timestamp(entry))


def _check_suggestions(value: object) -> None:
    if not isinstance(value, list) or not value:
        raise InvalidCall("feedback.acceptedSuggestions is missing, though a card was accepted.")
    if not all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in value):
        raise InvalidCall("feedback.acceptedSuggestions has an item without id.")


def _reason(entry: Mapping[str, Any]) -> str:
    given = entry.get("overrideReason")
    if given is None:
        return "none"
    if not isinstance(given, Mapping) or not (given.get("reason") or given.get("userComment")):
        raise InvalidCall("feedback.overrideReason has neither reason nor userComment.")
    if not isinstance(given.get("userComment", ""), str):
        raise InvalidCall("feedback.overrideReason.userComment is not a string.")
    coding = given.get("reason")
    if coding is None:
        return "none"
    if not isinstance(coding, Mapping) or not isinstance(coding.get("code"), str):
        raise InvalidCall("feedback.overrideReason.reason is not a Coding.")
    # several clients send the code alone; ours are words that nobody else is likely to use
    ours = coding.get("system") in (OVERRIDE_SYSTEM, None) and coding["code"] in OVERRIDE_REASONS
    return coding["code"] if ours else "other"


def _timestamp(entry: Mapping[str, Any]) -> int:
    """Epoch seconds of ``outcomeTimestamp``; its fraction is left out."""
    written = entry.get("outcomeTimestamp")
    time = _TIME.fullmatch(written) if isinstance(written, str) else None
    if time is None:
        raise InvalidCall("feedback.outcomeTimestamp is missing or not a time with its zone.")
    try:
        minute = datetime.fromisoformat(f"{time['minute']}{time['zone']}".upper())
        return int(minute.timestamp()) + int(time["second"])
    except ValueError:  # no day of the calendar
        raise InvalidCall("feedback.outcomeTimestamp is no time that can be.") from None
