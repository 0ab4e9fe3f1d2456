"""The services as data, and ``GET /cds-services`` (CDS Hooks 2.0.1, Discovery).

A new hook is one row in `SERVICES`, one function in `request.CONTEXTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal

Priority = Literal["stat", "routine", "backfill"]

SPECIFICATION_VERSION = "2.0.1"
"""What each service says that it implements (``version``, CDS Hooks 3.0 ballot, Discovery)."""

PATIENT_KEY = "patient"
STUDIES_KEY = "studies"
ENCOUNTER_KEY = "encounter"


class Shows(Enum):
    """Which of the studies' cards a hook shows."""

    EVERYTHING = "everything"
    """Somebody looks at the chart: what is known of each study, pending and negative too."""

    FINDINGS = "findings"
    """Somebody is busy with something else: only a finding that nobody has answered is worth an
    interruption."""

    LOOSE_ENDS = "loose-ends"
    """Somebody is about to leave: what was not answered and what is not ready, of this stay."""


@dataclass(frozen=True)
class CdsService:
    """One row: what is discovered, what is shown, and how urgent the work is that the hook starts.

    `prefetch` are templates beside those that every service has.
    """

    id: str
    hook: str
    title: str
    description: str
    usage_requirements: str
    priority: Priority
    shows: Shows
    prefetch: Mapping[str, str] = field(default_factory=dict)

    @property
    def answers_pending(self) -> bool:
        """Whether the hook speaks of what is not ready yet."""
        return self.shows is not Shows.FINDINGS


def prefetch_templates(studies: int) -> Mapping[str, str]:
    """Templates inside the portable subset (tokens of the context's root; no ``_include``)."""
    newest = "ImagingStudy?patient={{context.patientId}}&status=available&_sort=-started"
    return MappingProxyType(
        {
            PATIENT_KEY: "Patient/{{context.patientId}}",
            STUDIES_KEY: f"{newest}&_count={studies}",
        }
    )


_USAGE = (
    "Send both prefetch keys, or fhirServer with a token for Patient and ImagingStudy."
    " Results are made by AI and are not reviewed by a person."
)

SERVICES: Mapping[str, CdsService] = MappingProxyType(
    {
        service.id: service
        for service in (
            CdsService(
                id="imaging-ai-patient-view",
                hook="patient-view",
                title="Imaging AI: results for the open chart",
                description=(
                    "Shows what imaging AI suggests on the patient's newest imaging studies,"
                    " with the evidence, and starts the analysis of studies that have none."
                ),
                usage_requirements=_USAGE,
                priority="stat",
                shows=Shows.EVERYTHING,
            ),
            CdsService(
                id="imaging-ai-order-select",
                hook="order-select",
                title="Imaging AI: prior studies while ordering",
                description=(
                    "Starts the analysis of the patient's earlier imaging studies while an order"
                    " is selected, and shows findings that are ready."
                ),
                usage_requirements=_USAGE,
                priority="routine",
                shows=Shows.FINDINGS,
            ),
            CdsService(
                id="imaging-ai-order-sign",
                hook="order-sign",
                title="Imaging AI: findings before an order is signed",
                description=(
                    "Shows imaging AI findings that are ready before orders are signed, and starts"
                    " the analysis of the patient's imaging studies that have none."
                ),
                usage_requirements=_USAGE,
                priority="routine",
                shows=Shows.FINDINGS,
            ),
            CdsService(
                id="imaging-ai-order-dispatch",
                hook="order-dispatch",
                title="Imaging AI: prior studies for who performs the order",
                description=(
                    "Starts the analysis of the patient's earlier imaging studies while a performer"
                    " is chosen for an order, and shows findings that are ready."
                ),
                usage_requirements=_USAGE,
                priority="routine",
                shows=Shows.FINDINGS,
            ),
            CdsService(
                id="imaging-ai-encounter-start",
                hook="encounter-start",
                title="Imaging AI: prior studies for a new encounter",
                description=(
                    "Starts the analysis of the patient's imaging studies when an encounter begins,"
                    " so that results are ready when they are needed, and shows findings that are."
                ),
                usage_requirements=_USAGE,
                priority="routine",
                shows=Shows.FINDINGS,
            ),
            CdsService(
                id="imaging-ai-encounter-discharge",
                hook="encounter-discharge",
                title="Imaging AI: open results before discharge",
                description=(
                    "Shows, of the imaging studies of this stay, findings that nobody answered and"
                    " analyses that are still running."
                ),
                usage_requirements=_USAGE,
                priority="stat",
                shows=Shows.LOOSE_ENDS,
                prefetch=MappingProxyType({ENCOUNTER_KEY: "Encounter/{{context.encounterId}}"}),
            ),
        )
    }
)


def discovery(studies: int) -> dict[str, Any]:
    """The body of the discovery answer; `studies` is how many the hook looks at.

    Members of CDS Hooks 2.0.1, and the ballot's ``version``, which clients of 2.0 pass over.
    """
    templates = prefetch_templates(studies)
    return {"services": [_described(service, templates) for service in SERVICES.values()]}


def _described(service: CdsService, templates: Mapping[str, str]) -> dict[str, Any]:
    return {
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "id": service.id,
        "prefetch": {**templates, **service.prefetch},
        "usageRequirements": service.usage_requirements,
        "version": SPECIFICATION_VERSION,
    }
