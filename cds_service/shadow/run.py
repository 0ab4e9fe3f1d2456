"""One shadow run: the study in the precision that serves, and in the other one, compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from cds_service.flow import Archive, StudyChanged
from cds_service.locating import StudyNotFound
from cds_service.model_choice import ServedModels
from cds_service.orders import Order, ref_of
from cds_service.queue.child import JobContext, kind_of
from cds_service.queue.errors import QueueError
from cds_service.queue.records import StudyRecords
from cds_service.queue.state import State
from cds_service.queue.way import RecordWay
from cds_service.shadow.ledger import ShadowLedger
from inference.analysis import Analysis, StudyIdentity
from inference.pipeline import Analyser
from inference.shadow import Disagreement, compare

log = logging.getLogger(__name__)

OUTCOME = "compared"
"""What the record of a shadow run ends with: never what a model said."""


class Opens(Protocol):
    """Loads the models once more, each of them in the precision that does not serve."""

    def __call__(self, served: Mapping[str, str]) -> AbstractContextManager[Analyser]:
        """`served` is the precision of each model that answered, by model id."""


@dataclass(frozen=True)
class ShadowRun:
    """Compares, and counts what it saw.

    `serving` gives the analyser that studies are answered with; `models` says which of its models
    answer for a tenant, by its name, now; `limits` is the share of disagreement above which a model
    falls back, by model id.
    """

    archives: Mapping[str, Archive]
    serving: Callable[[], Analyser]
    open_other: Opens
    records: StudyRecords
    ledger: ShadowLedger
    models: Callable[[str], ServedModels]
    limits: Mapping[str, float]

    def __call__(self, order: dict[str, Any], job: JobContext) -> None:
        """One attempt. What goes wrong for good ends quietly: no study depends on it."""
        asked, record = ref_of(order), RecordWay(self.records, job.record)
        try:
            seen = self._compared(asked, record)
        except QueueError:
            raise
        except Exception as error:
            if getattr(error, "retryable", False) and not job.last_attempt:
                raise
            log.warning("a shadow run was given up", extra={"kind": kind_of(error)})
            record.to(State.ABSTAINED, error_kind=kind_of(error))
            return
        record.to(State.WRITING)
        for each in seen:
            self._count(job.record.job_id, each)
        record.to(State.FINAL, outcome=OUTCOME, error_kind="")

    def _compared(self, asked: Order, record: RecordWay) -> tuple[Disagreement, ...]:
        record.to(State.FETCHING)
        archive, serving = self.archives[asked.ref.archive], self.serving()
        first = self._analysed(serving, archive, asked, record)
        served = {result.model_id: result.precision for result in first.results}
        with self.open_other(served) as other:
            second = self._analysed(other, archive, asked, record)
        if first.instance_digest != second.instance_digest:
            raise StudyChanged("images arrived while the study was read")
        return compare(first, second)

    def _analysed(
        self, analyser: Analyser, archive: Archive, asked: Order, record: RecordWay
    ) -> Analysis:
        study_uid = asked.ref.study_uid
        series = archive.series(study_uid)
        if not series:
            raise StudyNotFound("the archive does not have this study")
        return analyser.analyse(
            analyser.plan(series, self.models(asked.tenant).withheld),
            lambda facts: archive.retrieve(study_uid, facts.series_uid),
            lambda step: record.to(State.INFERRING) if step == "reading" else None,
            identity=StudyIdentity(study_uid),
        )

    def _count(self, run: str, seen: Disagreement) -> None:
        limit = self.limits.get(seen.model_id)
        if limit is None or not self.ledger.note(run, seen, limit):
            return
        log.error(
            "a model fell back to fp32: its two precisions disagree too often",
            extra={"model": seen.model_id, "version": seen.model_version},
        )
