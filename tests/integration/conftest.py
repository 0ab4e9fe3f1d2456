"""What the tests of the queue share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import web_connection


@pytest.fixture(scope="module", params=["valkey_factory", "redis_factory"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of the two servers that a queue can live in, in turn."""
    return request.getfixturevalue(request.param)()


@pytest.fixture
def connection(server: Any) -> Iterator[Redis]:
    """An impatient connection to an empty server."""
    client = web_connection(server.url)
    client.flushall()
    yield client
    client.close()
