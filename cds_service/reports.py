"""Writes a result into the EHR's FHIR server, once for each study content and model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from cds_service.clients.fhir import FhirServer
from cds_service.security.links import Links
from fhir_mapping import ModelFacts, ReportContext, WriteForm, report_bundle, report_identity
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis

OURS_TO_CHANGE = frozenset({"registered", "partial", "preliminary"})
"""Statuses of a report that no person has taken over (R4 DiagnosticReport.status)."""


class NoReports:
    """For a tenant whose EHR is not written to."""

    def write(self, analysis: Analysis, ref: StudyRef, explanation_id: str, at: datetime) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True)
class FhirReports:
    """For a tenant whose EHR takes our resources."""

    server: FhirServer
    tenant: str
    links: Links
    organisation: str
    form: WriteForm
    demo: bool
    models: Mapping[str, ModelFacts] = field(default_factory=dict)

    def write(self, analysis: Analysis, ref: StudyRef, explanation_id: str, at: datetime) -> str:
        """One transaction; a report that a person has made final is left as it is.

        Returns the reference of the report ("" if there was nothing to write).

        Raises:
            UpstreamError, MappingError: nothing was written, or all of it.
        """
        context = ReportContext(
            tenant=self.tenant,
            explanation_url=self.links.permanent_url(explanation_id),
            recorded=at,
            organisation=self.organisation,
            software_version=version("scanhook"),
            models=self.models,
            demo=self.demo,
            form=self.form,
        )
        bundle = report_bundle(analysis, ref, context)
        if bundle is None:
            return ""
        signed = self._taken_over(ref)
        if signed:
            return signed
        result = self.server.transact(bundle)
        references = [entry.reference or "" for entry in result.entries]
        return next((r for r in references if r.startswith("DiagnosticReport/")), "")

    def _taken_over(self, ref: StudyRef) -> str:
        """The reference of this study's report if a person has changed its status, else ""."""
        token = report_identity(self.tenant, ref.study_uid).token
        for report in self.server.search("DiagnosticReport", {"identifier": token}):
            if report.get("status") not in OURS_TO_CHANGE:
                return f"DiagnosticReport/{report.get('id', '')}"
        return ""
