"""One study, from the archive to the record.

study -> series -> instances -> analysis -> explanation -> resources -> record

`analyse_study` is what the queue runs and what tests call; everything it touches is handed in.
It is safe to run twice: every write has an identifier made from the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cds_service.errors import ServiceError
from cds_service.summary import StudySummary, summarise
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, Outcome
from inference.errors import IdentityMismatch
from inference.pipeline import Analyser
from models.contract import SeriesFacts


class Archive(Protocol):
    """An image archive, as this flow needs it (see `clients.dicomweb`)."""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        """The series of a study; NotFound if the archive does not have it."""

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        """Each instance as its last byte arrives; complete, or an error."""


class Progress(Protocol):
    """The study's record, moved forward step by step (see `queue.state`)."""

    def fetching(self) -> None:
        """The archive is being asked."""

    def inferring(self) -> None:
        """The images are being read and scored."""

    def writing(self) -> None:
        """The result is being written."""


@dataclass(frozen=True)
class Written:
    """What was left behind: all of it opaque."""

    explanation_id: str
    report_id: str | None


class StudyChanged(ServiceError):
    """Images arrived while the study was read: what was read is not the study any more."""

    kind = "grew"
    retryable = True


@dataclass(frozen=True)
class Steps:
    """The neighbours of the flow, for one tenant."""

    archive: Archive
    analyser: Analyser
    keep: Callable[[Analysis, StudyRef], Written]
    """Keeps the explanation and writes the resources; both idempotent."""


def analyse_study(
    ref: StudyRef, steps: Steps, progress: Progress
) -> tuple[Analysis, Written | None]:
    """Take one study from the archive to the record.

    Nothing is kept or written unless a model ran on a complete study of the right patient.

    Raises:
        UpstreamError, InferenceError, MappingError, StudyChanged: each with `kind` and `retryable`.
    """
    progress.fetching()
    series = steps.archive.series(ref.study_uid)
    plan = steps.analyser.plan(series)
    analysis = steps.analyser.analyse(
        plan,
        lambda facts: steps.archive.retrieve(ref.study_uid, facts.series_uid),
        progress=lambda step: progress.inferring() if step == "infer" else None,
    )
    check_patient(analysis, ref)
    check_unchanged(series, steps.archive.series(ref.study_uid))
    if analysis.outcome is Outcome.NOT_ANALYSED and not analysis.results:
        return analysis, None
    progress.writing()
    return analysis, steps.keep(analysis, ref)


def check_patient(analysis: Analysis, ref: StudyRef) -> None:
    """Refuse images of a patient other than the one whose chart is open.

    The DICOM PatientID must be one of the values of ``Patient.identifier``. A patient without any
    identifier cannot be compared; the Study Instance UID, which is unique, must suffice then.
    """
    if not analysis.results:
        return
    if analysis.identity.study_uid != ref.study_uid:
        raise IdentityMismatch("the archive sent images of another study")
    known = {value.strip().casefold() for value in ref.patient_identifiers}
    if known and analysis.identity.patient_id.strip().casefold() not in known:
        raise IdentityMismatch("the images belong to another patient than the chart")


def check_unchanged(before: Sequence[SeriesFacts], after: Sequence[SeriesFacts]) -> None:
    """Refuse a study that grew while it was read (DICOM has no notion of a finished study)."""

    def announced(series: Sequence[SeriesFacts]) -> Mapping[str, int | None]:
        return {facts.series_uid: facts.instances for facts in series}

    if announced(before) != announced(after):
        raise StudyChanged("images arrived while the study was read")


def state_of(analysis: Analysis) -> str:
    """`final` when something was said of the images, `abstained` when nothing could be."""
    said = (Outcome.FINDING, Outcome.NO_FINDING)
    return "final" if analysis.outcome in said else "abstained"


def record_changes(analysis: Analysis, written: Written | None, now_ms: int) -> dict[str, Any]:
    """What the study's record keeps of an analysis."""
    summary: StudySummary = summarise(analysis, now_ms)
    return {
        "outcome": str(analysis.outcome),
        "summary": summary.to_json(),
        "instance_digest": analysis.instance_digest,
        "explanation_id": written.explanation_id if written else None,
        "report_id": written.report_id if written else None,
    }
