"""Connections to Redis: impatient for the web, patient for the worker; unsafe ones refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from cds_service.queue.errors import UnsafeRedis, redis_reached

WEB_TIMEOUT_S = 0.2
"""A hook has about 500 ms; a frozen Redis must cost less than half of it."""

OLDEST = (6, 2, 0)
"""LMOVE, without which a job popped by a killed worker is lost, came with 6.2."""

SKEW_S = 5.0


def web_connection(url: str) -> Redis:
    """A connection that gives up after 200 ms and never tries again by itself.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
    """
    return Redis.from_url(
        url,
        socket_timeout=WEB_TIMEOUT_S,
        socket_connect_timeout=WEB_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def worker_connection(url: str) -> Redis:
    """A connection that waits for blocking pops and reconnects after a restart of Redis."""
    keepalive = {} if url.startswith("unix://") else {"socket_keepalive": True}
    return Redis.from_url(
        url,
        socket_timeout=15,
        socket_connect_timeout=2,
        health_check_interval=15,
        **keepalive,
        retry=Retry(
            ExponentialBackoff(cap=0.5, base=0.05), 2, supported_errors=(RedisConnectionError,)
        ),
    )


def refuse_unsafe(
    connection: Redis, production: bool, clock: Callable[[], float] = time.time
) -> list[str]:
    """Look at Redis with this user's eyes for whatever would lose work.

    Returns:
        One sentence for each problem, saying what to set; outside production they are warnings.

    Raises:
        UnsafeRedis: in production, if there is a problem.
        QueueUnavailable: Redis does not answer.
    """
    with redis_reached():
        problems = [
            *_version_problems(connection),
            *_memory_problems(connection),
            *_skew_problems(connection, clock),
        ]
    if problems and production:
        raise UnsafeRedis(problems)
    return problems


def _version_problems(connection: Redis) -> list[str]:
    """RQ takes a denied INFO for version 5.0.9 and falls back to a pop that loses jobs."""
    try:
        text = str(connection.info("server")["redis_version"])
    except ResponseError:
        return ["the Redis user may not call INFO: add +info to its ACL"]
    version = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
    if version < OLDEST:
        return [f"Redis {text} is too old: 6.2 or newer, or any Valkey, is needed"]
    return []


def _memory_problems(connection: Redis) -> list[str]:
    wanted = {
        "appendonly": ("yes", "Redis forgets its jobs when it restarts: set appendonly yes"),
        "maxmemory-policy": (
            "noeviction",
            "Redis drops jobs when memory is short: set maxmemory-policy noeviction",
        ),
    }
    found = _configured(connection)
    return [sentence for name, (value, sentence) in wanted.items() if found.get(name) != value]


def _configured(connection: Redis) -> dict[str, str]:
    """The two settings, from CONFIG where the ACL allows it, else from INFO."""
    try:
        names = ("appendonly", "maxmemory-policy")
        config: Mapping[Any, Any] = connection.config_get(*names)
        texts = {text_of(name): text_of(value) for name, value in config.items()}
        if set(names) <= set(texts):
            return texts
    except ResponseError:
        pass
    try:
        persistence, memory = connection.info("persistence"), connection.info("memory")
    except ResponseError:
        return {}
    return {
        "appendonly": "yes" if int(persistence.get("aof_enabled", 0)) else "no",
        "maxmemory-policy": str(memory.get("maxmemory_policy", "")),
    }


def _skew_problems(connection: Redis, clock: Callable[[], float]) -> list[str]:
    seconds, microseconds = connection.time()
    skew_s = clock() - (seconds + microseconds / 1e6)
    if abs(skew_s) > SKEW_S:
        return [f"this clock and that of Redis are {abs(skew_s):.0f} s apart: run NTP on both"]
    return []


def text_of(value: object) -> str:
    """What Redis answered, as text: bytes that are no UTF-8 are no error, and match nothing."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
