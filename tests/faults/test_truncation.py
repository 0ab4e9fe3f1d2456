"""A cut answer is never a silent success, wherever it is cut and however it is framed."""

from __future__ import annotations

import socket

import pytest

from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import Damaged, Truncated, UpstreamError
from cds_service.clients.policy import HttpPolicy, RetrievalPolicy
from cds_service.security.egress import Allowance
from tests.doubles.faulty_archive import MULTIPART, FaultyArchive, Series, body_of, whole
from tests.doubles.faulty_http import FaultyServer, Framing, Reply, Seen, answer

pytestmark = pytest.mark.faults

PATIENT = HttpPolicy(backoff_s=0.0, backoff_cap_s=0.0, deadline_s=20)


def archive(server: FaultyServer, **options: int) -> Archive:
    return Archive(
        Allowance("the archive", f"{server.base_url}/dicom-web", http_ok=True),
        policy=PATIENT,
        retrieval=RetrievalPolicy(deadline_s=20, **options),
    )


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("lengths", [True, False], ids=["part-lengths", "no-part-lengths"])
def test_every_cut_of_a_three_instance_answer_is_an_error(framing: Framing, lengths: bool) -> None:
    """Until the last part's delimiter has begun: from there on nothing of the list is missing."""
    series = Series.of(3, side=64)
    body = body_of(series.instances.values(), lengths=lengths)
    last = body.rfind(b"\r\n--bnd--") + len(b"\r\n--bnd")
    cuts = iter([*range(0, last, 1024), last - 1, len(body)])

    def retrieve(seen: Seen, instances: list[bytes]) -> Reply:
        return answer(200, body, {"Content-Type": MULTIPART + "bnd"}, framing, next(cuts))

    with FaultyServer(FaultyArchive(series, retrieve)) as server:
        one_go = archive(server, attempts=1)
        for _ in [*range(0, last, 1024), last - 1]:
            with pytest.raises(Truncated):
                list(one_go.retrieve(series.study_uid, series.series_uid))
        got = list(one_go.retrieve(series.study_uid, series.series_uid))
    assert got == list(series.instances.values())


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_after_a_cut_only_what_is_missing_is_asked_for_again(framing: Framing) -> None:
    series = Series.of(5)
    body = body_of(series.instances.values())
    held = FaultyArchive(series)

    def once(seen: Seen, instances: list[bytes]) -> Reply:
        if "/instances/" in seen.path:
            return whole(seen, instances)
        return answer(200, body, {"Content-Type": MULTIPART + "bnd"}, framing, len(body) * 3 // 5)

    held.retrieve = once
    with FaultyServer(held) as server:
        got = list(archive(server).retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())
    again = [seen.path.rpartition("/")[2] for seen in held.retrievals[1:]]
    assert again == list(series.instances)[-len(again) :]
    assert 2 <= len(again) <= 3


@pytest.mark.parametrize("in_flight", [1, 4])
def test_an_archive_that_closes_after_random_bytes_still_ends_complete(in_flight: int) -> None:
    series = Series.of(6)
    turns = iter(range(1, 1000))

    def stumbling(seen: Seen, instances: list[bytes]) -> Reply:
        turn = next(turns)
        body = body_of(instances)
        cut = len(body) if turn % 3 == 0 else turn * 997 % len(body)
        return answer(200, body, {"Content-Type": MULTIPART + "bnd"}, "close", cut)

    with FaultyServer(FaultyArchive(series, stumbling)) as server:
        one = archive(server, requests_in_flight=in_flight)
        got = list(one.retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())


def test_an_answer_that_is_closed_with_a_part_less_is_completed() -> None:
    """Orthanc ends an answer early when one instance cannot be transcoded; others just forget."""
    series = Series.of(4)

    def forgetful(seen: Seen, instances: list[bytes]) -> Reply:
        return whole(seen, instances[:-1] if len(instances) > 1 else instances)

    with FaultyServer(FaultyArchive(series, forgetful)) as server:
        got = list(archive(server).retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())


def test_an_instance_that_never_comes_is_an_error() -> None:
    series = Series.of(3)
    lost = list(series.instances)[1]

    def losing(seen: Seen, instances: list[bytes]) -> Reply:
        return whole(seen, [data for data in instances if data != series.instances[lost]])

    with FaultyServer(FaultyArchive(series, losing)) as server:
        one = archive(server, attempts=3)
        with pytest.raises(UpstreamError) as caught:
            list(one.retrieve(series.study_uid, series.series_uid))
    assert caught.value.kind == "incomplete"


def test_a_part_that_is_shorter_than_its_own_header_says_is_an_error() -> None:
    """The multipart is well-formed; the file inside ends early."""
    series = Series.of(2, side=64)

    def shortening(seen: Seen, instances: list[bytes]) -> Reply:
        body = body_of([data[:-100] for data in instances])
        return answer(200, body, {"Content-Type": MULTIPART + "bnd"})

    double = FaultyArchive(series, shortening)
    with FaultyServer(double) as server, pytest.raises(Damaged) as caught:
        list(archive(server, attempts=12).retrieve(series.study_uid, series.series_uid))
    assert not caught.value.retryable, "it lies like that in the archive"
    assert len(double.retrievals) == 2


def test_a_connection_that_is_reset_is_an_error() -> None:
    series = Series.of(2)

    def reset(seen: Seen, instances: list[bytes]) -> Reply:
        def reply(connection: socket.socket) -> None:
            answer(200, body_of(instances), {"Content-Type": MULTIPART + "bnd"}, "close", 3000)(
                connection
            )
            linger = b"\1\0\0\0\0\0\0\0"  # on, 0 s: close() sends RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

        return reply

    with (
        FaultyServer(FaultyArchive(series, reset)) as server,
        pytest.raises(UpstreamError) as caught,
    ):
        list(archive(server, attempts=1).retrieve(series.study_uid, series.series_uid))
    assert caught.value.retryable
