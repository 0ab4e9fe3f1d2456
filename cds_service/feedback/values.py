"""One answer to one card, what a card speaks of, and how often each answer was given."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cds_service.cards import OVERRIDE_REASONS

ACCEPTED, OVERRIDDEN = "accepted", "overridden"
OUTCOMES = (ACCEPTED, OVERRIDDEN)

REASONS = (*OVERRIDE_REASONS, "other", "none")
"""Our five, a code of somebody else's, and none given."""


@dataclass(frozen=True)
class Feedback:
    """One card's fate; `reason` is one of `REASONS`, `at_s` the client's time, epoch seconds."""

    card: str
    outcome: str
    reason: str
    at_s: int


@dataclass(frozen=True, order=True)
class Tally:
    """How many cards of one model version last had this answer."""

    model: str
    version: str
    outcome: str
    reason: str
    cards: int = 0

    @property
    def key(self) -> str:
        """As it stands in Redis: unambiguous whatever the parts hold."""
        return json.dumps([self.model, self.version, self.outcome, self.reason])

    @classmethod
    def of(cls, key: bytes | str, cards: int) -> Tally | None:
        """The inverse of `key`; None for what is not ours."""
        try:
            model, version, outcome, reason = json.loads(key)
        except (ValueError, TypeError):
            return None
        return cls(str(model), str(version), str(outcome), str(reason), cards)
