"""A CDS service that keeps every requirement, and breaks the ones that a test names.

Each fault is one word in `faults`; `planted` at the bottom says what each of them breaks.
"""

from __future__ import annotations

import copy
import json
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import requests
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from cds_service.conformance.hooks import required_fields
from tests.doubles import ehr
from tests.doubles.examined import ORIGIN

Json = dict[str, Any]

PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "studies": "ImagingStudy?patient={{context.patientId}}&_sort=-started&_count=5",
}
SERVICES: tuple[Json, ...] = (
    {
        "id": "greeter",
        "hook": "patient-view",
        "title": "Greeter",
        "description": "Greets whose chart is opened.",
        "usageRequirements": "None.",
        "version": "2.0.1",
        "prefetch": PREFETCH,
    },
    {
        "id": "helper",
        "hook": "order-select",
        "title": "Helper",
        "description": "Offers another order.",
        "version": "2.0.1",
        "prefetch": PREFETCH,
    },
)
CARD: Json = {
    "uuid": "7b0a4c0e-5f0b-4b44-9d0b-0d8f1a6a3e01",
    "summary": "Good morning",
    "detail": "It is **early**.",
    "indicator": "info",
    "source": {
        "label": "The planted service",
        "url": "https://planted.example.org/about",
        "topic": {"system": "https://planted.example.org/topics", "code": "greeting"},
    },
    "overrideReasons": [
        {"code": "late", "system": "https://planted.example.org/reasons", "display": "It is late"}
    ],
    "links": [
        {"label": "More", "url": "https://planted.example.org/more/x7", "type": "absolute"},
        {
            "label": "App",
            "url": "https://planted.example.org/launch",
            "type": "smart",
            "appContext": "greeting",
        },
    ],
    "selectionBehavior": "at-most-one",
    "suggestions": [
        {
            "label": "Say it again",
            "uuid": "s1",
            "isRecommended": True,
            "actions": [
                {
                    "type": "create",
                    "description": "Another greeting",
                    "resource": {"resourceType": "CommunicationRequest", "status": "draft"},
                },
                {
                    "type": "delete",
                    "description": "No old greeting",
                    "resourceId": "CommunicationRequest/old",
                },
            ],
        },
        {"label": "Say nothing", "uuid": "s2", "isRecommended": False},
    ],
    "extension": {"org.example.planted": {"state": "awake"}},
}


CALL: Json = {
    "hook": "patient-view",
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "context": {"userId": "Practitioner/1", "patientId": "p1"},
    "prefetch": {"patient": {"resourceType": "Patient"}, "studies": {"resourceType": "Bundle"}},
}


class Refused(Exception):
    """Answered with a status and an OperationOutcome."""

    def __init__(self, status: int, said: str, why: str = "") -> None:
        super().__init__(said)
        self.status, self.said, self.why = status, said, why


@dataclass
class PlantedService:
    """The service; `clock` is epoch seconds, `key` the public key of its one caller."""

    faults: set[str] = field(default_factory=set)
    clock: Callable[[], float] = lambda: ehr.NOW_S
    base_url: str = ehr.BASE_URL
    used: set[str] = field(default_factory=set)

    def has(self, fault: str) -> bool:
        return fault in self.faults

    @property
    def app(self) -> Flask:
        app = Flask("planted")
        app.add_url_rule("/cds-services", view_func=self.discover, methods=["GET"])
        app.add_url_rule("/cds-services/<name>", view_func=self.call, methods=["POST"])
        feedback = "/cds-services/<name>/feedback"
        if not self.has("no-feedback"):
            app.add_url_rule(feedback, view_func=self.feedback, methods=["POST"])
        if self.has("get-runs-a-service"):
            app.add_url_rule("/cds-services/<name>", "got", lambda name: jsonify(cards=[]))
        app.register_error_handler(Exception, self.refuse)
        app.after_request(self.share)
        return app

    # discovery

    def discover(self) -> Any:
        services = [copy.deepcopy(service) for service in SERVICES]
        first = services[0]
        changes: dict[str, Callable[[], object]] = {
            "no-hook": lambda: first.pop("hook"),
            "no-description": lambda: first.pop("description"),
            "no-title": lambda: first.pop("title"),
            "prefetch-of-numbers": lambda: first.update(prefetch={"patient": 7}),
            "no-version": lambda: first.pop("version"),
            "wrong-hook-version": lambda: first.update(hookVersion="9.9"),
            "id-twice": lambda: services.append(services[0]),
            "null-in-discovery": lambda: first.update(usageRequirements=None),
            "unknown-member": lambda: first.update(owner="somebody"),
            "extension-is-a-string": lambda: first.update(extension="x"),
            "control-characters": lambda: first.update(hook="[bold]\x1b[2J"),
            "invented-hook": lambda: first.update(hook="imaging"),
            "old-token": lambda: first["prefetch"].update(patient="Patient/{{Patient.id}}"),
            "token-of-another-hook": lambda: first["prefetch"].update(
                patient="Patient/{{context.draftOrders}}"
            ),
            "one-brace": lambda: first["prefetch"].update(patient="Patient/{context.patientId}"),
            "include": lambda: first["prefetch"].update(
                studies=f"{PREFETCH['studies']}&_include=ImagingStudy:endpoint"
            ),
            "chained-search": lambda: first["prefetch"].update(
                studies="ImagingStudy?patient.name=x"
            ),
            "ballot-token": lambda: first["prefetch"].update(
                studies="ImagingStudy?started=ge{{today() - 30 days}}"
            ),
        }
        for fault, change in changes.items():
            if self.has(fault):
                change()
        if self.has("discovery-is-a-list"):
            return jsonify(services)
        if self.has("discovery-is-html"):
            return Response("<html></html>", mimetype="text/html")
        return jsonify(services={} if self.has("services-is-an-object") else services)

    # calls

    def call(self, name: str) -> Any:
        service = next((s for s in SERVICES if s["id"] == name), None)
        if service is None and not self.has("any-id-is-served"):
            raise Refused(404, "not-found")
        if self.has("service-is-404"):
            raise Refused(404, "not-found")
        self.admit(f"/cds-services/{name}")
        body = self.body()
        self.check(body, service or SERVICES[0])
        answer = {"cards": [self.card()]}
        if self.has("no-cards"):
            answer = {"decisions": []}  # type: ignore[dict-item]  # the fault
        if self.has("cards-is-an-object"):
            answer = {"cards": {"0": self.card()}}  # type: ignore[dict-item]  # the fault
        if self.has("same-uuid-twice"):
            answer["cards"].append(self.card())
        if self.has("system-action-of-no-type"):
            answer["systemActions"] = [{"type": "replace"}]
        status = 201 if self.has("created") else 200
        kind = "text/plain" if self.has("cards-as-text") else "application/json"
        return Response(json.dumps(answer), status, mimetype=kind)

    def card(self) -> Json:
        card = copy.deepcopy(CARD)
        action, deletion = card["suggestions"][0]["actions"]
        changes: dict[str, Callable[[], object]] = {
            "no-summary": lambda: card.pop("summary"),
            "no-indicator": lambda: card.pop("indicator"),
            "no-source-label": lambda: card["source"].pop("label"),
            "long-summary": lambda: card.update(summary="x" * 140),
            "hard-stop": lambda: card.update(indicator="hard-stop"),
            "detail-is-an-object": lambda: card.update(detail={"text": "x"}),
            "script-in-detail": lambda: card.update(detail="<script>alert(1)</script>"),
            "javascript-in-detail": lambda: card.update(detail="[x](javascript:alert(1))"),
            "uuid-is-a-number": lambda: card.update(uuid=7),
            "relative-icon": lambda: card["source"].update(icon="/icon.png"),
            "topic-is-a-string": lambda: card["source"].update(topic="greeting"),
            "reason-without-system": lambda: card["overrideReasons"][0].pop("system"),
            "null-in-a-card": lambda: card.update(detail=None),
            "empty-suggestions": lambda: card.update(suggestions=[]),
            "card-extension-is-a-list": lambda: card.update(extension=["x"]),
            "extension-without-domain": lambda: card.update(extension={"state": {"x": 1}}),
            "no-selection-behavior": lambda: card.pop("selectionBehavior"),
            "suggestion-without-label": lambda: card["suggestions"][0].pop("label"),
            "recommended-is-a-string": lambda: card["suggestions"][0].update(isRecommended="yes"),
            "two-recommended": lambda: card["suggestions"][1].update(isRecommended=True),
            "action-of-no-type": lambda: action.update(type="replace"),
            "action-without-description": lambda: action.pop("description"),
            "action-without-resource": lambda: action.pop("resource"),
            "deletion-by-resource": lambda: deletion.pop("resourceId"),
            "selected-actions": lambda: card["suggestions"][0].update(
                actionSelectionBehavior="any"
            ),
            "relative-link": lambda: card["links"][0].update(url="/more"),
            "link-of-no-type": lambda: card["links"][0].update(type="popup"),
            "link-without-label": lambda: card["links"][0].pop("label"),
            "app-context-of-absolute": lambda: card["links"][0].update(appContext="x"),
            "app-context-is-an-object": lambda: card["links"][1].update(appContext={"a": 1}),
            "token-in-a-link": lambda: card["links"][0].update(
                url="https://planted.example.org/more?access_token=abc"
            ),
            "patient-in-a-link": lambda: card["links"][0].update(
                url="https://planted.example.org/patients/p1"
            ),
            "plain-http-link": lambda: card["links"][0].update(url="http://planted.example.org/"),
        }
        for fault, change in changes.items():
            if self.has(fault):
                change()
        return card

    def body(self) -> Json:
        if request.mimetype != "application/json" and not self.has("any-content-type"):
            raise Refused(415, "not-supported")
        if request.content_type != "application/json" and self.has("no-charset"):
            raise Refused(415, "not-supported")
        text = request.get_data()
        if self.has("eval"):  # reads what Python's reader accepts, and trips over the rest
            return dict(json.loads(text))
        try:
            body = json.loads(text)
            json.dumps(body, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            if self.has("any-body"):
                return dict(CALL)
            raise Refused(400, "invalid") from None
        if not isinstance(body, dict):
            raise Refused(400, "invalid")
        return body

    def check(self, body: Json, service: Json) -> None:
        if self.has("any-call"):
            return
        if self.has("strict-members") and set(body) - {
            "hook", "hookInstance", "context", "prefetch", "fhirServer", "fhirAuthorization",
        }:  # fmt: skip
            raise Refused(400, "invalid")
        for name in ("hook", "hookInstance", "context"):
            if name not in body and not self.has(f"any-call-without-{name}"):
                raise Refused(400, "required")
        if body.get("hook", service["hook"]) != service["hook"] and not self.has("any-hook"):
            raise Refused(400, "invalid")
        given = body.get("context", {})
        if not self.has("any-context") and not set(required_fields(service["hook"])) <= set(given):
            raise Refused(400, "required")
        if "fhirAuthorization" in body and "fhirServer" not in body and not self.has("any-token"):
            raise Refused(400, "required")
        self.look_at(body.get("prefetch", {}), body)

    def look_at(self, prefetch: Json, body: Json) -> None:
        if "fhirServer" in body and self.has("asks-any-server"):
            requests.get(body["fhirServer"], timeout=5)
        for key, kind in (("patient", "Patient"), ("studies", "Bundle")):
            value = prefetch.get(key, "absent")
            if self.has("trusts-prefetch") and value is not None:
                value["resourceType"]
            if value is None and self.has("null-crashes"):
                raise TypeError("NoneType")
            sent = isinstance(value, Mapping)
            found = value.get("resourceType") if isinstance(value, Mapping) else None
            if found == "OperationOutcome" and self.has("outcome-is-500"):
                raise Refused(500, "exception")
            if value == "absent" and self.has("all-or-nothing") and prefetch:
                raise Refused(500, "exception")
            if sent and "entry" not in value and kind == "Bundle" and self.has("empty-is-412"):
                raise Refused(412, "required")
            if value is not None and found != kind:
                raise Refused(400 if self.has("no-data-is-400") else 412, "required")

    # callers

    def admit(self, path: str) -> None:
        if self.has("no-tokens"):
            return
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and self.has("fetches-jku"):
            self.fetch_jku(token)
        try:
            claims = self.claims(token, f"{self.base_url}{path}")
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            raise Refused(401, "login", str(error)) from None
        if claims.get("jti") in self.used and not self.has("replay"):
            raise Refused(401, "login", "used before")
        self.used.add(claims.get("jti", ""))

    def fetch_jku(self, token: str) -> None:
        try:
            requests.get(jwt.get_unverified_header(token)["jku"], timeout=5)
        except (jwt.PyJWTError, KeyError, requests.RequestException):
            return

    def claims(self, token: str, audience: str) -> Json:
        header = jwt.get_unverified_header(token)
        unproved: Json = jwt.decode(token, options={"verify_signature": False})
        weak = header["alg"].lower() in ("none", "hs256")
        if weak and self.has("weak-algorithms"):
            return unproved
        elsewhere = header.get("jku", ehr.JWKS_URL) != ehr.JWKS_URL
        if elsewhere and self.has("any-jku"):
            return unproved
        if elsewhere:
            raise ValueError("jku")
        if weak or not self.has("unverified-signatures"):
            jwt.api_jws.decode(token, ehr.KEY.public_key(), algorithms=["ES384"])
        self.check_claims(unproved, audience)
        return unproved

    def check_claims(self, claims: Json, audience: str) -> None:
        now_s = self.clock()
        required = () if self.has("optional-claims") else ("iss", "aud", "exp", "iat", "jti")
        for name in required:
            claims[name]
        if claims.get("iss", ehr.ISSUER) != ehr.ISSUER and not self.has("any-issuer"):
            raise ValueError("iss")
        listed = claims.get("aud", audience)
        if isinstance(listed, list) and self.has("audience-is-a-string"):
            raise ValueError("aud")
        named = listed if isinstance(listed, list) else [listed]
        whose = [name for name in named if name.startswith(audience)]
        if not whose and not self.has("any-audience"):
            raise ValueError("aud")
        if audience not in named and not self.has("audience-prefix") and whose:
            raise ValueError("aud")
        if claims.get("exp", now_s) < now_s - 60 and not self.has("expired-tokens"):
            raise ValueError("exp")
        if claims.get("nbf", now_s) > now_s + 60 and not self.has("early-tokens"):
            raise ValueError("nbf")
        if "sub" in claims and self.has("strict-claims"):
            raise ValueError("sub")

    # feedback

    def feedback(self, name: str) -> Any:
        self.admit(f"/cds-services/{name}/feedback")
        body = self.body()
        if self.has("feedback-is-500"):
            raise Refused(500, "exception")
        entries = body.get("feedback")
        if self.has("any-feedback"):
            return jsonify({})
        if not isinstance(entries, list):
            raise Refused(400, "invalid")
        cards = [entry.get("card") for entry in entries]
        if self.has("feedback-once") and len(set(cards)) < len(cards):
            raise Refused(409, "duplicate")
        for entry in entries:
            known = entry.get("outcome") in ("accepted", "overridden")
            if not known or "outcomeTimestamp" not in entry or not is_uuid(entry.get("card")):
                raise Refused(400, "invalid")
        return jsonify({})

    # errors and headers

    def refuse(self, error: Exception) -> Response:
        status, said, why = 500, "exception", ""
        if isinstance(error, Refused):
            status, said, why = error.status, error.said, error.why
        elif isinstance(error, HTTPException):
            status, said = error.code or 500, "not-supported"
        if self.has("errors-as-html"):
            return Response(f"<h1>{status}</h1>", status, mimetype="text/html")
        issue = {"severity": "error", "code": said}
        if self.has("stack-traces"):
            issue["diagnostics"] = "".join(traceback.format_exception(error))
        elif why and self.has("talkative-refusals"):
            issue["diagnostics"] = why
        text = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
        return Response(text, status, mimetype="application/json")

    def share(self, response: Response) -> Response:
        origin = request.headers.get("Origin", "")
        if origin != ORIGIN and not self.has("credentials-for-all"):
            return response
        if self.has("no-cors") or (self.has("cors-on-get-alone") and request.method == "POST"):
            return response
        if self.has("no-cors-on-errors") and response.status_code >= 400:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        allowed = "Content-Type" if self.has("no-authorization-header") else "*"
        if not self.has("no-authorization-header") and not self.has("asterisk-header"):
            allowed = "Authorization, Content-Type"
        response.headers["Access-Control-Allow-Headers"] = allowed
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        if self.has("credentials-for-all"):
            response.headers["Access-Control-Allow-Credentials"] = "true"
        return response


def is_uuid(value: object) -> bool:
    try:
        uuid.UUID(str(value))
    except ValueError:
        return False
    return True


PLANTED: Mapping[str, str] = {
    # discovery
    "discovery-is-a-list": "discovery-answers",
    "discovery-is-html": "discovery-answers",
    "services-is-an-object": "discovery-answers",
    "no-hook": "services-are-described",
    "no-description": "services-are-described",
    "service-is-404": "services-can-be-called",
    "no-title": "services-have-titles",
    "prefetch-of-numbers": "optional-members-have-their-types",
    "no-version": "versions-are-stated",
    "wrong-hook-version": "hook-versions-exist",
    "id-twice": "ids-are-unique-for-a-hook",
    "null-in-discovery": "nothing-is-empty-in-discovery",
    "unknown-member": "members-are-known",
    "extension-is-a-string": "extensions-are-objects",
    "invented-hook": "hooks-are-named-by-the-rule",
    "old-token": "tokens-are-known",
    "token-of-another-hook": "tokens-are-known",
    "one-brace": "tokens-are-known",
    "include": "queries-are-portable",
    "chained-search": "queries-are-portable",
    "ballot-token": "tokens-are-not-of-the-ballot",
    # callers
    "no-tokens": "callers-are-authenticated",
    "optional-claims": "claims-are-required",
    "strict-claims": "further-claims-are-accepted",
    "weak-algorithms": "weak-algorithms-are-refused",
    "unverified-signatures": "signatures-are-verified",
    "any-audience": "audiences-are-checked",
    "audience-prefix": "audiences-are-checked",
    "audience-is-a-string": "an-audience-may-be-an-array",
    "any-issuer": "issuers-are-listed",
    "any-jku": "issuers-are-listed",
    "replay": "tokens-are-good-once",
    "expired-tokens": "expired-tokens-are-refused",
    "early-tokens": "early-tokens-are-refused",
    "talkative-refusals": "refusals-are-alike",
    # calls
    "strict-members": "unknown-members-are-passed-over",
    "any-call-without-hook": "required-members-are-required",
    "any-call-without-hookInstance": "required-members-are-required",
    "any-call": "required-members-are-required",
    "any-context": "required-fields-are-required",
    "any-token": "a-token-needs-a-server",
    "any-hook": "other-hooks-are-refused",
    "null-crashes": "null-is-an-answer",
    "outcome-is-500": "a-failed-prefetch-is-no-crash",
    "all-or-nothing": "a-partial-prefetch-is-no-crash",
    "no-data-is-400": "without-data-it-is-412",
    "empty-is-412": "an-empty-chart-is-an-answer",
    "trusts-prefetch": "odd-prefetch-is-no-crash",
    # answers
    "no-cards": "calls-are-answered-with-cards",
    "cards-is-an-object": "calls-are-answered-with-cards",
    "cards-as-text": "calls-are-answered-with-cards",
    "created": "calls-are-answered-with-cards",
    "null-in-a-card": "nothing-is-empty-in-answers",
    "empty-suggestions": "nothing-is-empty-in-answers",
    "no-summary": "cards-have-what-is-required",
    "no-indicator": "cards-have-what-is-required",
    "no-source-label": "cards-have-what-is-required",
    "long-summary": "summaries-are-short",
    "hard-stop": "indicators-are-known",
    "detail-is-an-object": "details-are-text",
    "script-in-detail": "details-hold-no-active-markup",
    "javascript-in-detail": "details-hold-no-active-markup",
    "uuid-is-a-number": "uuids-are-unique",
    "same-uuid-twice": "uuids-are-unique",
    "relative-icon": "sources-are-well-formed",
    "topic-is-a-string": "sources-are-well-formed",
    "reason-without-system": "override-reasons-are-codings",
    "card-extension-is-a-list": "extensions-of-answers-are-objects",
    "extension-without-domain": "extensions-have-reverse-dns-names",
    "no-selection-behavior": "selection-behavior-goes-with-suggestions",
    "suggestion-without-label": "suggestions-are-well-formed",
    "recommended-is-a-string": "suggestions-are-well-formed",
    "two-recommended": "one-suggestion-is-recommended",
    "action-of-no-type": "actions-are-well-formed",
    "action-without-description": "actions-are-well-formed",
    "action-without-resource": "actions-are-well-formed",
    "system-action-of-no-type": "actions-are-well-formed",
    "deletion-by-resource": "deletions-name-a-resource",
    "selected-actions": "actions-are-not-selected-one-by-one",
    "relative-link": "links-are-well-formed",
    "link-of-no-type": "links-are-well-formed",
    "link-without-label": "links-are-well-formed",
    "app-context-of-absolute": "app-context-belongs-to-smart-links",
    "app-context-is-an-object": "app-context-belongs-to-smart-links",
    "token-in-a-link": "links-carry-no-secret",
    "patient-in-a-link": "links-carry-no-secret",
    "plain-http-link": "links-lead-to-https",
    # feedback
    "feedback-is-500": "feedback-is-accepted",
    "feedback-once": "feedback-is-accepted",
    "any-feedback": "other-feedback-is-refused",
    # errors
    "any-body": "malformed-bodies-are-refused",
    "eval": "malformed-bodies-are-refused",
    "errors-as-html": "errors-are-operation-outcomes",
    "stack-traces": "no-stack-trace-is-shown",
    "any-id-is-served": "unknown-services-are-404",
    "get-runs-a-service": "other-methods-are-405",
    "any-content-type": "other-content-types-are-415",
    "no-charset": "a-charset-may-be-stated",
    # browsers
    "no-cors": "preflights-are-answered",
    "no-authorization-header": "preflights-are-answered",
    "asterisk-header": "preflights-are-answered",
    "cors-on-get-alone": "answers-may-be-read",
    "no-cors-on-errors": "answers-may-be-read",
    "credentials-for-all": "strangers-get-no-credentials",
}
"""Fault -> the check that must find it."""
