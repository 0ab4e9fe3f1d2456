"""What a report needs beside the analysis: who writes, when, where to, and under which rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from fhir_mapping.codes import AI_ASSERTED, BODY_SITES, REPORT_CODES, TEST_DATA, Code
from fhir_mapping.errors import Malformed
from fhir_mapping.evidence_series import NO_EVIDENCE, ReportEvidence
from fhir_mapping.identity import IDENTIFIER_ROOT
from fhir_mapping.text import plain
from models.manifest import Manifest

Resource = dict[str, object]
"""A FHIR resource as plain JSON."""


class WriteForm(StrEnum):
    """How a resource that is not there yet finds its place; servers refuse one or the other.

    What is there already is updated by its id (`forms.entry`). All but `PLAIN` may be repeated
    without making a second resource; a server may still make two in a race, except where the id
    is ours.
    """

    CONDITIONAL_UPDATE = "conditional-update"
    """``PUT Type?identifier=system|value``: the server chooses the id (R4 http, 3.1.0.4.3)."""

    CONDITIONAL_CREATE = "conditional-create"
    """``POST Type`` with ``If-None-Exist`` (R4 http, 3.1.0.8.1)."""

    CLIENT_ASSIGNED_IDS = "client-assigned-ids"
    """``PUT Type/uuid``: we choose the id (needs ``updateCreate``)."""

    PLAIN = "plain"
    """``POST Type``: whoever writes has looked before, and looks again afterwards."""


WRITABLE = frozenset({"DiagnosticReport", "Observation", "Device", "Provenance"})
"""All that is ever written. Patient, Organization, ImagingStudy are only referred to."""


@dataclass(frozen=True)
class ModelFacts:
    """What a model's manifest says that a result does not repeat."""

    developer: str = ""
    intended_use: str = ""
    limits: tuple[str, ...] = ()
    research: bool = True
    report_code: Code | None = None
    body_site: Code | None = None
    card_url: str | None = None


def model_facts(manifest: Manifest, card_url: str | None = None) -> ModelFacts:
    """Take from a manifest what a report says of the model."""
    parts = manifest.applies_to.body_parts
    kinds = ((m, p) for m in manifest.applies_to.modalities for p in parts)
    return ModelFacts(
        developer=manifest.developer,
        intended_use=manifest.intended_use,
        limits=manifest.limits,
        research=manifest.stage == "research",
        report_code=next((REPORT_CODES[kind] for kind in kinds if kind in REPORT_CODES), None),
        body_site=next((BODY_SITES[part] for part in parts if part in BODY_SITES), None),
        card_url=card_url,
    )


@dataclass(frozen=True)
class ReportContext:
    """Everything about a report that is not in the analysis.

    `tenant` names the site (part of every identifier). `explanation_url` is the stable page that
    shows why; it is written into charts, so it must hold no secret: an http(s) address without
    userinfo and query. `recorded` is when this version is made, with its zone; the caller has the
    clock. `organisation` runs the algorithm (``performer``; never a Device).
    `label_ai` sets ``meta.security`` AIAST, which is younger than FHIR 4.0.1 and may be refused.
    `resource_types` is what the server lets us write; the rest is left out.
    `edition` counts the reports of this study that a person has taken over.
    `accept_unverified_patients` writes also for a chart that states no identifier.
    `evidence` is what the report carries beside its statements.

    Raises `Malformed` for a naive `recorded`, an address with a secret, a root that is no URI, or a
    type that is never written.
    """

    tenant: str
    explanation_url: str
    recorded: datetime
    organisation: str = ""
    organisation_reference: str | None = None
    software_version: str = ""
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    label_ai: bool = True
    demo: bool = False
    attach_explanation: bool = True
    form: WriteForm = WriteForm.CONDITIONAL_UPDATE
    resource_types: frozenset[str] = WRITABLE
    identifier_root: str = IDENTIFIER_ROOT
    edition: int = 0
    accept_unverified_patients: bool = False
    evidence: ReportEvidence = NO_EVIDENCE

    def __post_init__(self) -> None:
        if self.recorded.utcoffset() is None:
            raise Malformed("The time of a report has no zone.")
        parts = urlsplit(self.explanation_url)
        secret = "@" in parts.netloc or parts.query or parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or secret:
            raise Malformed("The explanation's address must be http(s) and hold no secret.")
        if not re.fullmatch(r"[a-z][a-z0-9+.\-]*:[^\s|&#?<>\"]+", self.identifier_root):
            raise Malformed("The root of the identifier systems is not a URI.")
        if "DiagnosticReport" not in self.resource_types or self.resource_types - WRITABLE:
            raise Malformed("The resource types to write are not those of a report.")

    @property
    def instant(self) -> str:
        """`recorded` as a FHIR ``instant`` (milliseconds and zone)."""
        return self.recorded.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def facts(self, model_id: str) -> ModelFacts:
        """Return what is known of a model; nothing is assumed of an unknown one."""
        return self.models.get(model_id, ModelFacts())

    def meta(self, *, ai: bool) -> Resource:
        """Return ``{"meta": …}`` with the labels that apply, or nothing.

        `ai` says that the resource's content is the algorithm's own statement. HTEST is a tag:
        4.0.1 does not list it among the security labels.
        """
        meta: Resource = {}
        if ai and self.label_ai:
            meta["security"] = [AI_ASSERTED.coding()]
        if self.demo:
            meta["tag"] = [TEST_DATA.coding()]
        return {"meta": meta} if meta else {}

    def performer(self) -> Resource:
        """Return ``{"performer": […]}`` for the organisation, or nothing."""
        display = plain(self.organisation, 200)
        if not display and self.organisation_reference is None:
            return {}
        who: Resource = {"type": "Organization"}
        if self.organisation_reference is not None:
            who["reference"] = self.organisation_reference
        if display:
            who["display"] = display
        return {"performer": [who]}
