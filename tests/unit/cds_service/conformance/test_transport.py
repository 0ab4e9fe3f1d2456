"""Calls over real sockets: bounded, no redirects, nothing from the environment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask import Flask, Response, redirect, request

from cds_service.conformance import transport
from cds_service.conformance.exchange import Call, NoAnswer
from cds_service.conformance.listening import Listener
from cds_service.conformance.transport import HttpSender, fhir_reader
from tests.doubles.listening import listening

ASKED: list[str] = []


def application() -> Flask:
    app = Flask("odd")
    ASKED.clear()

    @app.before_request
    def note() -> None:
        ASKED.append(request.path)

    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect("/target"))
    app.add_url_rule("/target", "target", lambda: "here")
    app.add_url_rule("/large", "large", lambda: Response(iter([b"x" * 1024] * 100)))
    app.add_url_rule("/slow", "slow", lambda: Response(drip()))
    app.add_url_rule("/busy", "busy", lambda: Response("{}", 429, {"Retry-After": "3"}))
    app.add_url_rule("/Patient/p1", "p1", lambda: {"resourceType": "Patient", "id": "p1"})
    app.add_url_rule("/Patient/broken", "broken", lambda: Response("<html>", 502))
    return app


def drip() -> Iterator[bytes]:
    for _ in range(40):
        time.sleep(0.05)
        yield b"x" * 70_000


@pytest.fixture
def base() -> Iterator[str]:
    with listening(application()) as url:
        yield url


def sender(base: str, **changes: Any) -> HttpSender:
    return HttpSender(base, **changes)


def test_a_redirect_is_an_answer_and_is_not_followed(base: str) -> None:
    answer = sender(base).send(Call("GET", "/elsewhere"))
    assert answer.status == 302
    assert ASKED == ["/elsewhere"]


def test_a_proxy_of_the_environment_is_not_used(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert sender(base).send(Call("GET", "/target")).status == 200


def test_an_answer_without_an_end_is_none(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswer, match="no end"):
        sender(base, timeout_s=0.2).send(Call("GET", "/slow"))
    monkeypatch.setattr(transport, "ANSWER_BYTES", 50_000)
    with pytest.raises(NoAnswer, match="larger"):
        sender(base).send(Call("GET", "/large"))


def test_who_asks_for_a_pause_gets_it_once(base: str) -> None:
    slept: list[float] = []
    answer = sender(base, sleep=slept.append).send(Call("GET", "/busy"))
    assert (answer.status, slept) == (429, [3.0])
    assert ASKED == ["/busy", "/busy"]


def test_a_server_that_is_not_there_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="reached"):
        sender("http://127.0.0.1:1").send(Call("GET", "/"))


def test_a_chart_is_read_query_by_query(base: str) -> None:
    read = fhir_reader(sender(base), "a-token")
    assert read("Patient/p1") == {"resourceType": "Patient", "id": "p1"}
    assert read("Patient/p2") is None
    assert read("Patient/broken")["resourceType"] == "OperationOutcome"
    gone = fhir_reader(sender("http://127.0.0.1:1"))
    assert gone("Patient/p1")["resourceType"] == "OperationOutcome"


def test_the_listener_serves_keys_and_notes_who_asks_for_more() -> None:
    with Listener({"keys": []}) as listener:
        assert requests.get(listener.keys_url, timeout=5).json() == {"keys": []}
        assert listener.asked == []
        assert requests.get(f"{listener.url}/fhir/Patient/1", timeout=5).status_code == 404
        assert listener.asked == ["/fhir/Patient/1"]
