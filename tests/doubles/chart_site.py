"""The demo EHR with three invented patients and a service whose cards never change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cds_service.sandbox.ehr import Ehr, create_ehr_app
from cds_service.sandbox.holdings import StoredObject
from cds_service.sandbox.hook_client import Site
from cds_service.security.keys import generate_signing_key
from tests.doubles.cds_service import CdsServiceDouble
from tests.doubles.listening import listening

Json = dict[str, Any]
NOW_S = 1_800_000_000.0
BEN, HANA, LAYLA = "ben", "hana", "layla"
STUDY_UID = "1.2.826.0.1.3680043.8.498.417"
STORED = tuple(
    StoredObject(STUDY_UID, f"{STUDY_UID}.{number}", modality, words, 1, NOW_S + 2, kib * 1024)
    for number, (modality, words, kib) in enumerate(
        [
            ("SR", "AI report of Brain tumour on MRI", 14),
            ("RWV", "AI heat-map of Brain tumour on MRI", 612),
            ("OT", "AI key image of Brain tumour on MRI", 301),
        ],
        start=1,
    )
)
_DETAIL = """The model suggests possible **Meningioma** (over 95 %).

| Label | Estimated probability |
|---|---|
| Meningioma | over 95 % |
| Glioma | under 5 % |
| Pituitary tumour | under 5 % |

- Model: Brain tumour on MRI, version 1.0.0
- Decided on images 21-25 of 48, counted in anatomical order
"""


def _patient(name: str, born: str, gender: str, words: Json) -> Json:
    number = {"system": "urn:tests", "value": f"{name.upper()}-0417"}
    return {
        "resourceType": "Patient",
        "id": name,
        "name": [words],
        "birthDate": born,
        "gender": gender,
        "identifier": [number],
    }


def _study(patient: str, number: int, modality: str, words: str = "", **more: Any) -> Json:
    return {
        "resourceType": "ImagingStudy",
        "id": f"study-{patient}-{number}",
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality}],
        "numberOfSeries": number,
        "numberOfInstances": 48 * number,
        **({"description": words} if words else {}),
        **more,
    }


RESOURCES: tuple[Json, ...] = (
    _patient(BEN, "1961-04-17", "male", {"family": "Synthetic", "given": ["Ben", "Demo"]}),
    _patient(HANA, "1984-11-02", "female", {"text": "田中 花子"}),
    _patient(LAYLA, "", "unknown", {"family": "ليلى بنت عبد الرحمن آل سعود"}),
    _study(
        BEN,
        1,
        "MR",
        "MR head with contrast",
        started="2026-01-09T10:12:00+00:00",
        identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}],
    ),
    _study(BEN, 2, "CT", "CT head without contrast, thin slices", started="2025-11-30"),
    _study(HANA, 1, "MR", "頭部MRI検査", started="2026-01-03T08:00:00+00:00"),
    _study(LAYLA, 1, "CR"),
    {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "in-progress",
        "subject": {"reference": f"Patient/{BEN}"},
        "period": {"start": "2026-01-08"},
    },
    {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "status": "preliminary",
        "code": {"text": "Diagnostic imaging study"},
        "subject": {"reference": f"Patient/{BEN}"},
        "conclusion": "AI suggests possible meningioma (probability over 95 %).",
    },
)


def _order(patient: str) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "proposal",
        "code": {"text": "MR head with contrast in 3 months"},
        "subject": {"reference": f"Patient/{patient}"},
    }


def _cards(body: Mapping[str, Any]) -> Json:
    patient = body["context"]["patientId"]
    reasons = [
        {"code": code, "system": "urn:tests", "display": words}
        for code, words in (
            ("disagree", "I disagree with the finding"),
            ("known", "Known already"),
            ("later", "Not now"),
        )
    ]
    finding: Json = {
        "uuid": f"finding-{patient}",
        "summary": "AI suggests possible meningioma (over 95 %) on MR of 2026-01-09; not reviewed "
        "by a person",
        "indicator": "warning",
        "source": {"label": "scanhook demo"},
        "detail": _DETAIL,
        "links": [
            {"label": "Why", "url": "https://scanhook.test/e/1", "type": "absolute"},
            {"label": "App", "url": "https://scanhook.test/app", "type": "smart"},
        ],
        "overrideReasons": reasons,
        "extension": {"org.scanhook.result": {"state": "final", "outcome": "finding"}},
    }
    order = {"type": "create", "description": "A draft of the order", "resource": _order(patient)}
    task = {"type": "delete", "description": "No earlier draft", "resourceId": "ServiceRequest/x"}
    follow_up: Json = {
        "uuid": f"follow-up-{patient}",
        "summary": "A follow-up is usual within three months",
        "indicator": "info",
        "source": {"label": "Another service"},
        "selectionBehavior": "any",
        "suggestions": [
            {
                "label": "Order the follow-up",
                "uuid": "s1",
                "actions": [order],
                "isRecommended": True,
            },
            {"label": "Drop the earlier draft", "uuid": "s2", "actions": [task]},
        ],
    }
    return {"cards": {BEN: [finding, follow_up], LAYLA: []}.get(patient, [finding])}


@contextmanager
def chart_site(folder: Path) -> Iterator[str]:
    """The address of the charts."""
    key = generate_signing_key(folder / "ehr.json")
    with CdsServiceDouble() as service:
        service.answer = _cards
        service.hooks = ("patient-view", "order-select", "encounter-discharge")
        site = Site("http://charts.test", "http://charts.test/fhir", "", service.base_url)
        ehr = Ehr(
            site,
            key,
            RESOURCES,
            {},
            stored=lambda uid: STORED if uid == STUDY_UID else (),
            operations="http://scanhook.test/ops",
            now=lambda: NOW_S,
        )
        with listening(create_ehr_app(ehr)) as address:
            yield address
