"""One study, from the archive to the record.

study -> series -> instances -> analysis -> explanation -> resources

`analyse_study` is what the queue runs and what tests call; everything it touches is handed in.
It is safe to run twice: every write has an identifier made from the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cds_service.errors import ServiceError
from cds_service.locating import Index, StudyNotFound
from cds_service.model_choice import ServedModels
from fhir_mapping.bundle import require_same_study
from fhir_mapping.errors import Contradiction, NotOurs
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, SeriesUse, StudyIdentity
from inference.errors import IdentityMismatch
from inference.evidence.objects import is_evidence
from inference.pipeline import Analyser
from inference.strictness import stricter
from models.contract import SeriesFacts


class Archive(Index, Protocol):
    """An image archive, as this flow needs it (see `clients.dicomweb`)."""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        """The series of a study; empty if the archive does not have it."""

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        """Each instance as its last byte arrives; complete, or an error."""


@dataclass(frozen=True)
class Kept:
    """What was left behind: all of it opaque."""

    explanation_id: str
    report_id: str


@dataclass(frozen=True)
class Steps:
    """The neighbours of the flow, for one study of one tenant."""

    archive: Archive
    analyser: Analyser
    reached: Callable[[str], None]
    """Told "fetching", "inferring", "writing" as each begins."""

    keep: Callable[[Analysis, StudyRef], Kept]
    """Keeps the explanation and writes the resources; both may be repeated."""

    models: ServedModels
    """The models that answer for the tenant now, and how sure they must be."""

    accept_unverified: bool = False
    """Whether a chart that states no identifier of its patient is taken on trust."""


class StudyChanged(ServiceError):
    """Images arrived while the study was read: what was read is not the study any more."""

    kind = "grew"
    retryable = True


class SeriesNotWhole(ServiceError):
    """Fewer images were read than the archive counts: its list may be capped without a word."""

    kind = "incomplete"
    retryable = True


def analyse_study(ref: StudyRef, steps: Steps) -> tuple[Analysis, Kept | None]:
    """Take one study from the archive to the record.

    Nothing is kept or written unless a model ran on a complete study of the right patient.

    Raises:
        UpstreamError, InferenceError, MappingError, ServiceError: each with `kind`, `retryable`.
    """
    steps.reached("fetching")
    series = steps.archive.series(ref.study_uid)
    if not series:
        raise StudyNotFound("the archive does not have this study")
    analysis = steps.analyser.analyse(
        steps.analyser.plan(series, steps.models.withheld),
        lambda facts: steps.archive.retrieve(ref.study_uid, facts.series_uid),
        lambda step: steps.reached("inferring") if step == "reading" else None,
        identity=StudyIdentity(ref.study_uid),
    )
    analysis = _as_served(analysis, steps.models)
    check_identity(analysis, ref, accept_unverified=steps.accept_unverified)
    check_whole(series, analysis.series)
    check_unchanged(series, steps.archive.series(ref.study_uid))
    if not analysis.results:
        return analysis, None
    steps.reached("writing")
    return analysis, steps.keep(analysis, ref)


def _as_served(analysis: Analysis, models: ServedModels) -> Analysis:
    """As sure as the tenant asks; what is switched off is told of, since it may be missed."""
    surer = stricter(analysis, models.thresholds)
    return replace(surer, models_not_run=(*models.disabled, *surer.models_not_run))


def check_identity(analysis: Analysis, ref: StudyRef, *, accept_unverified: bool = False) -> None:
    """Refuse images of another patient or study than the one whose chart is open.

    Raises:
        IdentityMismatch, PatientNotKnown: nothing of the analysis may be kept.
    """
    if not analysis.results:
        return
    try:
        require_same_study(analysis.identity, ref, accept_unverified=accept_unverified)
    except (Contradiction, NotOurs) as error:
        raise IdentityMismatch(error.sentence) from None


def check_whole(counted: Sequence[SeriesFacts], read: Sequence[SeriesUse]) -> None:
    """Refuse a series of which fewer images were read than the archive counts (0020,1209).

    Raises:
        SeriesNotWhole: "none" of a part is not "none" of the series.
    """
    counts = {facts.series_uid: facts.instances or 0 for facts in counted}
    if any(use.used and (use.instances or 0) < counts.get(use.series_uid, 0) for use in read):
        raise SeriesNotWhole("the archive counts more images in the series than it gives")


def check_unchanged(before: Sequence[SeriesFacts], after: Sequence[SeriesFacts]) -> None:
    """Refuse a study that grew while it was read (DICOM has no notion of a finished study).

    What we made of it ourselves, for another tenant or in an earlier attempt, is no growth.

    Raises:
        StudyChanged: try again; the next reading sees the new images.
    """

    def announced(series: Sequence[SeriesFacts]) -> Mapping[str, int | None]:
        return {s.series_uid: s.instances for s in series if not _is_evidence(s)}

    if announced(before) != announced(after):
        raise StudyChanged("images arrived while the study was read")


def _is_evidence(facts: SeriesFacts) -> bool:
    of = (facts.series_number, facts.description, facts.modality)
    return is_evidence(facts.series_uid, *of)
