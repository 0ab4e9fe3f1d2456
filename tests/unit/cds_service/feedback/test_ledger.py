"""Answers to cards: kept once, counted by model version, obeyed, and never forged."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from cds_service.claims import EXTENSION, Card, claims_of
from cds_service.feedback import CardLedger, Feedback, Tally
from cds_service.feedback.ledger import ANSWERS, ANSWERS_KEPT_S, CARD, CARD_KEPT_S
from cds_service.queue import QueueUnavailable, web_connection
from cds_service.queue.payload import Sealer
from tests.doubles.answered import answers

pytestmark = pytest.mark.peer

NOW_S = 1_800_000_000
STUDY = "5d" * 16
BRAIN = ("brain-mri-tumour", "1.0.0")


@pytest.fixture(scope="module")
def server(valkey_factory: Any) -> Any:
    return valkey_factory()


@pytest.fixture
def redis(server: Any) -> Iterator[Redis]:
    connection = web_connection(server.url)
    connection.flushall()
    yield connection
    connection.close()


def ledger_of(redis: Redis, secret: bytes = b"0123456789abcdef" * 2) -> CardLedger:
    return CardLedger(redis, Sealer(secret), lambda: NOW_S)


@pytest.fixture
def ledger(redis: Redis) -> CardLedger:
    return ledger_of(redis)


def card(*models: tuple[str, str], images: str = "ab" * 8, study: str = STUDY) -> Card:
    """A card of these models, with a name of its own."""
    said = {
        "study": study,
        "state": "final",
        "images": images,
        "models": [{"model": model, "version": version} for model, version in models],
    }
    return {"uuid": str(uuid.uuid4()), "extension": {EXTENSION: said}}


def answer(
    to: Card, outcome: str = "overridden", reason: str = "disagree", at_s: int = NOW_S
) -> Feedback:
    return Feedback(to["uuid"], outcome, reason, at_s)


def settled(redis: Redis, ledger: CardLedger, of: Card) -> set[str]:
    said = answers(redis, ledger, [STUDY])[STUDY]
    return {said.get(claim, "open") for claim in claims_of(of)}


def test_an_answer_is_kept_once_and_counted_by_model_version(
    redis: Redis, ledger: CardLedger
) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    assert ledger.note("north", [answer(shown), answer(shown)]) == [answer(shown)]
    assert ledger.note("north", [answer(shown)]) == []
    assert settled(redis, ledger, shown) == {"overridden"}
    assert ledger.tallies() == (Tally(*BRAIN, "overridden", "disagree", 1),)


def test_a_hundred_copies_at_once_count_once(ledger: CardLedger) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    with ThreadPoolExecutor(8) as threads:
        new = list(threads.map(lambda _: ledger.note("north", [answer(shown)]), range(100)))
    assert sum(map(len, new)) == 1
    assert [tally.cards for tally in ledger.tallies()] == [1]


def test_a_card_of_two_models_counts_for_both(ledger: CardLedger) -> None:
    shown = card(BRAIN, ("other", "2"))
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    assert [(t.model, t.cards) for t in ledger.tallies()] == [(BRAIN[0], 1), ("other", 1)]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_answers_the_later_one_counts_in_whichever_order(
    redis: Redis, ledger: CardLedger, order: int
) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    first, last = answer(shown, at_s=NOW_S - 60), answer(shown, "accepted", "none", NOW_S - 30)
    for each in (first, last)[::order]:
        ledger.note("north", [each])
    assert settled(redis, ledger, shown) == {"accepted"}
    assert ledger.tallies() == (Tally(*BRAIN, "accepted", "none", 1),)


def test_a_clock_that_is_ahead_does_not_have_the_last_word(
    redis: Redis, ledger: CardLedger
) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown, at_s=NOW_S * 2)])
    assert ledger.note("north", [answer(shown, "accepted", "none", NOW_S)])
    assert settled(redis, ledger, shown) == {"accepted"}


@pytest.mark.parametrize(
    "other",
    [card(("brain-mri-tumour", "1.0.1")), card(BRAIN, images="cd" * 8), card(("other", "1.0.0"))],
    ids=["another version", "a study that has grown", "another model"],
)
def test_another_claim_is_not_settled_with_it(
    redis: Redis, ledger: CardLedger, other: Card
) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    assert settled(redis, ledger, other) == {"open"}
    assert settled(redis, ledger, card(BRAIN)) == {"overridden"}


def test_a_card_without_an_answer_of_a_model_is_settled_by_its_own_name(
    redis: Redis,
    ledger: CardLedger,
) -> None:
    waiting = card()
    ledger.issued("north", "service", [waiting])
    ledger.note("north", [answer(waiting)])
    assert settled(redis, ledger, waiting) == {"overridden"}
    assert settled(redis, ledger, card()) == {"open"}
    assert [tally.model for tally in ledger.tallies()] == ["none"]


def test_a_tenant_answers_its_own_cards_only(redis: Redis, ledger: CardLedger) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    assert ledger.note("south", [answer(shown)]) == []
    assert settled(redis, ledger, shown) == {"open"}
    assert ledger.tallies() == ()


def test_a_card_that_nobody_sent_is_passed_over(ledger: CardLedger) -> None:
    assert ledger.note("north", [answer(card(BRAIN))]) == []
    assert ledger.tallies() == ()


JUNK = [b"", b"null", b"[]", b"[1, 2]", b"\xff", b'[["x"], "y"]', b"[" * 5000, b'{"a": 1}']


@pytest.mark.parametrize("junk", JUNK)
def test_what_somebody_else_wrote_silences_nothing(
    redis: Redis, ledger: CardLedger, junk: bytes
) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    for claim in claims_of(shown):
        redis.hset(ANSWERS.format(STUDY), claim, junk)
    assert settled(redis, ledger, shown) == {"open"}
    redis.set(CARD.format(shown["uuid"]), junk)
    assert ledger.note("north", [answer(shown)]) == []


def test_an_answer_cannot_be_moved_to_another_study_or_claim(
    redis: Redis, ledger: CardLedger
) -> None:
    shown, elsewhere = card(BRAIN), "6e" * 16
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    (text,) = redis.hvals(ANSWERS.format(STUDY))
    (claim,) = claims_of(shown)
    redis.hset(ANSWERS.format(elsewhere), claim, text)
    redis.hset(ANSWERS.format(STUDY), "another", text)
    assert answers(redis, ledger, [elsewhere]) == {elsewhere: {}}
    assert set(answers(redis, ledger, [STUDY])[STUDY]) == {claim}


def test_an_answer_of_another_secret_silences_nothing(redis: Redis, ledger: CardLedger) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    assert settled(redis, ledger_of(redis, b"fedcba9876543210" * 2), shown) == {"open"}


def test_cards_and_answers_expire_and_counts_do_not(redis: Redis, ledger: CardLedger) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    kept = {"cds:card": CARD_KEPT_S, "cds:answers": ANSWERS_KEPT_S, "cds:feedback": -1}
    lives = {key.decode().rpartition(":")[0]: redis.ttl(key) for key in redis.scan_iter()}
    assert lives.keys() == kept.keys()
    assert all(abs(lives[name] - kept[name]) < 5 for name in kept)


def test_an_operator_lets_the_cards_of_a_study_come_back(redis: Redis, ledger: CardLedger) -> None:
    shown = card(BRAIN)
    ledger.issued("north", "service", [shown])
    ledger.note("north", [answer(shown)])
    assert [ledger.forget(STUDY), ledger.forget(STUDY)] == [True, False]
    assert settled(redis, ledger, shown) == {"open"}
    assert [tally.cards for tally in ledger.tallies()] == [1]


@pytest.mark.parametrize("key", ["", "[]", "[1]", "{}", '["m", "1", "accepted"]'])
def test_a_count_that_is_not_ours_is_passed_over(key: str) -> None:
    assert Tally.of(key, 1) is None


def test_a_tally_is_found_again() -> None:
    tally = Tally("m 1", '"', "accepted", "none", 3)
    assert Tally.of(tally.key, 3) == tally
    assert json.loads(tally.key) == ["m 1", '"', "accepted", "none"]


def test_without_redis_a_finding_is_shown_and_feedback_is_refused() -> None:
    away = ledger_of(web_connection("redis://127.0.0.1:1/0"))
    away.issued("north", "service", [card(BRAIN)])
    assert away.told([STUDY], [RedisError("WRONGTYPE")]) == {}
    for ask in (away.tallies, lambda: away.forget(STUDY), lambda: away.note("n", [answer(card())])):
        with pytest.raises(QueueUnavailable):
            ask()
