"""The demo EHR as one web application: FHIR server, token endpoint, keys, charts.

With another FHIR server the charts are of that one, and there is neither server nor token endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from cds_service.sandbox.answering import Answered
from cds_service.sandbox.chart import Desk, Stored, chart_pages
from cds_service.sandbox.demo_studies import DemoStudy
from cds_service.sandbox.fhir_routes import fhir_routes, outcome
from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.fhir_transaction import transact
from cds_service.sandbox.hook_client import HookClient, Site, TokenSource
from cds_service.sandbox.records import Records
from cds_service.sandbox.suggestions import Write
from cds_service.sandbox.token_endpoint import RegisteredClients, token_endpoint
from cds_service.sandbox.tokens import Tokens
from cds_service.sandbox.walk_routes import walk_routes
from cds_service.security.keys import SigningKey, public_jwks

BODY_BYTES = 16 * 1024 * 1024

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # without it a form of our own would have no Origin
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Elsewhere:
    """Another FHIR server, whose base is the site's `fhir_base`, and its tokens."""

    records: Records
    tokens: TokenSource


@dataclass(frozen=True)
class Ehr:
    """What the application is made of; `demo` are the studies whose truth is known, `operations`
    is the address of a page that every page links to."""

    site: Site
    key: SigningKey
    resources: Iterable[dict[str, Any]]
    clients: RegisteredClients
    demo: tuple[DemoStudy, ...] = ()
    stored: Stored = lambda _: ()
    elsewhere: Elsewhere | None = None
    operations: str = ""
    now: Callable[[], float] = field(default=time.time)


def create_ehr_app(ehr: Ehr) -> Flask:
    """The EHR at ``site.issuer``: ``/`` charts, ``/fhir``, ``/auth/token``, the key set.

    Writes go to memory and are gone with the process.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.jinja_env.globals.update(operations=ehr.operations, elsewhere=ehr.elsewhere is not None)
    if ehr.elsewhere is not None:
        records, tokens, write = ehr.elsewhere.records, ehr.elsewhere.tokens, None
    else:
        records, tokens, write = _own_server(app, ehr)
    hooks = HookClient(ehr.site, ehr.key, records, tokens, now=ehr.now)
    # of another server's chart only what was written meanwhile can be because of us
    since = datetime.fromtimestamp(ehr.now(), UTC).isoformat(timespec="seconds")
    written_since = since if ehr.elsewhere else ""
    desk = Desk(records, hooks, ehr.stored, written_since, Answered(), write, ehr.now)
    app.register_blueprint(chart_pages(desk))
    app.register_blueprint(walk_routes(records, hooks, ehr.demo), url_prefix="/sandbox")
    _add_keys(app, public_jwks([ehr.key]))
    _add_guards(app)
    return app


def _own_server(app: Flask, ehr: Ehr) -> tuple[Records, TokenSource, Write]:
    """The FHIR server of the sandbox, with its resources and its token endpoint."""
    store, tokens = FhirStore(), Tokens(ehr.now)
    with store.change() as draft:
        for resource in ehr.resources:
            draft.update(resource, resource["id"])
    base, token_url = ehr.site.fhir_base, f"{ehr.site.issuer}/auth/token"
    app.register_blueprint(fhir_routes(store, tokens, lambda: base), url_prefix="/fhir")
    endpoint = token_endpoint(lambda: token_url, tokens, ehr.clients, ehr.now)
    app.register_blueprint(endpoint, url_prefix="/auth")
    return store, tokens, lambda bundle: transact(store, bundle)


def _add_keys(app: Flask, key_set: Mapping[str, Any]) -> None:
    @app.get("/.well-known/jwks.json")
    def keys() -> Response:
        answer = jsonify(key_set)
        answer.headers["Cache-Control"] = "max-age=300"
        return answer


def _add_guards(app: Flask) -> None:
    @app.before_request
    def refuse_other_pages() -> Response | None:
        """A page of somebody else's may not press our buttons (the charts have no log-in)."""
        origin = request.headers.get("Origin")
        if request.method != "POST" or origin in (None, request.host_url.rstrip("/")):
            return None
        return Response("This page belongs to another site.\n", 403, mimetype="text/plain")

    @app.after_request
    def secure(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        status = error.code or 500
        if request.path.startswith("/fhir"):
            return outcome(status)
        return Response(f"{error.name}\n", status, mimetype="text/plain")
