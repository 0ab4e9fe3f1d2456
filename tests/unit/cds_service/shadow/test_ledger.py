"""What two precisions disagreed about is counted once, and above the limit a model falls back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import QueueUnavailable, web_connection
from cds_service.serving import FORGOTTEN_S, Served, ServingBoard, not_served, standing
from cds_service.shadow.ledger import RUNS, ModelName, ShadowLedger, Watched
from inference.shadow import Disagreement

pytestmark = pytest.mark.peer

MODEL = ModelName("brain-mri-tumour", "1.0.0")
LIMIT = 0.05


@pytest.fixture(scope="module")
def server(valkey_factory: Any) -> Any:
    return valkey_factory()


@pytest.fixture
def redis(server: Any) -> Iterator[Redis]:
    connection = web_connection(server.url)
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def ledger(redis: Redis) -> ShadowLedger:
    return ShadowLedger(redis)


def note(ledger: ShadowLedger, run: int, *, differs: bool, label: str = "glioma") -> bool:
    seen = Disagreement(MODEL.id, MODEL.version, label, differs)
    return ledger.note(f"run-{run}", seen, LIMIT)


def test_a_model_falls_back_once_above_the_limit_and_not_before_there_are_enough_runs(
    ledger: ShadowLedger,
) -> None:
    assert not any(note(ledger, run, differs=True) for run in range(19))
    assert ledger.fallen() == frozenset()
    assert note(ledger, 19, differs=True)
    assert not note(ledger, 20, differs=True), "said once"
    assert ledger.fallen() == {MODEL}


def test_at_the_limit_nothing_happens_and_one_more_is_too_many(ledger: ShadowLedger) -> None:
    """5 % of the last 200 is allowed."""
    for run in range(RUNS):
        assert not note(ledger, run, differs=run >= RUNS - 10)
    assert note(ledger, RUNS, differs=True)


def test_what_is_longer_ago_than_the_last_200_runs_is_forgotten_but_for_the_totals(
    ledger: ShadowLedger,
) -> None:
    for run in range(10):
        note(ledger, run, differs=True, label="meningioma")
    for run in range(10, 10 + RUNS):
        note(ledger, run, differs=False)
    (watched,) = ledger.watched()
    assert (watched.recent, watched.recent_disagreed) == (RUNS, 0)
    assert watched.seen == {"glioma": RUNS, "meningioma": 10}
    assert watched.disagreed == {"meningioma": 10}


def test_a_run_that_is_repeated_is_counted_once(ledger: ShadowLedger) -> None:
    for _ in range(3):
        note(ledger, 1, differs=True)
    (watched,) = ledger.watched()
    assert (watched.recent, watched.seen, watched.disagreed) == (1, {"glioma": 1}, {"glioma": 1})


def test_a_cleared_model_starts_anew(ledger: ShadowLedger) -> None:
    for run in range(20):
        note(ledger, run, differs=True)
    assert ledger.clear("another") == ()
    assert ledger.fallen() == {MODEL}
    assert ledger.clear(MODEL.id) == (MODEL,)
    assert ledger.fallen() == frozenset()
    assert not note(ledger, 20, differs=True), "what was before the clearing does not count"
    assert ledger.clear(MODEL.id) == ()


def test_names_that_we_never_wrote_are_nobody(redis: Redis, ledger: ShadowLedger) -> None:
    redis.hset("cds:shadow:fallen", mapping={"x": "1", "[1]": "1", "null": "1", MODEL.key: "7"})
    redis.sadd("cds:shadow:models", "{", '["a", "b", "c"]')
    assert ledger.fallen() == {MODEL}
    assert ledger.watched() == (Watched(MODEL, fallen_since_s=7),)


def test_nothing_that_is_kept_names_a_study(redis: Redis, ledger: ShadowLedger) -> None:
    note(ledger, 1, differs=True)
    keys = {key.decode() for key in redis.scan_iter()}
    assert {key.split(":")[2] for key in keys} == {"counted", "models", "recent", "totals"}
    assert redis.ttl(next(key for key in keys if "counted" in key)) > 0


def test_without_redis_the_queue_is_said_to_be_unavailable() -> None:
    ledger = ShadowLedger(web_connection("redis://127.0.0.1:1/0"))
    for ask in (ledger.fallen, ledger.watched, lambda: ledger.clear("x")):
        with pytest.raises(QueueUnavailable):
            ask()


def test_what_machines_said_of_their_models_becomes_one_sentence_each(redis: Redis) -> None:
    now = [1000.0]
    board = ServingBoard(redis, lambda: now[0])
    lungs = ModelName("chest-xray-lungs", "1.0.0")
    failed = Served(lungs, "", "The model failed its self-test.")
    board.tell("a", [Served(MODEL, "int8", "It is quicker."), failed])
    board.tell("b", [Served(MODEL, "fp32", "No VNNI."), Served(lungs, "fp32", "Only one.")])
    heard = board.heard({"a", "b", "c"})
    watched = (Watched(MODEL, 40, 9, fallen_since_s=1),)
    assert standing([MODEL, lungs, ModelName("new", "1")], heard, watched) == {
        "brain-mri-tumour 1.0.0": (
            "serves in int8; serves in fp32; "
            "runs in fp32, because 9 of the last 40 shadow runs disagreed"
        ),
        "chest-xray-lungs 1.0.0": ("not served: The model failed its self-test.; serves in fp32"),
        "new 1": "no worker has said anything of it yet",
    }
    assert not_served(heard) == (failed,)
    assert board.heard({"b"}).keys() == {"b"}
    now[0] += FORGOTTEN_S + 1
    board.tell("b", [])
    assert board.heard({"a", "b"}) == {"b": ()}
    redis.hset("cds:serving", "b", "not json")
    assert board.heard({"b"}) == {"b": ()}
