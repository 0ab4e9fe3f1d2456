"""Fixtures that start real peers; a test whose peer is absent is skipped with the reason.

Each starts on a free loopback port with an empty store in a folder of the test session, and is
ended by its pid. ``orthanc``, ``tiny_pacs`` and ``sekmet`` live for the module; the ``..._factory``
fixtures make as many as a test wants, with options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import pytest

from tests.peers import chromium as _chromium
from tests.peers import orthanc as _orthanc
from tests.peers import redis as _redis
from tests.peers import sekmet as _sekmet
from tests.peers import tiny_pacs as _tiny_pacs
from tests.peers import valkey as _valkey
from tests.peers.process import Process


class Peer(Protocol):
    """What has a process."""

    process: Process


P = TypeVar("P", bound=Peer)


@contextmanager
def _factory(
    make: Callable[..., P], missing: Callable[[], str | None], folders: pytest.TempPathFactory
) -> Iterator[Callable[..., P]]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    started: list[P] = []

    def start(**options: Any) -> P:
        peer = make(folders.mktemp(make.__name__.lower()), **options)
        started.append(peer)
        peer.process.start()
        return peer

    try:
        yield start
    finally:
        for peer in started:
            peer.process.stop()


@pytest.fixture(scope="module")
def orthanc_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., _orthanc.Orthanc]]:
    """Starts Orthancs; option: ``users``."""
    with _factory(_orthanc.Orthanc, _orthanc.missing, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def orthanc(orthanc_factory: Callable[..., _orthanc.Orthanc]) -> _orthanc.Orthanc:
    """An Orthanc without authentication."""
    return orthanc_factory()


@pytest.fixture(scope="module")
def tiny_pacs_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., _tiny_pacs.TinyPacs]]:
    """Starts tiny-pacs servers; option: ``token``."""
    with _factory(_tiny_pacs.TinyPacs, _tiny_pacs.missing, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def tiny_pacs(tiny_pacs_factory: Callable[..., _tiny_pacs.TinyPacs]) -> _tiny_pacs.TinyPacs:
    """A tiny-pacs that wants a bearer token (``tiny_pacs.token``)."""
    return tiny_pacs_factory(token="a-token-of-the-archive")


@pytest.fixture(scope="module")
def sekmet_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., _sekmet.Sekmet]]:
    """Starts sekmet servers; options: ``clients``, ``token_lifetime_s``, ``port``."""
    with _factory(_sekmet.Sekmet, _sekmet.missing, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def sekmet(sekmet_factory: Callable[..., _sekmet.Sekmet]) -> _sekmet.Sekmet:
    """A sekmet without authentication."""
    return sekmet_factory()


@pytest.fixture(scope="module")
def redis_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., _redis.Redis]]:
    """Starts redis-servers; option: ``fsync``."""
    with _factory(_redis.Redis, _redis.missing, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def redis_server(redis_factory: Callable[..., _redis.Redis]) -> _redis.Redis:
    """A redis-server with its append-only file on."""
    return redis_factory()


@pytest.fixture(scope="module")
def valkey_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., _valkey.Valkey]]:
    """Starts Valkey servers from the wheel; option: ``fsync``."""
    with _factory(_valkey.Valkey, _valkey.missing, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def valkey_server(valkey_factory: Callable[..., _valkey.Valkey]) -> _valkey.Valkey:
    """A Valkey from the wheel."""
    return valkey_factory()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; not for longer, as its driver keeps the thread's event loop."""
    with _chromium.chromium() as started:
        yield started


@pytest.fixture
def tabs(browser: Any) -> Iterator[Any]:
    """Opens tabs (`tests.peers.chromium.Tab`) that are closed after the test."""
    with _chromium.tabs_of(browser) as new:
        yield new
