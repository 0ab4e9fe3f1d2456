"""The EHR's side of CDS Hooks 2.0.1: build a call, fill its prefetch, sign it, keep the answer."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

import requests

from cds_service.sandbox.fhir_errors import FhirRefusal, NotFound
from cds_service.sandbox.fhir_routes import searchset
from cds_service.sandbox.records import Records
from cds_service.security.keys import SigningKey

Json = dict[str, Any]

TOKEN_LIFETIME_S = 300
ANSWER_TIMEOUT_S = 10.0
DISCOVERY_KEPT_S = 60.0
_BLANKED = "(made for this call, revoked after it)"
FEEDBACK = "feedback"
"""What an `Exchange` has in place of a hook when it tells what became of a card."""

_SCOPES = ("patient/Patient.rs", "patient/ImagingStudy.rs", "patient/Endpoint.rs",
           "patient/Encounter.rs", "patient/ServiceRequest.rs")  # fmt: skip
_CONTEXT_TOKEN = re.compile(r"\{\{\s*context\.([A-Za-z]+)\s*\}\}")


@dataclass(frozen=True)
class Site:
    """Who the EHR says that it is, and where; addresses without a trailing slash."""

    issuer: str
    fhir_base: str
    jwks_url: str
    cds_base: str


class TokenSource(Protocol):
    """Where the access token of a call comes from; an empty one is left out of the call."""

    def issue(
        self, subject: str, scopes: Iterable[str], lifetime_s: int, patient_id: str | None = None
    ) -> str:
        """A token for one call."""

    def revoke(self, token: str) -> None:
        """The call is over."""


class FixedToken:
    """A token that somebody else made, for another FHIR server than the sandbox's."""

    def __init__(self, token: str) -> None:
        self._token = token

    def issue(
        self, subject: str, scopes: Iterable[str], lifetime_s: int, patient_id: str | None = None
    ) -> str:
        """The one token, whatever is asked for."""
        return self._token

    def revoke(self, token: str) -> None:
        """Nothing: it is not ours to revoke."""


@dataclass(frozen=True)
class Exchange:
    """One call of a service and what came back.

    `service` is its id; `hook` is `FEEDBACK` where a card was answered. `request` has the access
    token blanked. `status` is 0 when there was no answer, and `problem` then says why. `at_s` is
    epoch seconds.
    """

    number: int
    hook: str
    url: str
    request: Json
    status: int
    response: Json | None
    took_ms: float
    at_s: float
    patient_id: str = ""
    problem: str = ""
    service: str = ""

    @property
    def cards(self) -> tuple[Json, ...]:
        """The cards of the answer; none if it was no good answer."""
        found = (self.response or {}).get("cards") if self.status == 200 else None
        cards = found if isinstance(found, list) else []
        return tuple(card for card in cards if isinstance(card, dict))


class HookClient:
    """Fires hooks at one CDS service. Safe to use from several threads."""

    def __init__(
        self,
        site: Site,
        key: SigningKey,
        records: Records,
        tokens: TokenSource,
        *,
        keep: int = 200,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.site = site
        self._key, self._records, self._tokens, self._now = key, records, tokens, now
        self._exchanges: deque[Exchange] = deque(maxlen=keep)
        self._lock = threading.Lock()
        self._numbers = 0
        self._discovered: tuple[float, tuple[Json, ...]] = (0.0, ())

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The newest calls, newest first."""
        with self._lock:
            return tuple(self._exchanges)[::-1]

    def shown(self, patient_id: str, card_uuid: str) -> tuple[Exchange, Json] | None:
        """The newest answer that brought a card for a patient, and the card."""
        for exchange in self.exchanges:
            for card in exchange.cards if exchange.patient_id == patient_id else ():
                if card_uuid and card.get("uuid") == card_uuid:
                    return exchange, card
        return None

    def services(self) -> tuple[Json, ...]:
        """What the service offers (``GET /cds-services``); empty if it cannot be reached."""
        with self._lock:
            read_s, known = self._discovered
        if known and self._now() - read_s < DISCOVERY_KEPT_S:
            return known
        status, body, _ = self._send("GET", f"{self.site.cds_base}/cds-services")
        services = (body or {}).get("services") if status == 200 else None
        found = tuple(s for s in services if isinstance(s, dict)) if services else ()
        with self._lock:
            self._discovered = (self._now(), found)
        return found

    def call(self, hook: str, context: Json) -> tuple[Exchange, ...]:
        """Fire `hook` at every service that is there for it; at least one answer or problem."""
        offered = self.services()
        ids = [str(s["id"]) for s in offered if s.get("hook") == hook and s.get("id")]
        if ids:
            return tuple(self.fire(service_id, hook, context) for service_id in ids)
        problem = (
            f"The CDS service offers nothing for {hook}."
            if offered
            else "The CDS service cannot be reached."
        )
        return (self._nothing(hook, context, problem),)

    def _nothing(self, hook: str, context: Json, problem: str) -> Exchange:
        patient_id, url = str(context["patientId"]), f"{self.site.cds_base}/cds-services"
        return self._kept(hook, "", url, {}, (0, None, problem), 0, self._now(), patient_id)

    def fire(self, service_id: str, hook: str, context: Json) -> Exchange:
        """Call the service with a new hook instance, prefetch, and a token of its own.

        The token is made for this call and revoked after it (CDS Hooks 2.0.1, Passing the Access
        Token). An unreachable service is an `Exchange` with its problem, never an exception.
        """
        url = self._service_url(service_id)
        patient_id = str(context["patientId"])
        token = self._tokens.issue(service_id, _SCOPES, TOKEN_LIFETIME_S, patient_id)
        body = self._request(service_id, hook, context, token)
        started, at_s = time.perf_counter(), self._now()
        try:
            answer = self._send("POST", url, body)
        finally:
            self._tokens.revoke(token)
        took_ms = (time.perf_counter() - started) * 1000
        if token:
            body["fhirAuthorization"]["access_token"] = _BLANKED
        return self._kept(hook, service_id, url, body, answer, took_ms, at_s, patient_id)

    def feedback(self, service_id: str, patient_id: str, entry: Json) -> Exchange:
        """Say what became of a card; `entry` is the feedback without its time."""
        url = f"{self._service_url(service_id)}/feedback"
        started, at_s = time.perf_counter(), self._now()
        moment = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: Json = {"feedback": [{**entry, "outcomeTimestamp": moment}]}
        answer = self._send("POST", url, body)
        took_ms = (time.perf_counter() - started) * 1000
        return self._kept(FEEDBACK, service_id, url, body, answer, took_ms, at_s, patient_id)

    def _service_url(self, service_id: str) -> str:
        return f"{self.site.cds_base}/cds-services/{quote(service_id, safe='')}"

    def _kept(
        self,
        hook: str,
        service_id: str,
        url: str,
        body: Json,
        answer: tuple[int, Json | None, str],
        took_ms: float,
        at_s: float,
        patient_id: str,
    ) -> Exchange:
        status, response, problem = answer
        with self._lock:
            self._numbers += 1
            exchange = Exchange(
                self._numbers, hook, url, body, status, response, took_ms, at_s, patient_id,
                problem, service_id,
            )  # fmt: skip
            self._exchanges.append(exchange)
        return exchange

    def _request(self, service_id: str, hook: str, context: Json, token: str) -> Json:
        body: Json = {
            "hook": hook,
            "hookInstance": str(uuid.uuid4()),
            "fhirServer": self.site.fhir_base,
            "context": context,
        }
        if token:
            body["fhirAuthorization"] = {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFETIME_S,
                "scope": " ".join(_SCOPES),
                "subject": service_id,
                "patient": context["patientId"],
            }
        templates = next((s.get("prefetch") for s in self.services() if s.get("id") == service_id),
                         None)  # fmt: skip
        if isinstance(templates, Mapping):
            filled = ((key, self._prefetched(str(t), context)) for key, t in templates.items())
            body["prefetch"] = dict(filled)
        return body

    def _prefetched(self, template: str, context: Mapping[str, Any]) -> Json | None:
        """What a template asks for; ``None`` where there is nothing (Prefetch Tokens)."""
        text = _CONTEXT_TOKEN.sub(lambda found: str(context.get(found[1], "")), template)
        path, question, query_text = text.partition("?")
        try:
            if not question:
                kind, _, logical_id = path.partition("/")
                return self._records.read(kind, logical_id)
            query = parse_qsl(query_text)
            return searchset(self._records.search(path, query), path, query, self.site.fhir_base)
        except NotFound:
            return None
        except FhirRefusal as refusal:
            return refusal.outcome()

    def _send(
        self, method: str, url: str, body: Json | None = None
    ) -> tuple[int, Json | None, str]:
        headers = {"Authorization": f"Bearer {self._signed(url)}", "Accept": "application/json"}
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(
                    method, url, json=body, headers=headers, timeout=ANSWER_TIMEOUT_S,
                    allow_redirects=False,
                )  # fmt: skip
                status, text = answer.status_code, answer.content
        except requests.RequestException:
            return 0, None, "The CDS service cannot be reached."
        try:
            found = json.loads(text) if text else None
        except ValueError:
            return status, None, "The answer is not JSON."
        problem = "" if status == 200 else f"The CDS service answered {status}."
        return status, found if isinstance(found, dict) else None, problem

    def _signed(self, audience: str) -> str:
        """A token for exactly one endpoint and five minutes (Trusting CDS Clients)."""
        now = int(self._now())
        claims = {
            "iss": self.site.issuer,
            "aud": audience,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return self._key.sign(claims, {"jku": self.site.jwks_url})
