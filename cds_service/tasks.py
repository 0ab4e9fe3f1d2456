"""The one function that the queue may call."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cds_service.audit.retrieval import WatchedArchive
from cds_service.clients.interactions import Watch, nobody
from cds_service.explanation import ModelNotes
from cds_service.flow import Archive, Kept, Steps, analyse_study
from cds_service.locating import located
from cds_service.model_choice import ServedModels
from cds_service.orders import Order, ref_of
from cds_service.queue.child import JobContext
from cds_service.queue.content import renewed
from cds_service.queue.records import StudyRecords
from cds_service.queue.state import State, StudyRecord
from cds_service.store import ExplanationStore, StoreError
from cds_service.summary import summarise
from fhir_mapping.errors import PatientNotKnown
from fhir_mapping.evidence_series import EvidenceSeries
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, Outcome, SeriesUse
from inference.errors import IdentityMismatch
from inference.pipeline import Analyser

_log = logging.getLogger(__name__)

SAID = (Outcome.FINDING, Outcome.MEASURED, Outcome.NO_FINDING)
"""Outcomes that say something of the images; after the others the record is `abstained`."""


Content = Callable[[str, StudyRef, Sequence[SeriesUse]], str]
"""(tenant's name, study, what was read of it) -> the name of that content (`orders.content_of`)."""


def _unnamed(tenant: str, ref: StudyRef, read: Sequence[SeriesUse]) -> str:
    """Nothing is known of the content."""
    return ""


def _unwatched(tenant: str, archive: str) -> Watch:
    """Nobody hears what was retrieved."""
    return nobody


Ended = Callable[[Mapping[str, Any], StudyRecord, Analysis], None]
"""Told of each study that has ended: its order, its record and what was learnt."""


def _nobody(order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
    """Nobody is told."""


def both(first: Ended, second: Ended) -> Ended:
    """Tell two, one after the other."""

    def ended(order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
        first(order, record, analysis)
        second(order, record, analysis)

    return ended


class ReportWriter(Protocol):
    """Writes a result into the EHR's FHIR server (see `reports`)."""

    def write(
        self,
        analysis: Analysis,
        ref: StudyRef,
        explanation_id: str,
        at: datetime,
        series: Sequence[EvidenceSeries] = (),
    ) -> str:
        """The report's reference, or "" if nothing is written for this tenant.

        `series` are those in which the archive was seen to hold its evidence.
        """


@dataclass(frozen=True)
class StudyTask:
    """Takes one order from the queue to the end of its record.

    `archives` and `writers` are by archive name and tenant name. `models` says which models answer
    for a tenant, by its name, now. `unverified` are the tenants whose
    charts are taken on trust when they state no identifier of the patient. `ended` is told when the
    record has ended, and must not raise: the study is over. `slices_bytes` is the room for the
    images of one series that the page scrolls through. `content` names what was read, so that it is
    noticed when the archive has more. `watch` is by tenant's and archive's name: who hears what was
    retrieved.
    """

    archives: Mapping[str, Archive]
    writers: Mapping[str, ReportWriter]
    analyser: Analyser
    records: StudyRecords
    store: ExplanationStore
    notes: Mapping[str, ModelNotes]
    models: Callable[[str], ServedModels]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    unverified: Set[str] = frozenset()
    ended: Ended = _nobody
    slices_bytes: int = 0
    content: Content = _unnamed
    watch: Callable[[str, str], Watch] = _unwatched

    def __call__(self, order: dict[str, Any], job: JobContext) -> None:
        """Run one attempt; whatever it raises carries `kind` and `retryable` for the worker."""
        asked = ref_of(order)
        attempt = _Attempt(self, job.record, asked)
        archive = WatchedArchive(self.archives[asked.ref.archive])
        steps = Steps(
            archive=archive,
            analyser=self.analyser,
            reached=attempt.reached,
            keep=attempt.keep,
            models=self.models(asked.tenant),
            accept_unverified=asked.tenant in self.unverified,
        )
        try:
            attempt.reached("fetching")
            ref = located(asked.ref, archive)
            analysis, kept = analyse_study(ref, steps)
        except (IdentityMismatch, PatientNotKnown):
            attempt.forget()
            raise
        finally:
            archive.tell(asked.ref, self.watch(asked.tenant, asked.ref.archive))
        attempt.end(analysis, kept, ref)
        if kept is not None:
            self._keep_slices(analysis, kept.explanation_id, job.record.id)
        self.ended({**order, "study_uid": ref.study_uid}, job.record, analysis)

    def _keep_slices(self, analysis: Analysis, explanation_id: str, study_key: str) -> None:
        """Let the page scroll, once nobody waits any more; without it the page is still whole."""
        try:
            self.store.keep_slices(
                analysis,
                explanation_id=explanation_id,
                study_key=study_key,
                most_bytes=self.slices_bytes,
            )
        except StoreError as error:
            _log.warning("slices not kept", extra={"kind": error.kind})


class _Attempt:
    """One attempt's way through the record."""

    def __init__(self, task: StudyTask, record: StudyRecord, asked: Order) -> None:
        self._task, self._record, self._asked = task, record, asked

    def reached(self, step: str) -> None:
        if self._record.state != step:
            self._record = self._task.records.advance(self._record, step)

    def keep(self, analysis: Analysis, ref: StudyRef) -> Kept:
        task, at = self._task, self._task.now()
        explanation_id = explanation_id_of(self._record, analysis)
        task.store.keep(
            analysis,
            explanation_id=explanation_id,
            study_key=self._record.id,
            analysed_ms=_ms(at),
            notes=task.notes,
            tenant=self._asked.tenant,
        )
        report_id = task.writers[self._asked.tenant].write(analysis, ref, explanation_id, at)
        return Kept(explanation_id, report_id)

    def forget(self) -> None:
        """Take back what an earlier analysis said: the same doubt is about that, too."""
        self._supersede("")
        self._record = self._task.records.advance(
            self._record,
            self._record.state,
            summary={},
            instance_digest="",
            explanation_id="",
            report_id="",
        )

    def _supersede(self, explanation_id: str) -> None:
        """Let the page of the analysis before this one say that it is outdated."""
        before = self._record.explanation_id
        if before and before != explanation_id:
            self._task.store.supersede(before)

    def end(self, analysis: Analysis, kept: Kept | None, ref: StudyRef) -> None:
        said = analysis.outcome in SAID
        # named as the chart will name it again, without what only the archive knows
        read = self._task.content(self._asked.tenant, self._asked.ref, analysis.series)
        self._supersede(kept.explanation_id if kept else "")
        if kept is None and self._record.report_id:  # nothing is said any more: nor in the chart
            self._task.writers[self._asked.tenant].write(analysis, ref, "", self._task.now())
        self._record = self._task.records.advance(
            self._record,
            State.FINAL if said else State.ABSTAINED,
            outcome=str(analysis.outcome),
            summary=summarise(analysis, _ms(self._task.now())).to_json(),
            instance_digest=analysis.instance_digest,
            explanation_id=kept.explanation_id if kept else "",
            report_id=kept.report_id if kept else "",
            content_key=renewed(self._record.content_key, read),
            error_kind="",
        )


def explanation_id_of(record: StudyRecord, analysis: Analysis) -> str:
    """The same for the same study, images and models, so that a repeat replaces its page."""
    parts = (record.id, record.models, analysis.instance_digest)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
