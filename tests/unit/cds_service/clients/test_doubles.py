"""The doubles do what they say: seen with an ordinary client, which falls for each of them."""

from __future__ import annotations

import socket
import time

import pytest
import requests

from tests.doubles.faulty_archive import MULTIPART, FaultyArchive, Series, body_of
from tests.doubles.faulty_http import (
    FaultyServer,
    answer,
    dribble,
    endless,
    gzip_bomb,
    hang_up,
    in_turn,
    redirect,
)


def get(server: FaultyServer, **options: float) -> requests.Response:
    return requests.get(f"{server.base_url}/x?y=1", timeout=options.get("timeout", 5))


def test_a_close_delimited_cut_looks_like_success_to_requests() -> None:
    body = body_of(Series.of(3).instances.values())
    cut = answer(200, body, {"Content-Type": MULTIPART + "bnd"}, "close", len(body) // 2)
    with FaultyServer(lambda seen: cut) as server:
        got = get(server)
    assert got.status_code == 200
    assert len(got.content) == len(body) // 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_framed_cut_breaks_off(framing: str) -> None:
    cut = answer(200, b"x" * 10_000, {}, framing, 5000)  # type: ignore[arg-type]  # of two literals
    with (
        FaultyServer(lambda seen: cut) as server,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        get(server)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_without_a_cut_the_whole_body_comes(framing: str) -> None:
    whole = answer(200, b"x" * 10_000, {}, framing)  # type: ignore[arg-type]  # of three literals
    with FaultyServer(lambda seen: whole) as server:
        assert get(server).content == b"x" * 10_000


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_client_that_goes_away_ends_its_connection(sent: bytes) -> None:
    with FaultyServer() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(sent)
            while server.connections == 0:
                time.sleep(0.01)
        until = time.monotonic() + 10
        while server.open_connections and time.monotonic() < until:
            time.sleep(0.01)
        assert server.open_connections == 0
    assert server.seen == []


def test_an_endless_answer_ends_with_its_server() -> None:
    with FaultyServer(lambda seen: endless(b"x")) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(100)
    with client:
        while client.recv(1 << 20):
            pass


def test_a_dribble_passes_the_timeout_of_requests() -> None:
    with FaultyServer(lambda seen: dribble(b"12345", 0.2)) as server:
        begun = time.monotonic()
        assert get(server, timeout=0.5).content == b"12345"
        assert time.monotonic() - begun > 0.7


def test_a_bomb_is_small_on_the_wire_and_large_in_memory() -> None:
    with FaultyServer(lambda seen: gzip_bomb(4 << 20)) as server:
        got = get(server)
    assert int(got.headers["content-length"]) < 10_000
    assert len(got.content) == 4 << 20


def test_a_redirect_is_followed_by_requests_with_the_key() -> None:
    with FaultyServer(lambda seen: answer(200)) as second:
        with FaultyServer(lambda seen: redirect(f"{second.base_url}/z")) as first:
            requests.get(first.base_url, headers={"X-Api-Key": "K"}, timeout=5)
        assert second.seen[0].headers["x-api-key"] == "K"
        assert second.connections == 1


def test_what_was_seen_is_noted_and_replies_come_in_turn() -> None:
    with FaultyServer(in_turn(answer(429), answer(200))) as server:
        assert [get(server).status_code for _ in range(3)] == [429, 200, 200]
        assert (server.seen[0].method, server.seen[0].path, server.seen[0].query) == (
            "GET",
            "/x",
            "y=1",
        )


def test_a_hang_up_is_a_closed_connection() -> None:
    closing = FaultyServer(lambda seen: hang_up())
    with closing as server, pytest.raises(requests.exceptions.ConnectionError):
        get(server)


def test_the_archive_lists_what_it_holds() -> None:
    series = Series.of(3)
    with FaultyServer(FaultyArchive(series)) as server:
        listed = requests.get(f"{server.base_url}/studies/1/series/2/instances", timeout=5).json()
        assert [row["00080018"]["Value"][0] for row in listed] == list(series.instances)
