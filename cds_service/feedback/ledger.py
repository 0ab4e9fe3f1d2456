"""Which card spoke of what, and what became of it, in Redis.

``cds:card:<uuid>`` says for 30 days which study, images and models a card spoke of.
``cds:answers:<study>`` holds the answer to each thing that was said of a study, and
``cds:feedback:totals`` counts them by model version. What could silence a finding carries a MAC:
an answer that somebody else wrote into Redis silences nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from cds_service.claims import Card, claims_of, stated_on
from cds_service.feedback.values import Feedback, Tally
from cds_service.queue.errors import redis_reached

_log = logging.getLogger(__name__)

CARD, ANSWERS, TOTALS = "cds:card:{}", "cds:answers:{}", "cds:feedback:totals"

CARD_KEPT_S = 30 * 86_400
"""An answer to a card is taken for so long."""

ANSWERS_KEPT_S = 365 * 86_400
"""What was overridden stays away for so long after the last answer on its study, whether or not
the study's record is still there: a year, in which a chart that is opened often is opened."""


class Seal(Protocol):
    """Makes and checks MACs (see `queue.payload.Sealer`)."""

    def sign(self, text: bytes) -> str:
        """The MAC of a text."""

    def verify(self, text: bytes, mac: str) -> bool:
        """Whether one of our secrets made it."""


@dataclass(frozen=True)
class _Issued:
    """What a card that went out spoke of; `claims` by the model and version that made each."""

    tenant: str
    study: str
    claims: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class _Answer:
    outcome: str
    reason: str
    at_s: int

    def tally(self, model: tuple[str, str]) -> str:
        return Tally(*model, self.outcome, self.reason).key


class CardLedger:
    """Remembers cards and answers; `clock_s` is epoch seconds."""

    def __init__(self, redis: Redis, seal: Seal, clock_s: Callable[[], float]) -> None:
        self._redis = redis
        self._seal = seal
        self._clock_s = clock_s

    def issued(self, tenant: str, service: str, cards: Sequence[Card]) -> None:
        """Note cards that go out; when Redis fails they go out all the same."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for card in cards:
                    said = stated_on(card)
                    claims = [[claim, *model] for claim, model in claims_of(card).items()]
                    note = [card["uuid"], tenant, service, said["study"], claims]
                    pipeline.set(CARD.format(card["uuid"]), self._sealed(note), ex=CARD_KEPT_S)
                pipeline.execute()
        except (RedisError, OSError) as error:
            _log.warning("cards not noted", extra={"kind": type(error).__name__})

    def note(self, tenant: str, entries: Iterable[Feedback]) -> list[Feedback]:
        """Keep what became of the tenant's own cards; returns what was new.

        Of several answers to a card the latest counts, in whichever order they arrive; a repeat
        changes nothing. A card that is not known, or is another tenant's, is passed over.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        latest = {entry.card: entry for entry in sorted(entries, key=lambda entry: entry.at_s)}
        with redis_reached():
            return [entry for entry in latest.values() if self._note(tenant, entry)]

    def note_claims(
        self, study: str, claims: Mapping[str, tuple[str, str]], outcome: str, reason: str
    ) -> bool:
        """Keep an answer that was given now on the page of a study, to what it claims.

        `claims` are as `cards.claims_of` names them, with model and version; whether it was new.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        entry = Feedback("", outcome, reason, int(self._clock_s()))
        name = ANSWERS.format(study)
        settle: Any = partial(self._settle, name, _Issued("", study, claims), entry)
        with redis_reached():
            return bool(self._redis.transaction(settle, name, value_from_callable=True))

    def ask(self, pipeline: Pipeline, studies: Sequence[str]) -> None:
        """Put into somebody's round trip what was answered of these studies."""
        for study in studies:
            pipeline.hgetall(ANSWERS.format(study))

    def told(
        self, studies: Sequence[str], rows: Sequence[Mapping[bytes, bytes] | Exception]
    ) -> Mapping[str, Mapping[str, str]]:
        """What came back for `ask`: outcome by claim by study.

        A study whose answers could not be read has none, since a finding is not to be lost.
        """
        lost = [row for row in rows if isinstance(row, Exception)]
        if lost:
            _log.warning("answered cards not known", extra={"kind": type(lost[0]).__name__})
        return {
            study: {claim: answer.outcome for claim, answer in self._answers(study, row)}
            for study, row in zip(studies, rows, strict=True)
            if not isinstance(row, Exception)
        }

    def tallies(self) -> tuple[Tally, ...]:
        """How often each answer stands, by model version. Raises QueueUnavailable."""
        with redis_reached():
            counts = self._redis.hgetall(TOTALS)
        found = (Tally.of(key, int(count)) for key, count in counts.items())
        return tuple(sorted(tally for tally in found if tally and tally.cards > 0))

    def forget(self, study: str) -> bool:
        """Let the cards of a study come back; whether one was answered. The counts stay.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        with redis_reached():
            return bool(self._redis.delete(ANSWERS.format(study)))

    def _note(self, tenant: str, entry: Feedback) -> bool:
        card = self._card(entry.card)
        if card is None or card.tenant != tenant:
            return False
        name = ANSWERS.format(card.study)
        settle: Any = partial(self._settle, name, card, entry)  # redis knows of no answer
        return bool(self._redis.transaction(settle, name, value_from_callable=True))

    def _settle(self, name: str, card: _Issued, entry: Feedback, pipe: Any) -> bool:
        """Write what is new; the transaction starts again if somebody else wrote meanwhile."""
        now = _Answer(entry.outcome, entry.reason, min(entry.at_s, int(self._clock_s())))
        rows = zip(card.claims, pipe.hmget(name, list(card.claims)), strict=True)
        before = {claim: self._answer(card.study, claim, row) for claim, row in rows}
        news = [claim for claim, old in before.items() if _is_news(old, now)]
        pipe.multi()
        for claim in news:
            text = [card.study, claim, now.outcome, now.reason, now.at_s]
            pipe.hset(name, claim, self._sealed(text))
            pipe.hincrby(TOTALS, now.tally(card.claims[claim]), 1)
            old = before[claim]
            if old is not None:
                pipe.hincrby(TOTALS, old.tally(card.claims[claim]), -1)
        if news:
            pipe.expire(name, ANSWERS_KEPT_S)
        return bool(news)

    def _card(self, uuid: str) -> _Issued | None:
        """What a card spoke of; None if it is not known, or was not noted by us."""
        match self._opened(self._redis.get(CARD.format(uuid))):
            case [said, str(tenant), _, str(study), list(claims)] if said == uuid and claims:
                return _Issued(tenant, study, {claim: (model, v) for claim, model, v in claims})
        return None

    def _answers(self, study: str, row: Mapping[bytes, bytes]) -> Iterable[tuple[str, _Answer]]:
        for key, text in row.items():
            claim = key.decode("utf-8", "replace")
            answer = self._answer(study, claim, text)
            if answer is not None:
                yield claim, answer

    def _answer(self, study: str, claim: str, text: bytes | None) -> _Answer | None:
        match self._opened(text):
            case [of, what, str(outcome), str(reason), int(at_s)] if (of, what) == (study, claim):
                return _Answer(outcome, reason, at_s)
        return None

    def _sealed(self, note: list[Any]) -> str:
        return json.dumps([note, self._seal.sign(_text(note))])

    def _opened(self, text: bytes | str | None) -> list[Any] | None:
        """What `_sealed` wrote; None for anything else, whatever is wrong with it."""
        try:
            note, mac = json.loads(text or "")
        except (ValueError, TypeError, RecursionError):
            return None
        genuine = isinstance(note, list) and self._seal.verify(_text(note), str(mac))
        return cast("list[Any]", note) if genuine else None


def _is_news(old: _Answer | None, now: _Answer) -> bool:
    if old is None:
        return True
    return now.at_s >= old.at_s and (now.outcome, now.reason) != (old.outcome, old.reason)


def _text(note: list[Any]) -> bytes:
    """What the MAC covers; the word keeps it apart from the other things that are signed."""
    return json.dumps(["feedback", note]).encode()
