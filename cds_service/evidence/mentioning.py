"""Lets the report say where its evidence lies, once the archive was seen to hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cds_service.orders import ref_of
from cds_service.queue.state import StudyRecord
from cds_service.tasks import ReportWriter, explanation_id_of
from fhir_mapping.evidence_series import EvidenceSeries
from inference.analysis import Analysis
from inference.evidence.objects import EvidenceObject


@dataclass(frozen=True)
class Mentioning:
    """Writes the same report once more, with its evidence; `writers` are by tenant name.

    A report never refers to what may not be there, and never waits for it: that is why it is
    written twice. What a person has taken over by then is left as it is.
    """

    writers: Mapping[str, ReportWriter]
    now: Callable[[], datetime]

    def __call__(
        self,
        order: Mapping[str, Any],
        record: StudyRecord,
        analysis: Analysis,
        objects: Sequence[EvidenceObject],
    ) -> None:
        """Write it. Raises UpstreamError, MappingError: the report stays as it was."""
        asked = ref_of(order)
        page = explanation_id_of(record, analysis)
        series = tuple(_series(each) for each in objects)
        self.writers[asked.tenant].write(analysis, asked.ref, page, self.now(), series)


def _series(made: EvidenceObject) -> EvidenceSeries:
    name = made.name
    return EvidenceSeries(
        series_uid=name.series_uid,
        sop_instance_uid=name.sop_instance_uid,
        sop_class_uid=made.sop_class_uid,
        modality=made.modality,
        description=name.description,
    )
