"""Ten thousand requests over every route: no answer from 500 upwards, and none that is slow.

Half of the inventions are schemathesis's, from the OpenAPI document of the routes; half are good
requests with a few places spoilt. The application is the whole one over a real Valkey. Two bounds,
since each is blind to what the other sees: 1 s of the processor, which a busy machine does not
lengthen, and 5 s of the wall clock, which a wait for Redis or a FHIR server does.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from docs.openapi_page import PAGE, whole_application
from tests.doubles import ehr
from tests.doubles.faulty_http import FaultyServer, json_answer
from tests.doubles.hooking import PATIENT_VIEW, order_sign, patient_view
from tests.peers.valkey import Valkey, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

DOCUMENT = json.loads(PAGE.read_text(encoding="utf-8"))
OPERATIONS = {
    found.ok().label: found.ok()
    for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
}
WITH_JSON = [
    label
    for label, operation in OPERATIONS.items()
    if "application/json" in operation.definition.raw.get("requestBody", {}).get("content", {})
]
INVENTED, SPOILT = 120, 270
MOST_S, MOST_WAITED_S = 1.0, 5.0


def quick(examples: int) -> Callable[[Any], Any]:
    """Hypothesis without a clock and without a memory."""
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@dataclass
class Front:
    """The application, and a caller who is known to it."""

    app: Flask
    ehr: ehr.Ehr
    sent: int = 0
    slowest_s: float = 0.0
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def send(self, method: str, path: str, **request: Any) -> None:
        """One request, with the rules that every answer keeps."""
        began_s, since_s = time.thread_time(), time.monotonic()
        answer = self.client.open(path, method=method, **request)
        took_s, waited_s = time.thread_time() - began_s, time.monotonic() - since_s
        self.sent += 1
        self.slowest_s = max(took_s, self.slowest_s)
        said = answer.get_data(as_text=True) if answer.status_code >= 400 else ""
        if unquote(path) == "/readyz" and answer.status_code == 503:
            assert method == "HEAD" or answer.get_json()["status"] == "not ready"
        else:
            assert answer.status_code < 500, (method, path, said)
        assert took_s < MOST_S, (method, path)
        assert waited_s < MOST_WAITED_S, (method, path)
        assert "Traceback" not in said
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Location" not in answer.headers or answer.status_code in (302, 303)

    def bearer(self, path: str) -> dict[str, str]:
        """A good token for the endpoint at `path`, as far as one can be written."""
        self.ehr.now_s = time.time()
        return self.ehr.bearer(path)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    keys = folder / "jwks.json"
    keys.write_bytes(ehr.jwks())
    valkey = Valkey(folder)
    with FaultyServer(lambda seen: json_answer("{}", status=404)) as chart:
        tenant: Mapping[str, Any] = {
            "name": "north",
            "issuer": ehr.ISSUER,
            "jwks_file": keys,
            "fhir_base": f"{chart.base_url}/fhir",
            "archive": "pacs",
            "backend": "open",
            "smart_app": {"client_id": "scanhook"},
        }
        valkey.process.start()
        try:
            yield Front(
                whole_application(
                    folder / "state",
                    base_url=ehr.BASE_URL,
                    redis_url=valkey.url,
                    tenants=[tenant],
                    archives=[{"name": "pacs", "base_url": f"{chart.base_url}/wado"}],
                ),
                ehr.Ehr(),
            )
        finally:
            valkey.process.stop()


def test_the_requests_are_ten_thousand() -> None:
    assert len(OPERATIONS) * (INVENTED + SPOILT) + len(WITH_JSON) * INVENTED >= 10_000


def invented(front: Front, label: str, mode: GenerationMode) -> None:
    """What schemathesis makes of the operation."""
    operation = OPERATIONS[label]

    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    @quick(INVENTED)
    def send(case: Any, known: bool) -> None:
        headers = {name: str(value) for name, value in (case.headers or {}).items()}
        body = case.body
        raw = body if isinstance(body, bytes) else b""
        if not isinstance(body, bytes) and case.media_type:
            raw = json.dumps(body, default=str).encode("utf-8", "surrogatepass")
        path = case.formatted_path
        front.send(
            case.method,
            path,
            query_string={name: str(value) for name, value in (case.query or {}).items()},
            headers=headers | (front.bearer(path) if known else {}),
            data=raw,
            content_type=case.media_type,
        )

    send()


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_that_the_document_describes_breaks_a_route(front: Front, label: str) -> None:
    invented(front, label, GenerationMode.POSITIVE)


@pytest.mark.parametrize("label", WITH_JSON)
def test_nothing_that_the_document_forbids_breaks_a_route(front: Front, label: str) -> None:
    invented(front, label, GenerationMode.NEGATIVE)


# good requests with places spoilt

PIECES = (
    *("..", "%2e%2e", ".", "//", "\\", "%00", "%0d%0a", "%ff", "\u2028", "\U0001f600", ";", "@"),
    *(
        "'",
        '"',
        "<script>",
        "{{7*7}}",
        "${x}",
        "%s%n",
        "A" * 9000,
        "-1",
        "0",
        "1e999",
        "NaN",
        "null",
    ),
    *(
        "north",
        "pacs",
        "imaging-ai-patient-view",
        "e",
        "*",
        "?",
        "#",
        " ",
        "\t",
        "true",
        "[]",
        "{}",
    ),
)
TYPES = (
    *("application/json", "application/json; charset=utf-8", "application/json; charset=utf-16"),
    *("application/fhir+json", "text/plain", "application/x-www-form-urlencoded", "image/png", ""),
    *("multipart/form-data; boundary=x", "multipart/form-data", "application/xml", "\u00e9/\u00e9"),
)
HEADERS = (
    *("Accept", "Accept-Encoding", "Authorization", "Content-Encoding", "Content-Length", "Cookie"),
    *("Origin", "Range", "If-None-Match", "If-Modified-Since", "X-Forwarded-For", "Client-Cert"),
    *("X-HTTP-Method-Override", "Transfer-Encoding", "Host", "Expect", "Last-Event-ID", "Upgrade"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
FEEDBACK = {
    "feedback": [
        {
            "card": "7b0a4c0e-5f0b-4b44-9d0b-0d8f1a6a3e01",
            "outcome": "overridden",
            "outcomeTimestamp": "2026-03-03T10:00:00Z",
            "overrideReason": {"reason": {"code": "disagree"}, "userComment": "x"},
        }
    ]
}
STUDY = {"StudyInstanceUID": "1.2.3", "version": "1"}
GOOD = (patient_view(), order_sign(), FEEDBACK, STUDY, {"resourceType": "Bundle", "entry": []})


def spoilt_path(template: str, draw: random.Random) -> str:
    """The path with something in each place of a parameter, and now and then elsewhere."""
    path = template.replace("{service_id}", PATIENT_VIEW.rpartition("/")[2])
    while "{" in path:
        before, _, rest = path.partition("{")
        piece = draw.choice([*PIECES, "/".join(draw.choices(PIECES, k=2))])
        path = before + quote(piece, safe="/%") + rest.partition("}")[2]
    if draw.random() < 0.2:
        place = draw.randrange(1, len(path) + 1)
        path = path[:place] + quote(draw.choice(PIECES), safe="/%") + path[place:]
    return path


def spoilt_body(draw: random.Random) -> bytes:
    """A good body of some route, with bytes changed, cut or doubled."""
    body = bytearray(json.dumps(draw.choice(GOOD)).encode())
    for _ in range(draw.choice((0, 1, 1, 3, 10))):
        place = draw.randrange(len(body) + 1)
        new = draw.choice(
            (draw.choice(PIECES).encode(), draw.randbytes(2), b"[" * 60, b"\\ud800", b'"', b"")
        )
        body[place : place + draw.choice((0, 1, 20))] = new
    return bytes(body)


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_spoilt_request_breaks_a_route(front: Front, label: str) -> None:
    method, _, template = label.partition(" ")

    @given(st.randoms(use_true_random=False))
    @quick(SPOILT)
    def send(draw: random.Random) -> None:
        path = spoilt_path(template, draw)
        said = {draw.choice(HEADERS): draw.choice(PIECES) for _ in range(draw.randrange(3))}
        headers = {name: quote(value, safe=" ;,=*@") for name, value in said.items()}
        headers.pop("Content-Length", None)  # of which the test's client makes its own
        known = front.bearer(path) if draw.random() < 0.8 else {}
        front.send(
            method if draw.random() < 0.9 else draw.choice(METHODS),
            path,
            query_string=draw.choice(("", "", "x", "iss=a&iss=b", "state=%00", "a" * 5000)),
            headers=headers | known,
            data=spoilt_body(draw) if draw.random() < 0.8 else None,
            content_type=draw.choice(("application/json", *TYPES)) or None,
        )

    send()
