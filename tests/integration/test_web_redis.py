"""What the web process keeps in a real Redis, and what happens when that Redis freezes."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cds_service.queue.connection import web_connection
from cds_service.security.errors import InvalidToken
from cds_service.security.jwt import LEEWAY_S, Caller
from cds_service.security.replay import PREFIX, UsedTokens
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, Site, patient_view, settings
from tests.peers.redis import Redis

pytestmark = pytest.mark.peer


def test_of_a_thousand_copies_of_a_token_exactly_one_passes(redis_server: Redis) -> None:
    redis = web_connection(redis_server.url)
    redis.flushdb()
    used, caller = UsedTokens(redis, time.time), Caller(ehr.tenant(), "copy", time.time() + 300)

    def passes(_: int) -> bool:
        try:
            used.use(caller)
        except InvalidToken:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(passes, range(1000))) == 1
    (name,) = redis.scan_iter(f"{PREFIX}*")
    assert 300 + LEEWAY_S <= redis.ttl(name) <= 305 + LEEWAY_S


def test_a_frozen_redis_is_answered_in_less_than_half_a_second(redis_server: Redis) -> None:
    redis = web_connection(redis_server.url)
    at = Site(settings())
    at.redis = redis  # type: ignore[assignment]  # the real thing in the place of its double
    client = at.client()
    warm = client.post(PATIENT_VIEW, json=patient_view(), headers=at.ehr.bearer(PATIENT_VIEW))
    assert warm.status_code == 200
    pid = redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    took_s = []
    try:
        for _ in range(3):
            headers, started = at.ehr.bearer(PATIENT_VIEW), time.perf_counter()
            answer = client.post(PATIENT_VIEW, json=patient_view(), headers=headers)
            took_s.append(time.perf_counter() - started)
            (card,) = answer.get_json()["cards"]
            assert card["summary"] == "AI analysis is not available at the moment"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert min(took_s) < 0.5
