"""The server itself: real sockets, slow and rude clients."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest

from cds_service.security.headers import ALWAYS
from cds_service.web import server
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, Site, patient_view, settings
from tests.doubles.listening import running


@pytest.fixture
def at() -> Site:
    return Site(settings(web={"port": 0, "threads": 4}, hook={"body_bytes": 100_000}))


@pytest.fixture
def port(at: Site) -> Iterator[int]:
    made = server(at.app, at.settings)
    with running(made):
        yield made.effective_port


def post(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", PATIENT_VIEW, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def signed(at: Site) -> dict[str, str]:
    return at.ehr.bearer(PATIENT_VIEW) | {"Content-Type": "application/json"}


BODY = json.dumps(patient_view()).encode()


def test_a_call_over_a_socket_is_answered_and_says_nothing_of_the_server(
    at: Site, port: int
) -> None:
    status, headers, body = post(port, BODY, signed(at))
    assert status == 200
    assert json.loads(body)["cards"]
    assert "Server" not in headers


@pytest.mark.parametrize("kib", [120, 200, 2048, 10_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_413_whatever_its_size(
    at: Site, port: int, kib: int, chunked: bool
) -> None:
    """The client is let to the end of its body, or it would see a reset and no answer."""
    pieces = [b" " * 1024] * kib
    length = {} if chunked else {"Content-Length": str(kib * 1024)}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(
            "POST", PATIENT_VIEW, iter(pieces), signed(at) | length, encode_chunked=chunked
        )
        answer = connection.getresponse()
        told(answer.status, dict(answer.getheaders()), answer.read(), 413)


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_nobody_waits_for_a_body_that_is_far_too_large(port: int, expects: bytes) -> None:
    start = b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n"
    told(*raw(port, start + expects + b"\r\n"), 413)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent_where_the_client_asks(
    port: int,
) -> None:
    start = b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
    told(*raw(port, start + b"Expect: 100-continue\r\n\r\n"), 413)


def raw(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are and read the answer."""
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


def told(status: int, headers: dict[str, str], body: bytes, expected: int) -> None:
    """One OperationOutcome with one sentence, and the headers that every answer has."""
    assert status == expected
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body))
    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS
    assert not {"Server", "Via"} & set(headers)
    outcome = json.loads(body)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["diagnostics"].endswith(".")


POST = b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("rude", "status"),
    [
        # no body can be smuggled in
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\n1234", 400),
        (POST + b"Content-Length: 4\r\nContent-Length: 9\r\n\r\n1234", 400),
        (POST + b"Content-Length: +4\r\n\r\n1234", 400),
        (POST + b"Content-Length: 0x4\r\n\r\n1234", 400),
        (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n1234", 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (POST + b"no colon\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"hello\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_told_so_as_everything_else(
    rude: bytes, status: int, port: int
) -> None:
    told(*raw(port, rude), status)


@pytest.mark.parametrize(
    ("base_url", "said"), [("https://cds.example.org", True), ("http://127.0.0.1:8080", False)]
)
def test_a_refusal_over_https_says_that_it_is_always_https(base_url: str, said: bool) -> None:
    site = Site(settings(web={"port": 0}, base_url=base_url))
    with running(made := server(site.app, site.settings)):
        _, headers, _ = raw(made.effective_port, b"GET\r\n\r\n")
        assert ("Strict-Transport-Security" in headers) is said


SANDBOX = b"https://sandbox.example.org"
ORIGIN = b"Origin: " + SANDBOX + b"\r\n"


@pytest.mark.parametrize(
    ("rude", "status"),
    [
        (POST + ORIGIN + b"Content-Length: 900000000\r\n\r\n", 413),
        (POST + ORIGIN.lower() + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (POST + ORIGIN + b"Content-Length: +4\r\n\r\n1234", 400),
        (POST + b"no colon\r\n" + ORIGIN + b"\r\n", 400),
        (POST + ORIGIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + ORIGIN + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
@pytest.mark.parametrize(
    ("listed", "readable"), [((SANDBOX.decode(),), True), (("https://other.example",), False)]
)
def test_a_page_of_a_listed_origin_may_read_what_the_server_refuses(
    rude: bytes, status: int, listed: tuple[str, ...], readable: bool
) -> None:
    site = Site(settings(web={"port": 0}, hook={"cors_origins": listed}))
    with running(made := server(site.app, site.settings)):
        answered, headers, _ = raw(made.effective_port, rude)
    allowed = headers.get("Access-Control-Allow-Origin")
    assert (answered, allowed) == (status, SANDBOX.decode() if readable else None)
    assert headers["Cross-Origin-Resource-Policy"] == ("cross" if readable else "same") + "-origin"
    assert headers["Vary"] == "Origin"


def test_an_origin_that_did_not_arrive_is_not_allowed() -> None:
    site = Site(settings(web={"port": 0}, hook={"cors_origins": (SANDBOX.decode(),)}))
    with running(made := server(site.app, site.settings)):
        port = made.effective_port
        answers = [raw(port, POST + b"X: " + b"y" * 70_000), raw(port, b"GET\r\n\r\n")]
    assert [status for status, *_ in answers] == [431, 400]
    assert not any("Access-Control-Allow-Origin" in headers for _, headers, _ in answers)


def test_a_byte_now_and_then_keeps_no_connection(at: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = server(at.app, at.settings), SimpleNamespace(time=lambda: clock.now_s, now_s=0.0)
    monkeypatch.setattr("waitress.channel.time", clock)
    ours, theirs = socket.socketpair()
    with closing(made), ours, theirs:
        channel = made.channel_class(made, theirs, ("127.0.0.1", 1), made.adj, map={})
        made.active_channels[0] = channel
        for clock.now_s in (100.0, 104.0, 108.0):
            ours.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\r\n"[:10])
            channel.handle_read()
        made.maintenance(109.9)
        assert not channel.will_close
        made.maintenance(110.1)
        assert channel.will_close
        del made.active_channels[0]


def test_who_says_nothing_between_two_requests_may_stay_as_long(
    at: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clock = server(at.app, at.settings), SimpleNamespace(time=lambda: clock.now_s, now_s=0.0)
    monkeypatch.setattr("waitress.channel.time", clock)
    monkeypatch.setattr(made, "add_task", lambda channel: channel.requests.clear())
    ours, theirs = socket.socketpair()
    with closing(made), ours, theirs:
        channel = made.channel_class(made, theirs, ("127.0.0.1", 1), made.adj, map={})
        made.active_channels[0] = channel
        for clock.now_s in (100.0, 109.0, 118.0):
            ours.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            channel.handle_read()
            made.maintenance(clock.now_s + 9.9)
            assert not channel.will_close
        del made.active_channels[0]


@pytest.mark.parametrize(("name", "status"), [("Client_Cert", 401), ("Client-Cert", 200)])
def test_no_other_spelling_of_a_header_passes_for_the_one_that_a_proxy_drops(
    name: str, status: int
) -> None:
    """WSGI would read both as the same."""
    known = ehr.tenant(client_certificates=["CN=ehr"])
    proxies = {"proxies": ["127.0.0.1/32"]}
    at = Site(settings(web={"port": 0}, tenants=(known,), mutual_tls=proxies))
    made = server(at.app, at.settings)
    with running(made):
        assert post(made.effective_port, BODY, signed(at) | {name: "CN=ehr"})[0] == status


def test_there_is_no_debug_mode(at: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert not at.app.debug
    answer = at.client().get("/healthz?__debugger__=yes&cmd=resource&f=style.css")
    assert answer.get_json() == {"status": "ok"}


def test_slow_clients_do_not_keep_others_waiting(at: Site, port: int) -> None:
    with ExitStack() as slow:
        for _ in range(60):
            connection = socket.create_connection(("127.0.0.1", port), 10)
            slow.callback(connection.close)
            connection.sendall(
                b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n"
            )
        started = time.perf_counter()
        assert post(port, BODY, signed(at))[0] == 200
        assert time.perf_counter() - started < 8  # they are cut off at 10 s
