"""The demo EHR's pages: patients, a chart with its cards, an order, what was sent and written."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request, url_for
from markdown_it import MarkdownIt
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from cds_service.sandbox.fhir_errors import FhirRefusal
from cds_service.sandbox.fhir_store import FhirStore
from cds_service.sandbox.hook_client import Exchange, HookClient
from cds_service.sandbox.results import CardResult, card_result
from cds_service.sandbox.visit import (
    ORDER_SELECT,
    PATIENT_VIEW,
    open_chart,
    patient_summary,
    patients,
    select_order,
    written_resources,
)

MOST_REFRESHES = 30
REFRESH_S = 2
_INDICATORS = frozenset({"info", "warning", "critical"})

# pictures would be requests to somebody else's server; raw HTML stays text
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_MARKDOWN.disable("image")


@dataclass(frozen=True)
class ShownCard:
    """One card as the template draws it."""

    uuid: str
    summary: str
    detail: Markup
    indicator: str
    source: str
    links: list[dict[str, str]]
    reasons: list[dict[str, str]]
    result: CardResult
    set_aside: str


class SetAside:
    """Which cards the user set aside, and why: an EHR does not show them again."""

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def add(self, patient_id: str, card: str, reason: str) -> None:
        """Remember it for this patient."""
        with self._lock:
            self._reasons[patient_id, card] = reason

    def reason(self, patient_id: str, card: str) -> str:
        """Why the card was set aside; empty if it was not."""
        with self._lock:
            return self._reasons.get((patient_id, card), "")


def chart_pages(store: FhirStore, hooks: HookClient) -> Blueprint:
    """``/``, ``/patients/<id>`` (fires patient-view), ``.../order`` (order-select), feedback."""
    blueprint = Blueprint(
        "chart",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/chart",
    )
    set_aside = SetAside()

    @blueprint.get("/")
    def patient_list() -> str:
        return render_template("patients.html", patients=patients(store))

    @blueprint.get("/patients/<patient_id>")
    def chart(patient_id: str) -> str:
        patient = patient_summary(store, store.read("Patient", patient_id))
        exchange = open_chart(hooks, patient_id)
        return _page(store, hooks, "chart.html", patient, exchange, set_aside, PATIENT_VIEW)

    @blueprint.post("/patients/<patient_id>/order")
    def order(patient_id: str) -> str:
        patient = patient_summary(store, store.read("Patient", patient_id))
        exchange = select_order(hooks, patient_id)
        return _page(store, hooks, "order.html", patient, exchange, set_aside, ORDER_SELECT)

    @blueprint.post("/patients/<patient_id>/feedback")
    def feedback(patient_id: str) -> AnyResponse:
        store.read("Patient", patient_id)
        form = request.form
        reason = {name: form[name] for name in ("code", "system", "display") if form.get(name)}
        service = form.get("service", "")
        if service in (PATIENT_VIEW, ORDER_SELECT) and form.get("card"):
            hooks.feedback(service, form["card"], reason or None)
            set_aside.add(patient_id, form["card"], reason.get("display", "no reason given"))
        return redirect(url_for("chart.chart", patient_id=patient_id), 303)

    @blueprint.errorhandler(FhirRefusal)
    def missing(refusal: FhirRefusal) -> Response:
        return Response(f"{refusal.sentence}\n", refusal.status, mimetype="text/plain")

    return blueprint


def _page(
    store: FhirStore,
    hooks: HookClient,
    template: str,
    patient: Any,
    exchange: Exchange,
    set_aside: SetAside,
    service: str,
) -> str:
    cards = [_shown(card, patient.id, set_aside) for card in exchange.cards]
    again = request.args.get("again", "0")
    refreshes = int(again) if again.isdigit() and len(again) < 4 else 0
    pending = any(card.result.pending and not card.set_aside for card in cards)
    return render_template(
        template,
        patient=patient,
        service=service,
        cards=cards,
        exchange=exchange,
        exchanges=[_exchange(one) for one in hooks.exchanges if one.patient_id == patient.id][:6],
        written=[_written(resource) for resource in written_resources(store, patient.id)],
        pending=pending,
        refreshes=refreshes,
        refresh_s=REFRESH_S if pending and refreshes < MOST_REFRESHES else 0,
    )


def _shown(card: dict[str, Any], patient_id: str, set_aside: SetAside) -> ShownCard:
    """A card's text is the service's: nothing of it is trusted to be markup or a safe address."""
    source = card.get("source")
    uuid = str(card.get("uuid", ""))
    indicator = str(card.get("indicator", "info"))
    return ShownCard(
        uuid=uuid,
        summary=str(card.get("summary", "")),
        detail=Markup(_MARKDOWN.render(str(card.get("detail", "")))),  # noqa: S704  HTML is off
        indicator=indicator if indicator in _INDICATORS else "info",
        source=str(source.get("label", "")) if isinstance(source, dict) else "",
        links=[_link(link) for link in _dicts(card, "links")],
        reasons=[
            {name: str(reason.get(name, "")) for name in ("code", "system", "display")}
            for reason in _dicts(card, "overrideReasons")
        ],
        result=card_result(card),
        set_aside=set_aside.reason(patient_id, uuid),
    )


def _link(link: dict[str, Any]) -> dict[str, str]:
    """A link that can be followed has an address; a SMART app would need a launch of its own."""
    url = str(link.get("url", ""))
    web = urlsplit(url).scheme in ("http", "https") and link.get("type") == "absolute"
    return {"label": str(link.get("label", "")), "url": url if web else ""}


def _dicts(card: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = card.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _exchange(exchange: Exchange) -> dict[str, Any]:
    moment = datetime.fromtimestamp(exchange.at_s, UTC)
    return {
        "number": exchange.number,
        "hook": exchange.hook,
        "url": exchange.url,
        "at": f"{moment:%H:%M:%S} UTC",
        "took_ms": exchange.took_ms,
        "status": exchange.status,
        "problem": exchange.problem,
        "request": json.dumps(exchange.request, indent=2, ensure_ascii=False),
        "response": json.dumps(exchange.response, indent=2, ensure_ascii=False),
    }


def _written(resource: dict[str, Any]) -> dict[str, str]:
    """One line for a resource that was written, and all of it for who opens the line."""
    return {
        "kind": resource["resourceType"],
        "what": _what(resource),
        "status": str(resource.get("status", "")),
        "version": resource["meta"]["versionId"],
        "json": json.dumps(resource, indent=2, ensure_ascii=False),
    }


def _what(resource: dict[str, Any]) -> str:
    if "conclusion" in resource:
        return str(resource["conclusion"])
    value, code = resource.get("valueCodeableConcept"), resource.get("code")
    names = [_concept(part) for part in (code, value) if part]
    device_names = [str(name.get("name", "")) for name in _dicts(resource, "deviceName")]
    targets = [str(target.get("reference", "")) for target in _dicts(resource, "target")]
    return ": ".join(names) or ", ".join(device_names) or ", ".join(targets)


def _concept(concept: dict[str, Any]) -> str:
    codings = _dicts(concept, "coding")
    displays = [str(coding.get("display") or coding.get("code", "")) for coding in codings]
    return str(concept.get("text") or next(iter(displays), ""))
