"""The web process: routes put together, one shape for every error, and the server below it.

Nothing is built here: `bootstrap` hands in what a call needs.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import waitress
from flask import Blueprint, Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider
from prometheus_client.registry import Collector
from werkzeug.exceptions import HTTPException

from cds_service.feedback import CardLedger
from cds_service.health import Check, Details, health_blueprint
from cds_service.hooks.discovery import SERVICES
from cds_service.hooks.errors import CallError
from cds_service.hooks.invoke import HookDesk
from cds_service.hooks.routes import Gate, hooks_blueprint
from cds_service.metrics import Metrics, metrics_blueprint
from cds_service.refusals import channels
from cds_service.scrapes import Gauges
from cds_service.security.certificates import ClientCertificates
from cds_service.security.errors import InvalidToken, Refusal
from cds_service.security.headers import allow_origin, secure
from cds_service.security.jwt import Verifier
from cds_service.security.keyring import PUBLISHED_MAX_AGE_S
from cds_service.security.keys import SigningKey, public_jwks
from cds_service.security.operators import Operator
from cds_service.security.replay import UsedTokens
from cds_service.settings import Settings
from fhir_mapping.outcome import outcome

_log = logging.getLogger(__name__)

CHANNEL_TIMEOUT_S = 10
"""A client that says nothing for so long, or has not sent a request wholly by then, is cut."""

SENTENCES = {
    400: ("invalid", "The request is not valid."),
    404: ("not-found", "There is nothing at this address."),
    405: ("not-supported", "This address does not know the method."),
    413: ("too-long", "The body is too large."),
    415: ("not-supported", "The body must be application/json in UTF-8."),
}
"""HTTP status -> issue code and sentence, for errors that the framework finds."""

UNAUTHENTICATED = "The caller is not authenticated."
BROKEN = "The service could not answer."


class CompactJson(DefaultJSONProvider):
    """JSON in UTF-8, in the order in which it was made, without blanks."""

    ensure_ascii = False
    sort_keys = False
    compact = True


@dataclass(frozen=True)
class WebDependencies:
    """What `bootstrap` hands in.

    `signing_keys` gives our own, to publish their public halves. `blueprints` are further pages
    (the viewer, notifications). `checks` are asked by ``/readyz``, `details` of the models, and
    `rights` of the tenants.
    """

    settings: Settings
    desk: HookDesk
    verifier: Verifier
    used_tokens: UsedTokens
    ledger: CardLedger
    metrics: Metrics
    checks: Mapping[str, Check] = field(default_factory=dict)
    signing_keys: Callable[[], Iterable[SigningKey]] = tuple
    blueprints: Sequence[Blueprint] = ()
    details: Details | None = None
    rights: Details | None = None
    gated: Sequence[Callable[[Gate], Blueprint]] = ()


def web_metrics(
    settings: Settings, gauges: Gauges | None = None, scraped: Iterable[Collector] = ()
) -> Metrics:
    """Metrics whose labels are the words of these settings."""
    return Metrics(
        services=SERVICES,
        tenants=[tenant.name for tenant in settings.tenants],
        refusals=list(Refusal),
        gauges=gauges,
        scraped=scraped,
    )


def create_app(deps: WebDependencies) -> Flask:
    """The WSGI application. It sets no cookie, has no session and never shows a stack trace."""
    settings = deps.settings
    app = Flask("scanhook", static_folder=None)
    app.debug = False  # whatever FLASK_DEBUG says: there is no debug mode, on loopback or elsewhere
    app.json = CompactJson(app)
    app.url_map.merge_slashes = False  # a redirect would have a body that is not JSON
    app.config["MAX_CONTENT_LENGTH"] = settings.hook.body_bytes
    certificates = ClientCertificates(settings.mutual_tls)
    gate = Gate(settings.base_url, deps.verifier, deps.used_tokens, certificates)
    app.register_blueprint(hooks_blueprint(settings, gate, deps.desk, deps.ledger, deps.metrics))
    operator = Operator(settings.web.operator_token.get_secret_value())
    app.register_blueprint(
        health_blueprint(
            deps.checks, deps.details, settings.warnings, operator.admitted, deps.rights
        )
    )
    app.register_blueprint(operator.only(metrics_blueprint(deps.metrics)))
    app.register_blueprint(_keys_blueprint(deps.signing_keys))
    for made in deps.gated:
        app.register_blueprint(made(gate))
    for blueprint in deps.blueprints:
        app.register_blueprint(blueprint)
    _answer_errors(app, deps.metrics)
    https = settings.base_url.startswith("https://")

    @app.after_request
    def finish(response: Response) -> Response:
        response = allow_origin(request, response, settings.hook.cors_origins)
        return secure(response, https=https)

    return app


def _keys_blueprint(keys: Callable[[], Iterable[SigningKey]]) -> Blueprint:
    """Our public keys, for EHRs that verify our client assertions (SMART Backend Services)."""
    blueprint = Blueprint("keys", __name__)

    @blueprint.get("/.well-known/jwks.json")
    def jwks() -> Response:
        response = jsonify(public_jwks(keys()))
        response.headers["Cache-Control"] = f"public, max-age={PUBLISHED_MAX_AGE_S}"
        return response

    return blueprint


def _answer_errors(app: Flask, metrics: Metrics) -> None:
    """Every error is one OperationOutcome with one sentence."""

    @app.errorhandler(CallError)
    def call_error(error: CallError) -> tuple[Response, int]:
        _note(error.kind, error.status)
        return _told(error.sentence, error.code, error.status)

    @app.errorhandler(InvalidToken)
    def invalid_token(error: InvalidToken) -> tuple[Response, int]:
        # why is for us alone: the answer is the same byte for byte
        metrics.token_refused(error.refusal)
        _log.warning("token refused", extra={"refusal": str(error.refusal)})
        response, status = _told(UNAUTHENTICATED, "login", 401)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response, status

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        code, sentence = SENTENCES.get(status, ("processing", "The request cannot be served."))
        response, _ = _told(sentence, code, status)
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response, status

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        _log.error("unexpected error", extra={"kind": type(error).__name__}, exc_info=True)
        return _told(BROKEN, "exception", 500)


def _note(kind: str, status: int) -> None:
    said = {name: g.get(name) for name in ("tenant", "hook_instance")}
    _log.info("call refused", extra={"kind": kind, "status": status, **said})


def _told(sentence: str, code: str, status: int) -> tuple[Response, int]:
    return jsonify(outcome(sentence, code)), status


def server(app: Flask, settings: Settings) -> Any:
    """A waitress server, bound and not yet running: `effective_port`, ``run()``, ``close()``.

    Bodies stay in memory: they hold personal data, and a spill file would outlive a crash. What the
    server refuses by itself is answered by `refusals`.
    """
    # what was loaded to start stays for good: a full collection over it stops every call for 70 ms
    gc.collect()
    gc.freeze()
    body_bytes = settings.hook.body_bytes + 65_536
    sockets: dict[int, Any] = {}
    made = waitress.create_server(
        app,
        map=sockets,
        host=settings.web.host,
        port=settings.web.port,
        threads=settings.web.threads,
        connection_limit=settings.web.connections,
        channel_timeout=CHANNEL_TIMEOUT_S,
        cleanup_interval=CHANNEL_TIMEOUT_S // 2,
        max_request_body_size=body_bytes,
        inbuf_overflow=body_bytes + 65_536,
        max_request_header_size=65_536,
        ident=None,
        expose_tracebacks=False,
        clear_untrusted_proxy_headers=True,
        asyncore_use_poll=True,
    )
    https = settings.base_url.startswith("https://")
    for each in sockets.values():  # one for each address of the host, and what wakes them
        each.channel_class = channels(https=https, origins=settings.hook.cors_origins)
    return made
