"""A CDS service that keeps every requirement, and breaks the ones that a test names.

Each fault is one word in `faults`; `planted_faults` says which check must find it.
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
            "title-is-a-number": lambda: first.update(title=7),
            "discovery-extension-without-domain": lambda: first.update(extension={"x": {"y": 1}}),
            "no-version": lambda: first.pop("version"),
            "wrong-hook-version": lambda: first.update(hookVersion="9.9"),
            "id-twice": lambda: services.append(services[0]),
            "id-with-a-slash": lambda: first.update(id="greet/er"),
            "id-with-a-blank": lambda: first.update(id="greet er"),
            "id-of-dots": lambda: first.update(id=".."),
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
        if self.has("system-actions-is-a-string"):
            answer["systemActions"] = "x"  # type: ignore[assignment]  # the fault
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
            "summary-of-two-lines": lambda: card.update(summary="Good morning.\nIt is early."),
            "hard-stop": lambda: card.update(indicator="hard-stop"),
            "detail-is-an-object": lambda: card.update(detail={"text": "x"}),
            "script-in-detail": lambda: card.update(detail="<script>alert(1)</script>"),
            "javascript-in-detail": lambda: card.update(detail="[x](javascript:alert(1))"),
            "uuid-is-a-number": lambda: card.update(uuid=7),
            "misspelt-card-member": lambda: card.update(selectionBehaviour="any"),
            "topic-display-is-a-number": lambda: card["source"]["topic"].update(display=7),
            "source-url-with-a-blank": lambda: card["source"].update(url="https://a.example/b c"),
            "relative-icon": lambda: card["source"].update(icon="/icon.png"),
            "topic-is-a-string": lambda: card["source"].update(topic="greeting"),
            "reason-without-system": lambda: card["overrideReasons"][0].pop("system"),
            "null-in-a-card": lambda: card.update(detail=None),
            "empty-suggestions": lambda: card.update(suggestions=[]),
            "card-extension-is-a-list": lambda: card.update(extension=["x"]),
            "extension-without-domain": lambda: card.update(extension={"state": {"x": 1}}),
            "no-selection-behavior": lambda: card.pop("selectionBehavior"),
            "behavior-without-suggestions": lambda: (
                card.pop("suggestions"),
                card.update(selectionBehavior="whatever"),
            ),
            "suggestion-without-label": lambda: card["suggestions"][0].pop("label"),
            "suggestion-uuid-twice": lambda: card["suggestions"][1].update(uuid="s1"),
            "suggestion-extension-is-a-list": lambda: card["suggestions"][0].update(extension=[1]),
            "link-extension-without-domain": lambda: card["links"][0].update(
                extension={"x": {"y": 1}}
            ),
            "recommended-is-a-string": lambda: card["suggestions"][0].update(isRecommended="yes"),
            "two-recommended": lambda: card["suggestions"][1].update(isRecommended=True),
            "action-of-no-type": lambda: action.update(type="replace"),
            "action-without-description": lambda: action.pop("description"),
            "action-without-resource": lambda: action.pop("resource"),
            "update-of-nothing": lambda: action.update(type="update"),
            "deletion-of-an-url": lambda: deletion.update(resourceId="https://e.example/Task/1"),
            "action-with-a-number": lambda: deletion.update(resourceId=7),
            "deletion-by-resource": lambda: deletion.pop("resourceId"),
            "selected-actions": lambda: card["suggestions"][0].update(
                actionSelectionBehavior="any"
            ),
            "link-with-a-line-end": lambda: card["links"][0].update(url="https://a.example/\nb"),
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
        given = self.context(body)
        if not self.has("any-context") and not set(required_fields(service["hook"])) <= set(given):
            raise Refused(400, "required")
        if "fhirAuthorization" in body and "fhirServer" not in body and not self.has("any-token"):
            raise Refused(400, "required")
        self.look_at(body.get("prefetch", {}), body)

    def context(self, body: Json) -> Json:
        given: Json = body.get("context", {})
        if self.has("odd-members-crash"):
            given["patientId"].casefold()
        kinds = {"context": dict, "hookInstance": str, "prefetch": dict}
        if not all(isinstance(body.get(name, kind()), kind) for name, kind in kinds.items()):
            raise Refused(400, "invalid")
        if self.has("encounter-is-required") and "encounterId" not in given:
            raise Refused(400, "required")
        if self.has("physicians-alone") and not given.get("userId", "").startswith("Practitioner/"):
            raise Refused(500, "exception")
        if self.has("strict-keys") and set(body.get("prefetch", {})) - set(PREFETCH):
            raise Refused(400, "invalid")
        return given

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
            if self.has("trace-on-refusal"):
                raise Refused(401, "login", "".join(traceback.format_exception(error))) from None
            if self.has("echoes-the-token"):
                raise Refused(401, "login", f"not accepted: {token}") from None
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
        head, payload, _ = (jwt.utils.base64url_decode(part) for part in token.split("."))
        header = json.loads(head)
        if "crit" in header and self.has("passes-over-crit"):
            return dict(json.loads(payload))
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
            own = "jwk" in header and self.has("key-of-the-token")
            key = jwt.PyJWK(header["jwk"]).key if own else ehr.KEY.public_key()
            jwt.api_jws.decode(token, key, algorithms=["ES384"])
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
        if self.has("audience-is-the-host") and named == [self.base_url]:
            return
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
        if not self.has("feedback-of-anybody"):
            self.admit(f"/cds-services/{name}/feedback")
        if self.has("feedback-of-any-service") or name in {s["id"] for s in SERVICES}:
            return self.taken()
        raise Refused(404, "not-found")

    def taken(self) -> Any:
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
        elif why and self.faults & {"talkative-refusals", "trace-on-refusal", "echoes-the-token"}:
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
