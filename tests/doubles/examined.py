"""Services under examination in memory: calls go to a WSGI application, not over a socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

from cds_service.conformance.examination import Examination, Subject
from cds_service.conformance.exchange import Answer, Call
from cds_service.conformance.hooks import Who
from cds_service.conformance.identity import Identity
from cds_service.security.keys import SigningKey
from tests.doubles import ehr
from tests.doubles.hooking import Site, bundle, encounter, imaging_study, patient

KEY = SigningKey(ehr.KID, "ES384", ehr.KEY)
ORIGIN = "https://browser.example.org"


class ClientSender:
    """Carries calls to a Flask test client; `took_ms` replaces the time that it took."""

    def __init__(self, client: FlaskClient, took_ms: float | None = None) -> None:
        self.client = client
        self.took_ms = took_ms
        self.calls: list[Call] = []

    def send(self, call: Call) -> Answer:
        self.calls.append(call)
        since = time.perf_counter()
        answer = self.client.open(
            call.path, method=call.method, headers=dict(call.headers), data=call.body
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        took_ms = (time.perf_counter() - since) * 1e3 if self.took_ms is None else self.took_ms
        return Answer(answer.status_code, headers, answer.get_data(), took_ms)


def identity(clock: Callable[[], float], **changes: Any) -> Identity:
    """The EHR of the doubles, as the examination plays it."""
    return Identity(**{"issuer": ehr.ISSUER, "key": KEY, "clock": clock, **changes})


def prefetched(*studies: Any) -> dict[str, Any]:
    """A chart as the templates of our own services ask for it."""
    found = studies or (imaging_study(),)
    return {"patient": patient(), "studies": bundle(*found), "encounter": encounter()}


def examination(at: Site, **subject: Any) -> Examination:
    """Our own service under examination, with the chart of its double."""
    values = {"who": Who("p1", "Practitioner/example", "e1"), "prefetch": prefetched(), **subject}
    return Examination(
        base_url=ehr.BASE_URL,
        sender=ClientSender(at.client()),
        identity=identity(at.clock),
        subject=Subject(**values),
    )
