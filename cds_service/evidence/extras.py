"""What a report carries of its evidence: the PDF and the key image. Without them it is whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cds_service.evidence.pdf import report_pdf
from fhir_mapping.evidence_series import EvidenceSeries, ReportEvidence
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis
from inference.boundary import contained
from inference.errors import EvidenceRefused
from models.manifest import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportExtras:
    """Makes what one tenant's reports carry; `manifests` are by model id."""

    manifests: Mapping[str, Manifest]
    pdf: bool
    key_image: bool

    def __call__(
        self, analysis: Analysis, series: Sequence[EvidenceSeries], ref: StudyRef, at: datetime
    ) -> ReportEvidence:
        """The extras of one analysis, whose evidence lies in `series`; never raises."""
        shown = (r.explanation for r in analysis.results if r.explanation is not None)
        first = next(shown, None) if self.key_image else None
        return ReportEvidence(
            pdf=self._pdf(analysis, ref, at) if self.pdf else b"",
            key_image_png=first.figure_png if first else b"",
            series=series,
        )

    def _pdf(self, analysis: Analysis, ref: StudyRef, at: datetime) -> bytes:
        try:
            with contained(_failed):
                return report_pdf(analysis, self.manifests, at, ref.started_text or "")
        except EvidenceRefused as error:
            log.warning("a report has no PDF", extra={"kind": error.kind})
            return b""


def _failed(reason: str) -> EvidenceRefused:
    return EvidenceRefused("The PDF of the report could not be made.")
