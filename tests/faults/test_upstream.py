"""Peers that dribble, bomb, throttle, fail, redirect and lie (reliability.md B3-B8, E3)."""

from __future__ import annotations

import json
import resource
import threading
import time
from pathlib import Path

import pytest

from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import (
    BadAnswer,
    CircuitOpen,
    ForeignInstance,
    Incomplete,
    RedirectRefused,
    ServerError,
    Throttled,
    TimedOut,
    TooLarge,
    Unreachable,
    UpstreamError,
)
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import MIB, Breaker, HttpPolicy, RetrievalPolicy
from cds_service.security.egress import Allowance
from tests.doubles.faulty_archive import MULTIPART, FaultyArchive, Series, body_of, make_instance
from tests.doubles.faulty_http import (
    FaultyServer,
    Reply,
    Seen,
    answer,
    dribble,
    endless,
    gzip_bomb,
    hang_up,
    in_turn,
    json_answer,
    redirect,
    silence,
)

pytestmark = pytest.mark.faults

GET = Request("GET", "thing")
NO_WAIT = {"backoff_s": 0.0, "backoff_cap_s": 0.0}


def client(server: FaultyServer, policy: HttpPolicy, **options: object) -> HttpClient:
    base = Allowance("the peer", server.base_url, http_ok=True)
    return HttpClient(base, policy=policy, **options)  # type: ignore[arg-type]  # options of one test


@pytest.mark.parametrize("in_head", [False, True], ids=["in the body", "in the headers"])
def test_a_dribbling_server_is_given_up_at_the_deadline(in_head: bool) -> None:
    """requests' own timeout=1 took 14.5 s here, for it holds for one read."""
    with FaultyServer(lambda seen: dribble(b" " * 300, 0.1, in_head=in_head)) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client(server, HttpPolicy(deadline_s=1.5)).send(GET)
        assert 1.3 < time.monotonic() - begun < 8  # of the 30 s that it takes


def test_a_silent_server_is_given_up_after_the_silence_that_is_borne() -> None:
    with FaultyServer(lambda seen: silence(20)) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client(server, HttpPolicy(deadline_s=10, silence_s=0.3, attempts=1)).send(GET)
        assert time.monotonic() - begun < 8


def test_a_body_below_the_rate_floor_is_given_up() -> None:
    policy = HttpPolicy(silence_s=0.5, rate_floor_bytes_per_s=1000, attempts=1)
    with FaultyServer(lambda seen: dribble(b" " * 300, 0.05)) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client(server, policy).send(GET)
        assert time.monotonic() - begun < 8


def test_a_gzip_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip_bomb(300 * MIB)
    with FaultyServer(lambda seen: bomb) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TooLarge):
            client(server, HttpPolicy(bytes_cap=8 * MIB)).send(GET)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_an_answer_without_end_is_cut_at_the_cap() -> None:
    with FaultyServer(lambda seen: endless(b"x" * 65536)) as server, pytest.raises(TooLarge):
        client(server, HttpPolicy(bytes_cap=2 * MIB)).send(GET)


def test_five_times_429_and_then_200_ends_well() -> None:
    slow_down = answer(429, headers={"Retry-After": "0"})
    replies = in_turn(*[slow_down] * 5, json_answer("{}"))
    with FaultyServer(replies) as server:
        got = client(server, HttpPolicy(**NO_WAIT)).send(GET)
        assert got.status == 200
        assert len(server.seen) <= 7


def test_retry_after_is_waited_for_and_a_long_one_ends_the_call() -> None:
    waits: list[float] = []
    replies = in_turn(answer(503, headers={"Retry-After": "7"}), json_answer("{}"))
    with FaultyServer(replies) as server:
        client(server, HttpPolicy(**NO_WAIT), sleep=waits.append).send(GET)
    assert waits == [7.0]
    with FaultyServer(lambda seen: answer(429, headers={"Retry-After": "3600"})) as server:
        with pytest.raises(Throttled) as caught:
            client(server, HttpPolicy(), sleep=waits.append).send(GET)
        assert caught.value.retry_after_s == 3600
        assert len(server.seen) == 1


def test_a_failing_server_is_left_alone_after_a_while() -> None:
    """100 calls against a server that answers 500: it sees at most 20 requests."""
    with FaultyServer(lambda seen: answer(500)) as server:
        one = client(server, HttpPolicy(attempts=2, **NO_WAIT))
        kinds = set()
        for _ in range(100):
            with pytest.raises(UpstreamError) as caught:
                one.send(GET)
            kinds.add(type(caught.value))
        assert len(server.seen) <= 20
        assert kinds == {ServerError, CircuitOpen}


def test_a_closed_circuit_lets_one_call_through_after_its_rest() -> None:
    now = [0.0]
    replies = in_turn(*[answer(500)] * 3, json_answer("{}"))
    with FaultyServer(replies) as server:
        breaker = Breaker(limit=3, rest_s=10, clock=lambda: now[0])
        one = client(server, HttpPolicy(attempts=1), breaker=breaker)
        for _ in range(3):
            with pytest.raises(ServerError):
                one.send(GET)
        with pytest.raises(CircuitOpen):
            one.send(GET)
        now[0] = 11.0
        assert one.send(GET).status == 200
        assert one.send(GET).status == 200


def test_what_may_not_be_repeated_is_sent_once() -> None:
    with FaultyServer(lambda seen: answer(500)) as server:
        with pytest.raises(ServerError):
            client(server, HttpPolicy(**NO_WAIT)).send(Request("POST", "thing", body=b"{}"))
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_other_server_sees_nothing(status: int) -> None:
    with FaultyServer() as second:
        with FaultyServer(lambda seen: redirect(f"{second.base_url}/x", status)) as first:
            keys = FixedHeaders({"X-Api-Key": "K", "Authorization": "Bearer T"})
            with pytest.raises(RedirectRefused):
                client(first, HttpPolicy(), credential=keys).send(GET)
            assert len(first.seen) == 1
        assert second.connections == 0


def test_proxies_and_netrc_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    with FaultyServer() as proxy, FaultyServer(lambda seen: json_answer("{}")) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        client(server, HttpPolicy()).send(GET)
        assert proxy.connections == 0
        assert "authorization" not in server.seen[0].headers
        assert server.seen[0].headers["accept-encoding"] == "identity"


def test_cookies_are_not_kept() -> None:
    with FaultyServer(lambda seen: json_answer("{}")) as server:
        one = client(server, HttpPolicy())
        one.send(GET)
        one.send(GET)
        assert all("cookie" not in seen.headers for seen in server.seen)


def test_a_connection_that_closes_before_it_answers_is_unreachable_and_tried_again() -> None:
    with FaultyServer(in_turn(hang_up(), json_answer("{}"))) as server:
        assert client(server, HttpPolicy(**NO_WAIT)).send(GET).status == 200
    gone = FaultyServer()
    gone.__enter__()
    gone.__exit__(None, None, None)
    with pytest.raises(Unreachable):
        client(gone, HttpPolicy(attempts=1)).send(GET)


def test_one_client_serves_many_threads() -> None:
    with FaultyServer(lambda seen: json_answer(f'"{seen.path}"')) as server:
        one = client(server, HttpPolicy())
        got: dict[int, object] = {}

        def ask(number: int) -> None:
            got[number] = one.send(Request("GET", f"t/{number}")).json("the peer")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {number: f"/t/{number}" for number in range(24)}


def archive(server: FaultyServer) -> Archive:
    return Archive(
        Allowance("the archive", server.base_url, http_ok=True),
        policy=HttpPolicy(**NO_WAIT),
        retrieval=RetrievalPolicy(deadline_s=10, attempts=2),
    )


def test_an_instance_of_another_series_ends_the_retrieval() -> None:
    series = Series.of(3)
    stranger = make_instance(series.study_uid, "1.2.3.99")

    def mixing(seen: Seen, instances: list[bytes]) -> Reply:
        return answer(200, body_of([*instances, stranger]), {"Content-Type": MULTIPART + "bnd"})

    with FaultyServer(FaultyArchive(series, mixing)) as server, pytest.raises(ForeignInstance):
        list(archive(server).retrieve(series.study_uid, series.series_uid))


def test_an_instance_that_is_not_listed_ends_the_retrieval() -> None:
    series = Series.of(3)
    held = FaultyArchive(series, listed=list(series.instances)[:2])
    with FaultyServer(held) as server, pytest.raises(ForeignInstance):
        list(archive(server).retrieve(series.study_uid, series.series_uid))


@pytest.mark.parametrize(("headers", "fault"), [(3, None), (4, Incomplete), (2, ForeignInstance)])
def test_a_list_that_is_capped_without_a_word_is_compared_with_the_headers(
    headers: int, fault: type[UpstreamError] | None
) -> None:
    """Orthanc with LimitFindInstances: 51 are listed, the rest of the series comes all the same."""
    series = Series.of(3)
    held = FaultyArchive(series, listed=list(series.instances)[:2])
    uids = [*series.instances, "1.2.3.4"][:headers]
    rows = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]

    def capped(seen: Seen) -> Reply:
        if seen.path.endswith("/metadata"):
            return json_answer(json.dumps(rows), "application/dicom+json")
        return held(seen)

    with FaultyServer(capped) as server:
        arriving = archive(server).retrieve(series.study_uid, series.series_uid)
        if fault is None:
            assert sorted(arriving) == sorted(series.instances.values())
        else:
            with pytest.raises(fault):
                list(arriving)


def test_an_instance_that_is_stored_meanwhile_is_welcome() -> None:
    series = Series.of(3)
    held = FaultyArchive(series, listed=list(series.instances)[:2])

    def later(seen: Seen, instances: list[bytes]) -> Reply:
        held.listed = None
        return answer(200, body_of(instances), {"Content-Type": MULTIPART + "bnd"})

    held.retrieve = later
    with FaultyServer(held) as server:
        got = list(archive(server).retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())


def test_an_instance_that_comes_twice_is_given_once() -> None:
    series = Series.of(2)

    def twice(seen: Seen, instances: list[bytes]) -> Reply:
        body = body_of([*instances, *instances])
        return answer(200, body, {"Content-Type": MULTIPART + "bnd"})

    with FaultyServer(FaultyArchive(series, twice)) as server:
        got = list(archive(server).retrieve(series.study_uid, series.series_uid))
    assert got == list(series.instances.values())


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("text/html", b"<html>Log in</html>"),
        ("application/fhir+xml", b"<Patient/>"),
        ("application/fhir+json", b'{"resourceType": "Patient"'),
        ("application/fhir+json", b"[" * 200_000),
        ("application/fhir+json", b"null"),
        ("application/fhir+json", b'{"resourceType": "Observation", "id": "1"}'),
        ("application/fhir+json", b'{"resourceType": "Patient", "id": "2"}'),
        ("application/fhir+json", b"\xff\xfe\x00"),
    ],
)
def test_a_fhir_server_that_answers_something_else_is_a_clear_error(
    media: str, body: bytes
) -> None:
    with FaultyServer(lambda seen: json_answer(body, media)) as server:
        fhir = FhirServer(Allowance("the EHR", server.base_url, http_ok=True))
        begun = time.monotonic()
        with pytest.raises(BadAnswer):
            fhir.read("Patient/1")
        assert time.monotonic() - begun < 8
