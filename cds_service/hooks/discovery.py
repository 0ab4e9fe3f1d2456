"""The services as data, and ``GET /cds-services`` (CDS Hooks 2.0.1, Discovery).

A new hook is one row in `SERVICES`, one function in `request.CONTEXTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Priority = Literal["stat", "routine", "backfill"]

PATIENT_KEY = "patient"
STUDIES_KEY = "studies"


@dataclass(frozen=True)
class CdsService:
    """One row: what is discovered, and how urgent the work is that the hook starts.

    `answers_pending` says whether the hook shows what is not ready yet: in the middle of ordering
    only a finding is worth an interruption.
    """

    id: str
    hook: str
    title: str
    description: str
    usage_requirements: str
    priority: Priority
    answers_pending: bool
    prefetch: Mapping[str, str] = field(default_factory=dict)


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
                answers_pending=True,
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
                answers_pending=False,
            ),
        )
    }
)


def discovery(studies: int) -> dict[str, Any]:
    """The body of the discovery answer; `studies` is how many the hook looks at.

    Only members of CDS Hooks 2.0.1: some clients refuse others.
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
    }
