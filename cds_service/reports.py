"""Writes a result into the EHR's FHIR server, once for each study content and model version.

What a person has signed, changed or voided is left as it is. When there is something new to say
of the study after that (other images, another model) it stands beside it, as the next edition:
a preliminary report with Observations of its own, which is then kept up to date like the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version

from cds_service.clients.errors import Conflict, UpstreamError
from cds_service.recalls import Concerned, nothing_recalled
from cds_service.security.links import Links
from cds_service.writing.errors import Contended
from cds_service.writing.superseding import results_of, supersede
from cds_service.writing.writer import FhirWriter, Standings, Written
from fhir_mapping import Item, ModelFacts, ReportContext, report_items
from fhir_mapping.evidence_series import EvidenceSeries, ReportEvidence
from fhir_mapping.identity import report_identity
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, ModelResult, Outcome
from inference.outcomes import left_without

log = logging.getLogger(__name__)

ROUNDS = 4
"""How often a write begins anew after somebody else was first."""

EDITIONS = 20
"""Reports of one study that people may have taken over; the next one is the last."""


Extras = Callable[[Analysis, Sequence[EvidenceSeries], StudyRef, datetime], ReportEvidence]
"""What a report of this analysis carries, whose evidence lies in these series: of which study, made
when."""


def no_extras(
    analysis: Analysis, series: Sequence[EvidenceSeries], ref: StudyRef, at: datetime
) -> ReportEvidence:
    """Nothing but where the evidence lies."""
    return ReportEvidence(series=series)


class NoReports:
    """For a tenant whose EHR is not written to."""

    def write(
        self,
        analysis: Analysis,
        ref: StudyRef,
        explanation_id: str,
        at: datetime,
        series: Sequence[EvidenceSeries] = (),
    ) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True)
class FhirReports:
    """For a tenant whose EHR takes our resources."""

    writer: FhirWriter
    tenant: str
    links: Links
    organisation: str
    demo: bool
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    accept_unverified_patients: bool = False
    extras: Extras = no_extras
    recalled: Concerned = nothing_recalled
    """Which model versions state nothing any more, whatever they go on to analyse."""

    def write(
        self,
        analysis: Analysis,
        ref: StudyRef,
        explanation_id: str,
        at: datetime,
        series: Sequence[EvidenceSeries] = (),
    ) -> str:
        """Return the reference of the report ("" if there was nothing to write).

        What an earlier analysis stated and this one does not is voided, unless it is a person's;
        the report too, if no model answered.

        Raises:
            UpstreamError, MappingError: nothing, or a beginning without a report, was written.
            Contended: others wrote at the same time, again and again.
        """
        analysis = self._not_recalled(analysis, at)
        if all(result.outcome is Outcome.NOT_ANALYSED for result in analysis.results):
            self._withdraw(ref, at)
            return ""
        extras = self.extras(analysis, series, ref, at)
        context = replace(self._context(explanation_id, at), evidence=extras)
        for again in range(ROUNDS):
            try:
                items, standings = self._edition(analysis, ref, context, thorough=again > 0)
                if _said_already(items, standings, analysis):
                    return standings[_report(items)].reference
                self._supersede_others(items, standings, at)
                written = self.writer.write(items, standings) if items else Written({})
            except Conflict:
                continue
            if not items or not self._made_twice(items, written):
                return written.references[_report(items)] if items else ""
        raise Contended(f"{self.writer.server.name}: others keep writing this report.")

    def _not_recalled(self, analysis: Analysis, at: datetime) -> Analysis:
        def gone(result: ModelResult) -> bool:
            name = (result.model_id, result.model_version)
            return self.recalled(self.tenant, [name], int(at.timestamp() * 1000))

        return replace(analysis, results=left_without(analysis.results, gone))

    def _supersede_others(self, items: Sequence[Item], standings: Standings, at: datetime) -> None:
        """Void the results of the report that stands which the one to write does not rest on.

        They go first: once the report is replaced nothing would lead to them.
        """
        report = standings.get(_report(items)) if items else None
        if report is not None:
            stated = {known.reference for known in standings.values()}
            server = self.writer.server
            gone = [each for each in results_of(server, report) if each not in stated]
            supersede(server, gone, at)

    def _withdraw(self, ref: StudyRef, at: datetime) -> None:
        """Void our report of a study of which the newer analysis states nothing."""
        for edition in range(EDITIONS):
            own = Item(report_identity(self.tenant, ref, edition=edition), {})
            report = self.writer.standings([own]).get(own.identity.urn)
            if report is None:
                return
            if not report.taken_over:
                server = self.writer.server
                supersede(server, [report.reference, *results_of(server, report)], at)

    def _context(self, explanation_id: str, at: datetime) -> ReportContext:
        return ReportContext(
            tenant=self.tenant,
            explanation_url=self.links.permanent_url(explanation_id),
            recorded=at,
            organisation=self.organisation,
            software_version=version("scanhook"),
            models=self.models,
            demo=self.demo,
            accept_unverified_patients=self.accept_unverified_patients,
        )

    def _edition(
        self, analysis: Analysis, ref: StudyRef, context: ReportContext, *, thorough: bool
    ) -> tuple[Sequence[Item], Standings]:
        """What to write, and what of it is there: the first edition that is not a person's.

        `thorough` looks for everything, and not only for what a person may have changed.
        """
        items: Sequence[Item] = ()
        standings: Standings = {}
        for edition in range(EDITIONS):
            items = report_items(analysis, ref, replace(context, edition=edition))
            standings = self.writer.standings(items if thorough else _stating(items))
            if not _taken_over(items, standings) or _said_already(items, standings, analysis):
                break
            log.info("a person has taken a report over")
        else:
            return (), {}
        return items, standings

    def _made_twice(self, items: Sequence[Item], written: Written) -> bool:
        """Whether somebody else made the same at the same time, and theirs is the one that stays.

        It is written all the same if the server does not tell now: the next write sees it.
        """
        try:
            there = self.writer.confirmed(_stating(items), written)
        except UpstreamError as error:
            log.info("what was written was not read again", extra={"kind": error.kind})
            return False
        fresh = written.created & there.keys()
        return any(there[urn].reference != written.references[urn] for urn in fresh)


def _stating(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.kind in ("Observation", "DiagnosticReport")]


def _report(items: Sequence[Item]) -> str:
    return next(item.identity.urn for item in items if item.kind == "DiagnosticReport")


def _taken_over(items: Sequence[Item], standings: Standings) -> bool:
    known = (standings.get(item.identity.urn) for item in _stating(items))
    return any(standing.taken_over for standing in known if standing is not None)


def _said_already(items: Sequence[Item], standings: Standings, analysis: Analysis) -> bool:
    """Whether a person's report rests on these very images and models: there is nothing to add."""
    if not items or not _taken_over(items, standings):
        return False
    report = standings.get(_report(items))
    there = all(item.identity.urn in standings for item in _stating(items))
    return there and report is not None and report.images == analysis.instance_digest
