"""Writes a result into the EHR's FHIR server, once for each study content and model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from cds_service.clients.fhir import FhirServer
from cds_service.security.links import Links
from fhir_mapping import (
    ModelFacts,
    ReportContext,
    WriteForm,
    WrittenReport,
    replacing,
    report_bundle,
    report_identity,
    written_report,
)
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis


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
    accept_unverified_patients: bool = False

    def write(self, analysis: Analysis, ref: StudyRef, explanation_id: str, at: datetime) -> str:
        """One transaction; a report that a person has taken over is left as it is.

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
            accept_unverified_patients=self.accept_unverified_patients,
        )
        bundle = report_bundle(analysis, ref, context)
        if bundle is None:
            return ""
        written = self._written(ref)
        if written is not None and written.taken_over:
            return written.reference
        result = self.server.transact(replacing(bundle, written) if written else bundle)
        references = [entry.reference or "" for entry in result.entries]
        return next((r for r in references if r.startswith("DiagnosticReport/")), "")

    def _written(self, ref: StudyRef) -> WrittenReport | None:
        """This study's report as the server has it now."""
        identity = report_identity(self.tenant, ref)
        found = self.server.search("DiagnosticReport", {"identifier": identity.token})
        reports = (written_report(resource, identity) for resource in found)
        return next((report for report in reports if report is not None), None)
