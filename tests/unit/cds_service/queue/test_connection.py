"""A Redis that would lose work is refused, with what to set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from cds_service.queue.connection import refuse_unsafe, web_connection, worker_connection
from cds_service.queue.errors import QueueUnavailable, UnsafeRedis

SAFE = {
    "server": {"redis_version": "7.0.15"},
    "persistence": {"aof_enabled": 1},
    "memory": {"maxmemory_policy": "noeviction"},
}


@dataclass
class Server:
    """Answers as Redis would; `denied` commands raise as an ACL makes them."""

    facts: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(SAFE))
    config: dict[bytes, bytes] = field(
        default_factory=lambda: {b"appendonly": b"yes", b"maxmemory-policy": b"noeviction"}
    )
    denied: frozenset[str] = frozenset()
    time_s: float = 1000.0

    def info(self, section: str) -> dict[str, Any]:
        self._check("info")
        return self.facts[section]

    def config_get(self, *names: str) -> dict[bytes, bytes]:
        self._check("config")
        return {k: v for k, v in self.config.items() if k.decode() in names}

    def time(self) -> tuple[int, int]:
        self._check("time")
        return int(self.time_s), int(self.time_s % 1 * 1e6)

    def _check(self, command: str) -> None:
        if command in self.denied:
            raise NoPermissionError(f"this user has no permissions to run {command}")


def problems(server: Server, production: bool = False) -> list[str]:
    """What is found at 1000 s."""
    return refuse_unsafe(server, production, clock=lambda: 1000.0)  # type: ignore[arg-type]


def test_a_safe_redis_passes_in_production() -> None:
    assert problems(Server(), production=True) == []


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (Server(config={b"appendonly": b"no", b"maxmemory-policy": b"noeviction"}), "appendonly"),
        (Server(config={b"appendonly": b"yes", b"maxmemory-policy": b"allkeys-lru"}), "noeviction"),
        (Server(facts={**SAFE, "server": {"redis_version": "6.0.16"}}), "6.2"),
        (Server(facts={**SAFE, "server": {"redis_version": "5.0.9.1"}}), "6.2"),
        (Server(denied=frozenset({"info"})), "INFO"),
        (Server(time_s=1006.0), "NTP"),
        (Server(time_s=994.0), "NTP"),
        (
            Server(
                denied=frozenset({"config"}),
                facts={**SAFE, "persistence": {"aof_enabled": 0}},
            ),
            "appendonly",
        ),
        (
            Server(
                denied=frozenset({"config"}),
                facts={**SAFE, "memory": {"maxmemory_policy": "volatile-lru"}},
            ),
            "noeviction",
        ),
    ],
)
def test_each_danger_is_named_and_refused_in_production(server: Server, says: str) -> None:
    found = problems(server)
    assert len(found) == 1
    assert says in found[0]
    with pytest.raises(UnsafeRedis, match=says) as caught:
        problems(server, production=True)
    assert caught.value.sentences == tuple(found)


def test_without_config_info_is_believed() -> None:
    assert problems(Server(denied=frozenset({"config"}))) == []


def test_what_cannot_be_seen_is_not_believed() -> None:
    assert len(problems(Server(denied=frozenset({"config", "info"})))) == 3


def test_a_small_skew_is_no_problem() -> None:
    assert problems(Server(time_s=1004.9)) == []


def test_an_absent_redis_is_another_error() -> None:
    class Absent(Server):
        def _check(self, command: str) -> None:
            raise RedisConnectionError("refused")

    with pytest.raises(QueueUnavailable):
        problems(Absent())


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://u:p@h:1/2", "unix:///tmp/s"])
def test_web_is_impatient_and_worker_is_not(url: str) -> None:
    web = web_connection(url).connection_pool.connection_kwargs
    worker = worker_connection(url).connection_pool.connection_kwargs
    assert web["socket_timeout"] == web["socket_connect_timeout"] == 0.2
    assert web["retry"].get_retries() == 0
    assert worker["socket_timeout"] > 5
    assert worker["retry"].get_retries() > 0
