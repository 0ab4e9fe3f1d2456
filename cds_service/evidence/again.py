"""One more attempt at the evidence of a study that has ended: analysed once more, then stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cds_service.audit.retrieval import WatchedArchive
from cds_service.errors import ServiceError
from cds_service.evidence.lane import EVIDENCE
from cds_service.flow import Kept, Steps, analyse_study
from cds_service.orders import ref_of
from cds_service.queue.child import JobContext
from cds_service.queue.state import State, StudyRecord
from cds_service.queue.way import RecordWay

if TYPE_CHECKING:
    from cds_service.evidence.keeping import EvidenceKeeper
    from cds_service.tasks import StudyTask

OUTCOME = "stored"
"""What the record of such a job ends with: never what a model said."""


class EvidenceMissing(ServiceError):
    """The archive does not hold all of a study's evidence yet."""

    kind = "evidence-missing"
    retryable = True


@dataclass(frozen=True)
class EvidenceAgain:
    """Finds a result again and keeps its evidence; nothing else of the study is touched.

    `task` is what studies are analysed with now.
    """

    task: Callable[[], StudyTask]
    keeper: EvidenceKeeper

    def __call__(self, order: Mapping[str, Any], job: JobContext) -> None:
        """One attempt. Raises EvidenceMissing, and what `flow.analyse_study` raises.

        A study that began anew, or whose images are others by now, stores its own evidence.
        """
        task = self.task()
        way = RecordWay(task.records, job.record)
        study = task.records.get(str(order[EVIDENCE]))
        if study is None or not study.ended:
            way.to(State.ABSTAINED, error_kind="")
            return
        if self._missing(order, study, task, way):
            raise EvidenceMissing("The archive does not hold all of the study's evidence yet.")
        way.to(State.WRITING)
        way.to(State.FINAL, outcome=OUTCOME, error_kind="")

    def _missing(
        self, order: Mapping[str, Any], study: StudyRecord, task: StudyTask, way: RecordWay
    ) -> bool:
        asked = ref_of(order)
        archive = WatchedArchive(task.archives[asked.ref.archive])
        steps = Steps(
            archive=archive,
            analyser=task.analyser,
            reached=lambda step: way.to(State(step)),
            keep=lambda analysis, ref: Kept(study.explanation_id, study.report_id),
            models=task.models(asked.tenant),
            accept_unverified=asked.tenant in task.unverified,
        )
        try:
            analysis, _ = analyse_study(asked.ref, steps)
        finally:
            archive.tell(asked.ref, task.watch(asked.tenant, asked.ref.archive))
        same = analysis.instance_digest == study.instance_digest
        return same and self.keeper.keep(order, study, analysis)
