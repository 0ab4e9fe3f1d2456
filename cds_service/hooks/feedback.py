"""What clinicians did with our cards (CDS Hooks 2.0.1, Feedback), kept without personal data.

``userComment`` is free text and may name a patient: it is checked for its type and forgotten.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from cds_service.cards import EXTENSION, OVERRIDE_REASONS, OVERRIDE_SYSTEM, Card
from cds_service.hooks.errors import InvalidCall, Unavailable

_log = logging.getLogger(__name__)

CARD = "cds:card:{}"
KEEP_S = 30 * 86_400
MOST_ENTRIES = 100
REASONS = (*OVERRIDE_REASONS, "other", "none")
"""Our five, a code of somebody else's, and none given."""

_NAME = re.compile(r"[A-Za-z0-9\-]{1,64}")


@dataclass(frozen=True)
class Feedback:
    """One card's fate; `reason` is one of `REASONS`, `at` the client's RFC 3339 timestamp."""

    card: str
    outcome: str
    reason: str
    at: str


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
    if outcome not in ("accepted", "overridden"):
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


def _timestamp(entry: Mapping[str, Any]) -> str:
    written = entry.get("outcomeTimestamp")
    try:
        moment = datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidCall("feedback.outcomeTimestamp is missing or not a time with its zone.")
    return moment.isoformat(timespec="seconds")


class CardLedger:
    """Remembers for 30 days which card spoke of which study, and what became of it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def issued(self, service: str, cards: Sequence[Card]) -> None:
        """Note cards that go out; when Redis fails they go out all the same."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for card in cards:
                    said = card["extension"][EXTENSION]
                    wanted = ("study", "state", "outcome", "model", "version")
                    kept = {name: str(said[name]) for name in wanted if name in said}
                    name = CARD.format(card["uuid"])
                    pipeline.hset(name, items=_pairs({"service": service, **kept}))
                    pipeline.expire(name, KEEP_S)
                pipeline.execute()
        except (RedisError, OSError) as error:
            _log.warning("cards not noted", extra={"kind": type(error).__name__})

    def unanswered(self, cards: Sequence[Card]) -> list[Card]:
        """The cards of which nobody has said yet what became of them; all, if Redis fails."""
        try:
            return [card for card in cards if not self._answered(card)]
        except (RedisError, OSError) as error:
            _log.warning("answered cards not known", extra={"kind": type(error).__name__})
            return list(cards)

    def _answered(self, card: Card) -> bool:
        return any(self._redis.hmget(CARD.format(card["uuid"]), ["feedback"]))

    def note(self, entries: Iterable[Feedback]) -> list[Feedback]:
        """Keep what became of known cards; returns what was new, so that repeats count once.

        Raises:
            Unavailable: Redis did not answer.
        """
        latest = {entry.card: entry for entry in entries}
        try:
            return [entry for entry in latest.values() if self._note(entry)]
        except (RedisError, OSError):
            raise Unavailable("Feedback cannot be kept at the moment.") from None

    def _note(self, entry: Feedback) -> bool:
        name = CARD.format(entry.card)
        service, *before = self._redis.hmget(name, ["service", "feedback", "reason", "at"])
        now = [entry.outcome.encode(), entry.reason.encode(), entry.at.encode()]
        if service is None or before == now:
            return False
        fields = {"feedback": entry.outcome, "reason": entry.reason, "at": entry.at}
        self._redis.hset(name, items=_pairs(fields))
        return True


def _pairs(fields: Mapping[str, str]) -> list[str]:
    """Field, value, field, value, ... as HSET takes them."""
    return [part for pair in fields.items() for part in pair]
