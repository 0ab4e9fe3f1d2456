"""The EHR's charts without pages, for a program that opens every one of them (see `walk`)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from cds_service.sandbox.demo_studies import DemoStudy
from cds_service.sandbox.hook_client import HookClient
from cds_service.sandbox.records import Records
from cds_service.sandbox.seed import study_id
from cds_service.sandbox.visit import open_chart, patients


def walk_routes(records: Records, hooks: HookClient, demo: tuple[DemoStudy, ...]) -> Blueprint:
    """``GET /studies``: who has what, and what is known to be true. ``POST /open/<patient>``."""
    blueprint = Blueprint("walk", __name__)
    known = {study_id(study.study_uid): study for study in demo}

    @blueprint.get("/studies")
    def studies() -> Response:
        rows = []
        for patient in patients(records):
            for study in patient.studies:
                demo_study = known.get(str(study["id"]))
                rows.append(
                    {
                        "patient": patient.id,
                        "name": patient.name,
                        "study": study["id"],
                        "description": study.get("description", ""),
                        **_truth(demo_study),
                    }
                )
        return jsonify(rows)

    @blueprint.post("/open/<patient_id>")
    def opened(patient_id: str) -> Response:
        exchanges = open_chart(hooks, records, patient_id)
        reports = records.search("DiagnosticReport", [("patient", patient_id)])
        return jsonify(
            status=exchanges[0].status,
            problem=exchanges[0].problem,
            took_ms=sum(one.took_ms for one in exchanges),
            cards=[card for one in exchanges for card in one.cards],
            reports=len(reports.resources),
        )

    return blueprint


def _truth(study: DemoStudy | None) -> dict[str, Any]:
    if study is None:
        return {}
    return {
        "key": study.key,
        "truth": study.truth,
        "expected": sorted(study.expected),
        "labels": study.labels,
    }
