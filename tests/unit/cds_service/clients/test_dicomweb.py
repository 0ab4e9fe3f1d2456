"""Queries of an archive: paging, what is filled in, what is refused. Retrieval: tests/faults."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cds_service.bootstrap import Site
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import BadAnswer, Incomplete, Rejected, TooLarge, Truncated
from cds_service.clients.policy import HttpPolicy, RetrievalPolicy
from cds_service.clients.quirks import ANY_SYNTAX, MULTIPART, SINGLE, Quirk
from cds_service.security.egress import Allowance
from cds_service.settings import ArchiveSettings, Settings
from tests.doubles.faulty_archive import MULTIPART as SENT
from tests.doubles.faulty_archive import FaultyArchive, Series, body_of, whole
from tests.doubles.faulty_http import FaultyServer, Reply, Respond, Seen, answer, json_answer

DICOM_JSON = "application/dicom+json"


STANDARD = Quirk()


def archive(server: FaultyServer, quirk: Quirk = STANDARD, **bounds: int) -> Archive:
    return Archive(
        Allowance("the archive", f"{server.base_url}/dw", http_ok=True),
        policy=HttpPolicy(backoff_s=0, backoff_cap_s=0),
        retrieval=RetrievalPolicy(deadline_s=10, **bounds),
        quirk=quirk,
    )


@pytest.mark.parametrize("written", ["/dw", "/dw/", "/dw/studies", "/dw/studies/"])
def test_one_base_is_asked_however_it_is_written(written: str) -> None:
    with FaultyServer(lambda seen: answer(204)) as server:
        named = ArchiveSettings(name="pacs", base_url=f"{server.base_url}{written}")
        site = Site(Settings(environment="development", archives=(named,)))
        assert site.outside.archive(site.settings.archives[0]).series("1.2") == ()
        assert [seen.path for seen in server.seen] == ["/dw/studies/1.2/series"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_study_that_the_archive_does_not_know_has_no_series(status: int) -> None:
    """PS3.18 10.6 knows no 404 for a search; some archives answer so about a study yet to come."""
    with FaultyServer(lambda seen: answer(status)) as server:
        assert archive(server).series("1.2") == ()


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("listing", [answer(404), answer(204), json_answer("[]", DICOM_JSON)])
def test_a_series_without_instances_may_get_them_later(listing: Reply, in_flight: int) -> None:
    with FaultyServer(lambda seen: listing if "instances" in seen.path else answer(404)) as server:
        with pytest.raises(Incomplete) as caught:
            list(archive(server, requests_in_flight=in_flight).retrieve("1.2", "1.2.3"))
        assert caught.value.retryable


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_listed_instance_that_is_not_there_may_come_later(in_flight: int) -> None:
    """An index that is ahead of its store; asked again by the next attempt, not at once."""
    series = Series.of(3)
    double = FaultyArchive(series, listed=[*series.instances, "1.2.3.4"])
    with FaultyServer(double) as server:
        one = archive(server, requests_in_flight=in_flight, attempts=12)
        with pytest.raises(Incomplete) as caught:
            list(one.retrieve(series.study_uid, series.series_uid))
        assert caught.value.retryable
        assert sum("1.2.3.4" in seen.path for seen in double.retrievals) == 1


@pytest.mark.parametrize("status", [204, 404, 405, 413, 500, 501])
def test_an_archive_that_gives_no_series_in_one_answer_is_asked_for_instances(status: int) -> None:
    series = Series.of(3)

    def single(seen: Seen, instances: list[bytes]) -> Reply:
        return whole(seen, instances) if "/instances/" in seen.path else answer(status)

    with FaultyServer(FaultyArchive(series, single)) as server:
        got = list(archive(server).retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())


@pytest.mark.parametrize("in_flight", [1, 4])
def test_an_answer_that_calls_itself_a_part_is_completed_by_name(in_flight: int) -> None:
    """206 of WADO-RS: some of the instances are not in this answer (PS3.18 10.4.3)."""
    series = Series.of(3)

    def partly(seen: Seen, instances: list[bytes]) -> Reply:
        return answer(206, body_of(instances[:2]), {"Content-Type": SENT + "bnd"})

    with FaultyServer(FaultyArchive(series, partly)) as server:
        one = archive(server, requests_in_flight=in_flight)
        got = list(one.retrieve(series.study_uid, series.series_uid))
    assert sorted(got) == sorted(series.instances.values())


def test_bytes_of_an_instance_that_call_themselves_a_part_are_not_taken() -> None:
    series = Series.of(1)

    def partly(seen: Seen, instances: list[bytes]) -> Reply:
        return answer(206, instances[0], {"Content-Type": "application/dicom"})

    with FaultyServer(FaultyArchive(series, partly)) as server:
        one = archive(server, attempts=2)
        with pytest.raises(Truncated):
            list(one.retrieve(series.study_uid, series.series_uid))


def test_an_archive_that_refuses_includefield_is_asked_without_and_remembered() -> None:
    series = Series.of(2)
    double = FaultyArchive(series)

    def strict(seen: Seen) -> Reply:
        return answer(400) if "includefield" in seen.query else double(seen)

    with FaultyServer(strict) as server:
        one = archive(server)
        assert [each.modality for each in one.series(series.study_uid)] == ["MR"]
        assert one.find_study(study_uid=series.study_uid)
        assert sum("includefield" in seen.query for seen in server.seen) == 1


def ui(*uids: str) -> dict[str, object]:
    return {"vr": "UI", "Value": list(uids)}


def paged(
    total: int, cap: int, warn: bool = False, offset: str = "honoured", part: int = 200
) -> Respond:
    """Lists `total` instances, at most `cap` at once."""

    def respond(seen: Seen) -> Reply:
        query = dict(pair.split("=") for pair in seen.query.split("&") if pair)
        start = int(query.get("offset", 0))
        if start and offset == "rejected":
            return answer(400)
        start = 0 if offset == "ignored" else start
        size = min(cap, int(query.get("limit", cap)))
        rows = [{"00080018": ui(f"1.2.{n}")} for n in range(start, min(total, start + size))]
        more = {"Warning": '299 x "There are more"'} if warn and start + size < total else {}
        if not rows:
            return answer(204)
        body = json.dumps(rows).encode()
        status = part if start + size < total else 200
        return answer(status, body, {"Content-Type": DICOM_JSON, **more})

    return respond


@pytest.mark.parametrize(
    ("respond", "quirk", "count"),
    [
        (paged(7, 1000), Quirk(), 7),
        (paged(0, 1000), Quirk(), 0),
        (paged(100, 1000), Quirk(), 100),
        (paged(250, 100), Quirk(), 250),
        (paged(25, 10, warn=True), Quirk(), 25),
        (paged(25, 10, part=206), Quirk(), 25),
        (paged(25, 1000), Quirk(page_size=10), 25),
        (paged(30, 1000), Quirk(page_size=10), 30),
        (paged(100, 1000, offset="ignored"), Quirk(), 100),
        (paged(100, 1000, offset="rejected"), Quirk(), 100),
    ],
)
def test_every_page_of_a_list_is_read(respond: Respond, quirk: Quirk, count: int) -> None:
    with FaultyServer(respond) as server:
        assert len(archive(server, quirk).instances("1.2", "1.2.3")) == count


@pytest.mark.parametrize("offset", ["ignored", "rejected"])
def test_a_list_whose_rest_cannot_be_had_is_an_error(offset: str) -> None:
    served = FaultyServer(paged(25, 10, warn=True, offset=offset))
    with served as server, pytest.raises((BadAnswer, Rejected)):
        archive(server).instances("1.2", "1.2.3")


def test_query_values_keep_what_archives_do_not_decode() -> None:
    """Orthanc compares percent-encoded text literally and silently finds nothing."""
    with FaultyServer(lambda seen: answer(204)) as server:
        assert archive(server).find_study(accession="A*1/2,3") == ()
        assert "AccessionNumber=A*1/2,3&includefield=" in server.seen[0].query
        assert "%2C" not in server.seen[0].query


def test_a_value_cannot_add_a_key_of_its_own() -> None:
    with FaultyServer(lambda seen: answer(204)) as server:
        archive(server).find_study(accession="A&PatientID=*#x")
        assert "AccessionNumber=A%26PatientID%3D*%23x&" in server.seen[0].query


def test_a_study_that_does_not_match_the_key_is_not_taken() -> None:
    """Some archives answer a key that they do not know with everything."""
    rows = [
        {"0020000D": ui("1.2.1"), "00080050": {"vr": "SH", "Value": ["A1"]}},
        {"0020000D": ui("1.2.2"), "00080050": {"vr": "SH", "Value": ["A12"]}},
        {"0020000D": ui("1.2.3"), "00080050": {"vr": "SH"}},
    ]
    with FaultyServer(lambda seen: json_answer(json.dumps(rows), DICOM_JSON)) as server:
        (study,) = archive(server).find_study(accession="A1")
        assert study.study_uid == "1.2.1"
        with pytest.raises(ValueError, match="accession"):
            archive(server).find_study()


def sparse(kind: str) -> Respond:
    """A series list without modality and count; the rest is where `kind` says."""
    full = {
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00180015": {"vr": "CS", "Value": ["CHEST"]},
        "0008103E": {"vr": "LO", "Value": ["axial"]},
    }
    series = {"0020000D": ui("1.2"), "0020000E": ui("1.2.3")}

    def respond(seen: Seen) -> Reply:
        if seen.path.endswith("/series"):
            rows = [series]
        elif seen.path.endswith("/instances"):
            more = full if kind == "instances" else {}
            rows = [{**series, **more, "00080018": ui(f"1.2.3.{n}")} for n in range(3)]
        elif seen.path.endswith("/metadata") and kind == "metadata":
            rows = [{**series, **full, "00080018": ui("1.2.3.0")}]
        else:
            return answer(404)
        return json_answer(json.dumps(rows), DICOM_JSON)

    return respond


@pytest.mark.parametrize(
    ("kind", "modality", "body_part"),
    [("instances", "CT", "CHEST"), ("metadata", "CT", "CHEST"), ("nowhere", None, None)],
)
def test_what_the_list_of_series_leaves_out_is_looked_up(
    kind: str, modality: str | None, body_part: str | None
) -> None:
    with FaultyServer(sparse(kind)) as server:
        (facts,) = archive(server).series("1.2")
        assert (facts.modality, facts.body_part, facts.instances) == (modality, body_part, 3)


@pytest.mark.parametrize(
    "body",
    ['{"x": 1}', "[1]", "null", '[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]', "<html/>"],
)
def test_an_answer_of_another_shape_is_a_bad_answer(body: str) -> None:
    served = FaultyServer(lambda seen: json_answer(body, DICOM_JSON))
    with served as server, pytest.raises(BadAnswer):
        archive(server).series("1.2")


@pytest.mark.parametrize("uid", ["", "..", "1.2/../..", "1.2?x", "1.2\n", "a.b", "1" * 65])
def test_what_is_no_uid_is_never_put_into_a_path(uid: str) -> None:
    with FaultyServer(lambda seen: answer(204)) as server:
        one = archive(server)
        calls: list[Callable[[], object]] = [
            lambda: one.series(uid),
            lambda: one.instances("1.2", uid),
            lambda: one.metadata(uid, "1.2"),
            lambda: list(one.retrieve("1.2", uid)),
            lambda: one.find_study(study_uid=uid),
        ]
        for call in calls:
            with pytest.raises(Rejected):
                call()
        assert server.connections == 0


def accepting(*accepted: str) -> Callable[[Seen, list[bytes]], Reply]:
    """An archive that offers only these types."""

    def retrieve(seen: Seen, instances: list[bytes]) -> Reply:
        if seen.headers["accept"] not in accepted:
            return answer(406 if len(accepted) == 1 else 400)
        if seen.headers["accept"].startswith("multipart"):
            return whole(seen, instances)
        if len(instances) > 1:
            return answer(406)
        return answer(200, instances[0], {"Content-Type": "application/dicom"})

    return retrieve


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("accepted", [(ANY_SYNTAX,), (MULTIPART,), (SINGLE,), (MULTIPART, SINGLE)])
def test_an_archive_is_asked_in_the_way_that_it_accepts(
    accepted: tuple[str, ...], in_flight: int
) -> None:
    series = Series.of(4)
    held = FaultyArchive(series, accepting(*accepted))
    with FaultyServer(held) as server:
        one = archive(server, requests_in_flight=in_flight)
        got = list(one.retrieve(series.study_uid, series.series_uid))
        assert sorted(got) == sorted(series.instances.values())
        assert one.quirk.accepts[0] == accepted[0]
        before = len(held.retrievals)
        list(one.retrieve(series.study_uid, series.series_uid))
        assert len(held.retrievals) - before <= 1 + len(series.instances)


def test_an_archive_that_offers_nothing_that_we_read_is_an_error() -> None:
    series = Series.of(2)
    served = FaultyServer(FaultyArchive(series, accepting("image/png")))
    with served as server, pytest.raises(Rejected):
        list(archive(server).retrieve(series.study_uid, series.series_uid))


def test_html_with_status_200_is_a_bad_answer() -> None:
    series = Series.of(2)

    def login(seen: Seen, instances: list[bytes]) -> Reply:
        return answer(200, b"<html>Log in</html>", {"Content-Type": "text/html"})

    with FaultyServer(FaultyArchive(series, login)) as server, pytest.raises(BadAnswer):
        list(archive(server).retrieve(series.study_uid, series.series_uid))


@pytest.mark.parametrize(
    "bounds", [{"series_bytes": 5000}, {"instance_bytes": 500}, {"instances": 2}]
)
def test_a_series_over_its_bounds_is_too_large(bounds: dict[str, int]) -> None:
    series = Series.of(4)
    with FaultyServer(FaultyArchive(series)) as server, pytest.raises(TooLarge):
        list(archive(server, **bounds).retrieve(series.study_uid, series.series_uid))


def test_instances_come_while_the_rest_is_still_under_way() -> None:
    series = Series.of(3, side=128)
    first = next(iter(series.instances.values()))
    body = body_of(series.instances.values())

    def slowly(seen: Seen, instances: list[bytes]) -> Reply:
        if "/instances/" in seen.path:
            return whole(seen, instances)
        cut = len(body_of([first], closed=False)) + 100
        return answer(200, body, {"Content-Type": SENT + "bnd"}, "length", cut)

    with FaultyServer(FaultyArchive(series, slowly)) as server:
        retrieval = archive(server).retrieve(series.study_uid, series.series_uid)
        assert next(retrieval) == first
        retrieval.close()  # type: ignore[attr-defined]  # a generator: the consumer may stop
