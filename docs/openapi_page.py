"""Writes ``docs/openapi.json`` from the application's own routes: ``python -m docs.openapi_page``.

The document is for people who build clients and for tests; it is not served, since discovery is
what an EHR asks for.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from cds_service.bootstrap import Site, web
from cds_service.feedback import OUTCOMES
from cds_service.hooks.discovery import SERVICES
from cds_service.settings import Settings

Json = dict[str, Any]

PAGE = Path(__file__).with_name("openapi.json")
VERSION = "3.1.0"

BASE_URL = "https://ai.example.org"
_TENANT = {
    "name": "north",
    "issuer": "https://ehr.example.org",
    "jwks_url": "https://ehr.example.org/.well-known/jwks.json",
    "fhir_base": "https://ehr.example.org/fhir",
    "archive": "pacs",
    "smart_app": {"client_id": "scanhook"},
}

_TEXT: Json = {"type": "string"}
_OBJECT: Json = {"type": "object"}
CALL: Json = {
    "type": "object",
    "required": ["hook", "hookInstance", "context"],
    "properties": {
        "hook": {"enum": sorted({service.hook for service in SERVICES.values()})},
        "hookInstance": {"type": "string", "format": "uuid"},
        "fhirServer": {"type": "string", "format": "uri"},
        "fhirAuthorization": {
            "type": "object",
            "required": ["access_token", "token_type", "scope", "subject"],
            "properties": {
                "access_token": _TEXT,
                "token_type": {"const": "Bearer"},
                "expires_in": {"type": "integer"},
                "scope": _TEXT,
                "subject": _TEXT,
                "patient": _TEXT,
            },
        },
        "context": {
            "type": "object",
            "required": ["patientId"],
            "properties": {
                "userId": _TEXT,
                "patientId": _TEXT,
                "encounterId": _TEXT,
                "selections": {"type": "array", "items": _TEXT},
                "draftOrders": _OBJECT,
                "dispatchedOrders": {"type": "array", "items": _TEXT},
                "performer": _TEXT,
                "fulfillmentTasks": {"type": "array", "items": _OBJECT},
            },
        },
        "prefetch": {"type": "object", "additionalProperties": {"type": ["object", "null"]}},
    },
}
FEEDBACK: Json = {
    "type": "object",
    "required": ["feedback"],
    "properties": {
        "feedback": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["card", "outcome", "outcomeTimestamp"],
                "properties": {
                    "card": {"type": "string", "format": "uuid"},
                    "outcome": {"enum": list(OUTCOMES)},
                    "outcomeTimestamp": {"type": "string", "format": "date-time"},
                    "acceptedSuggestions": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"id": _TEXT}},
                    },
                    "overrideReason": {
                        "type": "object",
                        "properties": {"reason": _OBJECT, "userComment": _TEXT},
                    },
                },
            },
        }
    },
}
BODIES: Mapping[str, Json] = {"hooks.invoke": CALL, "hooks.feedback": FEEDBACK}
QUERIES: Mapping[str, tuple[str, ...]] = {
    "/smart/launch": ("iss", "launch"),
    "/smart/callback": ("state", "code", "error"),
}
"""Query parameters of a GET."""

FORMS: Mapping[str, tuple[str, ...]] = {
    "/smart/callback": ("code", "state", "verifier"),
    "/ops/requeue": ("study", "kind", "form"),
    "/e/<token>/answers": ("answer", "reason", "index"),
}
"""Fields of a POST by a page's own form."""


def whole_application(folder: Path, **changes: Any) -> Flask:
    """The application with every page that a setting can switch on; nothing is connected to."""
    values = {
        "environment": "development",
        "base_url": BASE_URL,
        "site_secrets": ["an example, and thirty-two characters long"],
        "redis_url": "redis://127.0.0.1:1/0",
        "state_dir": folder,
        "archives": [{"name": "pacs", "base_url": "https://pacs.example.org/dicom-web"}],
        "tenants": [_TENANT],
        "ops": {"secret": "an example of a long secret"},
        **changes,
    }
    return web.web_app(Site(Settings.model_validate(values)))


def document(app: Flask) -> Json:
    """The routes of `app` as OpenAPI 3.1."""
    paths: Json = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        paths.setdefault(path, {}).update(
            {method.lower(): _operation(app, rule, method) for method in methods}
        )
    return {
        "openapi": VERSION,
        "info": {
            "title": "scanhook",
            "version": "2.0.1",
            "description": "CDS Hooks 2.0.1, pages behind links, and what operators read.",
        },
        "servers": [{"url": BASE_URL}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            }
        },
    }


def _operation(app: Flask, rule: Rule, method: str) -> Json:
    view = app.view_functions[rule.endpoint]
    said = (view.__doc__ or "").strip().partition("\n")[0]
    made: Json = {
        "operationId": f"{rule.endpoint}-{method}-{rule.rule}",
        **({"summary": said} if said else {}),
        "parameters": list(_parameters(rule, method)),
        "responses": {
            "2XX": {"description": "The answer."},
            "4XX": {"description": "Refused: an OperationOutcome with one sentence, or a page."},
        },
    }
    if method in ("POST", "PUT"):
        made["requestBody"] = {"required": True, "content": _content(rule)}
    if rule.endpoint.startswith(("hooks.", "notifications.")):
        made["security"] = [{"jwt": []}]
    return made


def _content(rule: Rule) -> Json:
    fields = FORMS.get(rule.rule)
    if fields is None:
        return {"application/json": {"schema": BODIES.get(rule.endpoint, _OBJECT)}}
    properties = {name: _TEXT for name in fields}
    schema = {"type": "object", "properties": properties}
    return {"application/x-www-form-urlencoded": {"schema": schema}}


def _parameters(rule: Rule, method: str) -> Iterator[Json]:
    for name in sorted(rule.arguments):
        services = {"enum": list(SERVICES)} if name == "service_id" else {"minLength": 1}
        schema = {"type": "string", **services}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name in QUERIES.get(rule.rule, ()) if method == "GET" else ():
        yield {"name": name, "in": "query", "schema": _TEXT}


def page() -> str:
    """The whole document as it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        return json.dumps(document(whole_application(Path(folder))), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
