"""One chart and one call of each hook: what each hook shows of the same studies.

The requests in the JSON files beside this one are written by hand. The answers are made by
``python -m tests.reference.hooks.chart`` and read by people before they are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cds_service.hooks.discovery import SERVICES
from cds_service.queue.state import State, StudyRecord
from tests.doubles.hooking import STUDY_UID, Site, imaging_study, known, site
from tests.reference.cards.states import FINDING, NO_FINDING

FOLDER = Path(__file__).parent

EMERGENCY = {"reference": "Encounter/e0"}
"""The visit to the emergency department, some hours before the admission."""

STUDIES: Mapping[str, tuple[dict[str, Any], State, dict[str, Any]]] = {
    name: (imaging_study(f"{STUDY_UID}.{number}", **members), state, changes)
    for number, (name, members, state, changes) in enumerate(
        [
            (
                "finding",
                {"started": "2026-03-03T06:30:00Z", "encounter": EMERGENCY},
                State.FINAL,
                {"summary": FINDING.to_json()},
            ),
            (
                "no-finding",
                {"started": "2026-03-04T10:00:00Z"},
                State.FINAL,
                {"summary": NO_FINDING.to_json()},
            ),
            ("running", {"started": "2026-03-05T10:00:00Z"}, State.INFERRING, {}),
            ("failed", {"started": "2026-03-05T11:00:00Z"}, State.FAILED, {"error_kind": "gone"}),
            (
                "finding-of-2019",
                {"started": "2019-05-01", "encounter": {"reference": "Encounter/e-2019"}},
                State.FINAL,
                {"summary": FINDING.to_json()},
            ),
        ],
        start=1,
    )
}


def chart_site() -> tuple[Site, Mapping[str, StudyRecord]]:
    """A site that knows the chart's studies, and their records by name."""
    at = site()
    records = {
        name: known(at, state, study, **changes)
        for name, (study, state, changes) in STUDIES.items()
    }
    return at, {name: replace(record) for name, record in records.items()}


def golden(hook: str) -> dict[str, Any]:
    """``{"request": ..., "answer": ...}`` of a hook."""
    found: dict[str, Any] = json.loads((FOLDER / f"{hook}.json").read_text(encoding="utf-8"))
    return found


def answer_to(at: Site, hook: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the site answers to a signed call of the hook."""
    (service,) = (service for service in SERVICES.values() if service.hook == hook)
    path = f"/cds-services/{service.id}"
    answer = at.client().post(path, json=request, headers=at.ehr.bearer(path))
    found: dict[str, Any] = answer.get_json()
    return found


if __name__ == "__main__":
    for service in SERVICES.values():
        request = golden(service.hook)["request"]
        pair = {"request": request, "answer": answer_to(chart_site()[0], service.hook, request)}
        text = json.dumps(pair, indent=2, ensure_ascii=False)
        (FOLDER / f"{service.hook}.json").write_text(f"{text}\n", encoding="utf-8")
