"""The three routes of CDS Hooks: who calls, what is asked, what is answered."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from flask import Blueprint, Response, g, jsonify, request

from cds_service.claims import Card, stated_on
from cds_service.feedback import CardLedger
from cds_service.hooks.body import json_body
from cds_service.hooks.discovery import SERVICES, CdsService, discovery
from cds_service.hooks.errors import Unavailable, UnknownService
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.invoke import HookDesk, answer, without_work
from cds_service.hooks.request import parse_request
from cds_service.metrics import Metrics
from cds_service.queue.errors import QueueError
from cds_service.security.certificates import ClientCertificates
from cds_service.security.errors import ReplayUnknown
from cds_service.security.jwt import Caller, Verifier
from cds_service.security.replay import UsedTokens
from cds_service.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gate:
    """Lets a caller in whose token is good, for this endpoint, and not used before."""

    base_url: str
    verifier: Verifier
    used_tokens: UsedTokens
    certificates: ClientCertificates

    def admit(self, path: str) -> Caller:
        """The caller of the endpoint at `path` below our public address.

        The audience is made from the configured address: behind a proxy the request's own host
        may be anything.

        Raises:
            InvalidToken, ReplayUnknown: see `security.errors`.
        """
        audience = f"{self.base_url.rstrip('/')}{path}"
        caller = self.verifier.verify(request.headers.get("Authorization"), audience)
        self.certificates.check(caller.tenant, request.remote_addr, request.headers.get)
        self.used_tokens.use(caller)
        if caller.misdirected:
            _log.warning("audience of another endpoint", extra={"tenant": caller.tenant.name})
        return caller


def hooks_blueprint(
    settings: Settings, gate: Gate, desk: HookDesk, ledger: CardLedger, metrics: Metrics
) -> Blueprint:
    """Discovery, invocation and feedback (CDS Hooks 2.0.1)."""
    blueprint = Blueprint("hooks", __name__)

    @blueprint.get("/cds-services")
    def discover() -> Response:
        if not settings.hook.discovery_open:
            _admitted(gate, "/cds-services")
        return jsonify(discovery(settings.hook.studies))

    @blueprint.post("/cds-services/<service_id>")
    def invoke(service_id: str) -> Response:
        service = _service(service_id)
        started = time.perf_counter()
        cards = _called(service, gate, desk)
        about_studies = [card for card in cards if "study" in stated_on(card)]
        ledger.issued(g.get("tenant", ""), service.id, about_studies)
        for card in cards:
            metrics.card_answered(service.id, stated_on(card)["state"])
        _note_answer(service, cards, time.perf_counter() - started)
        return jsonify(cards=cards)

    @blueprint.post("/cds-services/<service_id>/feedback")
    def feedback(service_id: str) -> Response:
        service = _service(service_id)
        caller = _admitted(gate, f"/cds-services/{service.id}/feedback")
        entries = parse_feedback(json_body())
        try:
            ledger.note(caller.tenant.name, entries)
        except QueueError:
            raise Unavailable("Feedback cannot be kept at the moment.") from None
        return jsonify(received=len(entries))

    @blueprint.before_request
    def begin() -> None:
        g.started_s = time.perf_counter()

    @blueprint.after_app_request
    def measure(response: Response) -> Response:
        service = (request.view_args or {}).get("service_id", "")
        if request.endpoint == "hooks.invoke" and request.method == "POST" and "started_s" in g:
            took_s = time.perf_counter() - g.started_s
            metrics.hook_answered(service, g.get("tenant", ""), response.status_code, took_s)
        return response

    return blueprint


def _service(service_id: str) -> CdsService:
    service = SERVICES.get(service_id)
    if service is None:
        raise UnknownService("No service has this id.")
    return service


def _admitted(gate: Gate, path: str) -> Caller:
    try:
        return gate.admit(path)
    except ReplayUnknown:
        raise Unavailable("The caller cannot be checked at the moment.") from None


def _called(service: CdsService, gate: Gate, desk: HookDesk) -> list[Card]:
    """The cards; when replay cannot be excluded, the one that says nothing of anybody."""
    try:
        caller = gate.admit(f"/cds-services/{service.id}")
    except ReplayUnknown as error:
        _log.warning("replay cannot be excluded", extra={"kind": error.kind})
        return without_work(service, desk)
    g.tenant, g.token_id = caller.tenant.name, caller.token_id
    call = parse_request(json_body(), service.hook)
    g.hook_instance = call.hook_instance
    cards = answer(call, service, caller.tenant, desk)
    return _never_launched(cards) if caller.tenant.states_auto_launch else cards


def _never_launched(cards: list[Card]) -> list[Card]:
    """The cards, each link of which says that nothing is to be opened without a click."""
    return [
        card | {"links": [link | {"autoLaunchable": False} for link in card["links"]]}
        if "links" in card
        else card
        for card in cards
    ]


def _note_answer(service: CdsService, cards: list[Card], took_s: float) -> None:
    """One line for each call, to settle later what was answered."""
    _log.info(
        "hook answered",
        extra={
            "service": service.id,
            "tenant": g.get("tenant"),
            "hook_instance": g.get("hook_instance"),
            "cards": ",".join(card["uuid"] for card in cards),
            "state": ",".join(stated_on(card)["state"] for card in cards),
            "duration_ms": round(took_s * 1000, 1),
        },
    )
