"""The demo EHR's pages: patients, a chart with its cards, orders, the encounter, the drawer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from cds_service.sandbox import visit
from cds_service.sandbox.answering import Answer, Answered, answer_of
from cds_service.sandbox.fhir_errors import FhirRefusal
from cds_service.sandbox.holdings import StoredObject
from cds_service.sandbox.hook_client import FEEDBACK, Exchange, HookClient
from cds_service.sandbox.records import Records
from cds_service.sandbox.shown import (
    dicts,
    shown_action,
    shown_card,
    shown_exchange,
    shown_object,
    shown_resource,
)
from cds_service.sandbox.suggestions import Done, Write, carry_out
from cds_service.sandbox.visit import PatientSummary, patient_summary

MOST_REFRESHES = 30
REFRESH_S = 2
SHOWN_CALLS = 20

Stored = Callable[[str], Iterable[StoredObject]]
"""What was stored into the archive for a study, by its UID."""

ORDER_STEPS: dict[str, Callable[..., tuple[Exchange, ...]]] = {
    "select": visit.select_order,
    "sign": visit.sign_order,
    "dispatch": visit.dispatch_order,
}
"""What the buttons of order entry fire, one after another."""

ENCOUNTER_STEPS = {"discharge": visit.discharge, "start": visit.start_encounter}


@dataclass(frozen=True)
class Desk:
    """What the pages are made from; `since` is a FHIR instant (see `visit.written_resources`).

    `write` carries out what suggestions ask for; ``None`` where the charts are another server's.
    """

    records: Records
    hooks: HookClient
    stored: Stored
    since: str
    answered: Answered
    write: Write | None
    now: Callable[[], float]

    def patient(self, patient_id: str) -> PatientSummary:
        """Raises FhirRefusal: there is none, or the server does not say."""
        return patient_summary(self.records, self.records.read("Patient", patient_id))

    def page(
        self, template: str, patient: PatientSummary, calls: tuple[Exchange, ...] = (), **more: Any
    ) -> str:
        """A page of one patient, with what the calls that it made brought."""
        cards = [
            shown_card(card, one.service, self.answered.words(patient.id, str(card.get("uuid"))))
            for one in calls
            for card in one.cards
        ]
        return render_template(
            template,
            patient=patient,
            cards=cards,
            calls=calls,
            pending=any(card.result.pending and not card.answered for card in cards),
            encounter=visit.encounter(self.records, patient.id),
            **self.drawer(patient),
            **more,
        )

    def drawer(self, patient: PatientSummary) -> dict[str, Any]:
        """What went over the wire for this patient, newest first."""
        own = [one for one in self.hooks.exchanges if one.patient_id == patient.id]
        written = visit.written_resources(self.records, patient.id, self.since)
        objects = [o for study in patient.studies for o in self.stored(visit.study_uid(study))]
        return {
            "exchanges": [shown_exchange(o) for o in own if o.hook != FEEDBACK][:SHOWN_CALLS],
            "feedback": [shown_exchange(o) for o in own if o.hook == FEEDBACK][:SHOWN_CALLS],
            "written": [shown_resource(resource) for resource in written],
            "stored": [shown_object(one) for one in objects],
            "actions": [shown_action(one) for one in self.answered.done(patient.id)],
        }

    def words(self, answer: Answer) -> str:
        """What the chart says of an answer."""
        actions = [action for each in answer.accepted for action in dicts(each, "actions")]
        if self.write or not actions:
            return answer.words
        return f"{answer.words} (this FHIR server is only read, so nothing was written)"

    def act(self, patient_id: str, answer: Answer) -> tuple[Done, ...]:
        """Carry out what was accepted. Raises FhirRefusal: nothing was."""
        if self.write is None:
            return ()
        return carry_out(answer.accepted, patient_id, self.records, self.write, self.now())


def chart_pages(desk: Desk) -> Blueprint:
    """``/``, ``/patients/<id>`` (fires patient-view) and below it ``/order``, ``/encounter``,
    ``/feedback`` and ``/drawer``."""
    blueprint = Blueprint(
        "chart",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/chart",
    )
    _add_reading(blueprint, desk)
    _add_orders(blueprint, desk)
    _add_encounter(blueprint, desk)
    _add_feedback(blueprint, desk)

    @blueprint.errorhandler(FhirRefusal)
    def refused(refusal: FhirRefusal) -> tuple[str, int]:
        return render_template("refused.html", sentence=refusal.sentence), refusal.status

    return blueprint


def _add_reading(blueprint: Blueprint, desk: Desk) -> None:
    @blueprint.get("/")
    def patient_list() -> str:
        return render_template("patients.html", patients=visit.patients(desk.records))

    @blueprint.get("/patients/<patient_id>")
    def chart(patient_id: str) -> str:
        patient = desk.patient(patient_id)
        calls = visit.open_chart(desk.hooks, desk.records, patient_id)
        again = request.args.get("again", "0")
        refreshes = int(again) if again.isdigit() and len(again) < 4 else 0
        return desk.page(
            "chart.html",
            patient,
            calls,
            refreshes=refreshes,
            refresh_s=REFRESH_S if refreshes < MOST_REFRESHES else 0,
            orders=[shown_resource(one) for one in visit.orders(desk.records, patient_id)],
        )

    @blueprint.get("/patients/<patient_id>/drawer")
    def drawer(patient_id: str) -> str:
        return render_template("drawer.html", **desk.drawer(desk.patient(patient_id)))


def _add_orders(blueprint: Blueprint, desk: Desk) -> None:
    @blueprint.get("/patients/<patient_id>/order")
    def entry(patient_id: str) -> str:
        return desk.page(
            "order.html",
            desk.patient(patient_id),
            procedures=visit.PROCEDURES,
            step="",
            procedure=visit.PROCEDURES[0],
        )

    @blueprint.post("/patients/<patient_id>/order")
    def order(patient_id: str) -> str:
        patient = desk.patient(patient_id)
        step, procedure = request.form.get("step"), request.form.get("procedure")
        if step not in ORDER_STEPS or procedure not in visit.PROCEDURES:
            abort(400)
        calls = ORDER_STEPS[step](desk.hooks, desk.records, patient_id, procedure)
        return desk.page(
            "order.html",
            patient,
            calls,
            procedures=visit.PROCEDURES,
            step=step,
            procedure=procedure,
        )


def _add_encounter(blueprint: Blueprint, desk: Desk) -> None:
    @blueprint.post("/patients/<patient_id>/encounter")
    def encounter(patient_id: str) -> AnyResponse | str:
        patient = desk.patient(patient_id)
        step = request.form.get("step")
        if step == "end":
            visit.end_encounter(desk.records, patient_id)
            return redirect(url_for("chart.chart", patient_id=patient_id), 303)
        if step not in ENCOUNTER_STEPS:
            abort(400)
        calls = ENCOUNTER_STEPS[step](desk.hooks, desk.records, patient_id)
        return desk.page("encounter.html", patient, calls, step=step)


def _add_feedback(blueprint: Blueprint, desk: Desk) -> None:
    @blueprint.post("/patients/<patient_id>/feedback")
    def feedback(patient_id: str) -> AnyResponse:
        shown = desk.hooks.shown(patient_id, request.form.get("card", ""))
        if shown is None:
            abort(404)
        exchange, card = shown
        answer = answer_of(card, request.form)
        if answer and desk.answered.take(
            patient_id, card["uuid"], desk.words(answer), lambda: desk.act(patient_id, answer)
        ):
            desk.hooks.feedback(exchange.service, patient_id, answer.entry)
        return redirect(url_for("chart.chart", patient_id=patient_id), 303)
