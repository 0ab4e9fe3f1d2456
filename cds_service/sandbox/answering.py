"""What a user does about a card: accept suggestions of it, or set it aside (CDS Hooks 2.0.1,
Feedback)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from cds_service.sandbox.shown import dicts, override_reasons, several
from cds_service.sandbox.suggestions import Done

Json = dict[str, Any]
LONGEST_COMMENT = 500


@dataclass(frozen=True)
class Answer:
    """`entry` is the feedback without its time, `words` stand in the chart; `accepted` are the
    suggestions that were taken, none where the card was set aside."""

    entry: Json
    words: str
    accepted: tuple[Json, ...] = ()


def answer_of(card: Mapping[str, Any], form: MultiDict[str, str]) -> Answer | None:
    """What the pressed button means; ``None`` if nothing was chosen to be accepted."""
    if "accept" not in form:
        return _set_aside(card, form)
    wanted = set(form.getlist("accept"))
    chosen = [s for s in dicts(card, "suggestions") if s.get("uuid") and s["uuid"] in wanted]
    accepted = tuple(chosen if several(card) else chosen[:1])
    if not accepted:
        return None
    entry = {
        "card": card["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": each["uuid"]} for each in accepted],
    }
    labels = "; ".join(str(each.get("label", "")) for each in accepted)
    return Answer(entry, f"Accepted: {labels}", accepted)


def _set_aside(card: Mapping[str, Any], form: MultiDict[str, str]) -> Answer:
    given: Json = {}
    chosen = [r for r in override_reasons(card) if r.get("code") == form.get("reason")]
    if chosen:
        given["reason"] = chosen[0]
    if comment := form.get("comment", "").strip()[:LONGEST_COMMENT]:
        given["userComment"] = comment
    entry = {"card": card["uuid"], "outcome": "overridden"}
    words = chosen[0].get("display", "") if chosen else comment or "no reason given"
    return Answer(entry | ({"overrideReason": given} if given else {}), f"Set aside: {words}")


class Answered:
    """What the user did about cards: an EHR does not show those again, nor does it act twice."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str], str] = {}
        self._done: dict[str, tuple[Done, ...]] = {}
        self._lock = threading.Lock()

    def take(
        self, patient_id: str, card: str, words: str, act: Callable[[], tuple[Done, ...]]
    ) -> bool:
        """Act and remember it for this patient; whether the card was not answered before.

        What `act` raises is passed on, and the card stays unanswered.
        """
        with self._lock:
            if (patient_id, card) in self._words:
                return False
            self._done[patient_id] = (*act()[::-1], *self._done.get(patient_id, ()))
            self._words[patient_id, card] = words
        return True

    def words(self, patient_id: str, card: str) -> str:
        """What was done about a card; empty if nothing was."""
        with self._lock:
            return self._words.get((patient_id, card), "")

    def done(self, patient_id: str) -> tuple[Done, ...]:
        """The actions that were carried out for this patient, newest first."""
        with self._lock:
            return self._done.get(patient_id, ())
