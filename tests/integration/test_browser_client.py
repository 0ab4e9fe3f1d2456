"""A CDS client that is a page of another origin, in a real browser: CORS as browsers enforce it.

It signs its calls with the browser's own cryptography, as the public CDS Hooks sandbox does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from jwt.algorithms import ECAlgorithm

from cds_service.web import server
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, Site, known, patient_view, settings
from tests.doubles.listening import listening, running
from tests.peers.process import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]

CLIENT = """<!doctype html><title>A CDS client</title><script>
const text = new TextEncoder();
const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
async function token(given, audience) {
  const key = await crypto.subtle.importKey(
    "jwk", given.jwk, {name: "ECDSA", namedCurve: "P-384"}, false, ["sign"]);
  const part = (value) => base64url(text.encode(JSON.stringify(value)));
  const signed = part({alg: "ES384", typ: "JWT", kid: given.kid}) + "." + part({
    iss: given.issuer, aud: audience, iat: given.now, exp: given.now + 300,
    jti: crypto.randomUUID()});
  const proof = await crypto.subtle.sign(
    {name: "ECDSA", hash: "SHA-384"}, key, text.encode(signed));
  return signed + "." + base64url(proof);
}
async function call(given, path, body) {
  const headers = {Authorization: "Bearer " + await token(given, given.audience + path)};
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(given.service + path, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body)});
    return {status: answer.status, body: await answer.json()};
  } catch (error) {
    return {refused: error.name};
  }
}
</script>"""


def client_page() -> Flask:
    """The client's own server: one page."""
    app = Flask("client")
    app.add_url_rule("/", "page", lambda: Response(CLIENT, mimetype="text/html"))
    return app


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with (
        listening(client_page()) as address,
        playwright.sync_playwright() as driver,
    ):
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        opened = chromium.new_page()
        opened.goto(f"{address}/")
        yield opened
        chromium.close()


def origin_of(page: Any) -> str:
    return str(page.evaluate("location.origin"))


def a_site(*origins: str) -> Site:
    """A service with a finding to show, which lets pages of these origins call."""
    at = Site(settings(hook={"cors_origins": origins}, web={"port": free_port(), "threads": 2}))
    known(at)
    return at


def call(page: Any, service: str, path: str, body: Any = None, **changes: Any) -> dict[str, Any]:
    """What the page gets to see of one call."""
    private = json.loads(ECAlgorithm.to_jwk(ehr.KEY))
    given = {
        "service": service,
        "audience": ehr.BASE_URL,
        "issuer": ehr.ISSUER,
        "kid": ehr.KID,
        "now": int(ehr.NOW_S),
        "jwk": {name: private[name] for name in ("kty", "crv", "x", "y", "d")},
        **changes,
    }
    got = page.evaluate("([given, path, body]) => call(given, path, body)", [given, path, body])
    return dict(got)


def feedback_on(card: str) -> dict[str, Any]:
    entry = {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-20T10:00:00Z"}
    return {"feedback": [entry | {"overrideReason": {"userComment": "seen"}}]}


def test_a_page_of_a_listed_origin_discovers_calls_and_tells(page: Any) -> None:
    at = a_site(origin_of(page))
    with running(server(at.app, at.settings)) as service:
        found = call(page, service, "/cds-services")
        assert PATIENT_VIEW.rpartition("/")[2] in [each["id"] for each in found["body"]["services"]]
        answer = call(page, service, PATIENT_VIEW, patient_view())
        assert answer["status"] == 200
        (card,) = answer["body"]["cards"]
        told = call(page, service, f"{PATIENT_VIEW}/feedback", feedback_on(card["uuid"]))
        assert told == {"status": 200, "body": {"received": 1}}


def test_a_page_of_a_listed_origin_can_read_why_it_was_refused(page: Any) -> None:
    at = a_site(origin_of(page))
    with running(server(at.app, at.settings)) as service:
        refused = call(page, service, PATIENT_VIEW, patient_view(), issuer="https://else.example")
        wrong = call(page, service, PATIENT_VIEW, {"hook": "patient-view"})
        nothing = call(page, service, "/cds-services/no-such-service", {})
    assert [each["status"] for each in (refused, wrong, nothing)] == [401, 400, 404]
    assert {each["body"]["resourceType"] for each in (refused, wrong, nothing)} == {
        "OperationOutcome"
    }


@pytest.mark.parametrize("listed", [(), ("https://sandbox.example.org",)], ids=["none", "another"])
def test_a_page_of_another_origin_gets_nothing_and_reaches_nothing(
    page: Any, listed: tuple[str, ...]
) -> None:
    at = a_site(*listed)
    with running(server(at.app, at.settings)) as service:
        assert call(page, service, "/cds-services") == {"refused": "TypeError"}
        assert call(page, service, PATIENT_VIEW, patient_view()) == {"refused": "TypeError"}
        path = f"{PATIENT_VIEW}/feedback"
        assert call(page, service, path, feedback_on("x")) == {"refused": "TypeError"}
    assert not at.redis.values, "no preflight let a call through, so no token was used"


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/.well-known/jwks.json", "/e/x"])
def test_a_page_of_a_listed_origin_reads_nothing_beside_the_services(page: Any, path: str) -> None:
    at = a_site(origin_of(page))
    with running(server(at.app, at.settings)) as service:
        assert call(page, service, path) == {"refused": "TypeError"}
