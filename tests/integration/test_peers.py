"""The queue's peers start, keep an append-only file, and come back with what they had."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.peers.redis import Redis
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("factory", ["redis_factory", "valkey_factory"])
def test_a_killed_server_comes_back_with_what_it_had(
    request: pytest.FixtureRequest, factory: str
) -> None:
    start: Callable[..., Redis | Valkey] = request.getfixturevalue(factory)
    peer = start(fsync="always")
    with redis.Redis.from_url(peer.url) as client:
        client.set("kept", "1")
    peer.process.kill()
    peer.process.start()
    with redis.Redis.from_url(peer.url) as client:
        assert client.get("kept") == b"1"
