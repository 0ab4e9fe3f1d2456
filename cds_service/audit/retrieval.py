"""What a worker asks of an archive about one study, as one event of the audit trail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cds_service.clients.errors import UpstreamError
from cds_service.clients.facts import StudyFacts
from cds_service.clients.interactions import Watch
from fhir_mapping.audit_event import Interaction
from fhir_mapping.study import StudyRef
from models.contract import SeriesFacts

if TYPE_CHECKING:
    from cds_service.flow import Archive


class WatchedArchive:
    """An archive for one study that remembers what was asked of it, and whether it failed."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._code = self._failed = ""

    def find_study(self, *, accession: str) -> Sequence[StudyFacts]:
        """As the archive does."""
        self._code = self._code or "query"
        with self._noting():
            return self._archive.find_study(accession=accession)

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        """As the archive does."""
        self._code = self._code or "query"
        with self._noting():
            return self._archive.series(study_uid)

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        """As the archive does."""
        self._code = "retrieve"
        with self._noting():
            yield from self._archive.retrieve(study_uid, series_uid)

    def tell(self, ref: StudyRef, watch: Watch) -> None:
        """Tell of what was asked for `ref`, if anything was; it has one event, however long."""
        if self._code:
            study = (ref.imaging_study_reference,) if ref.imaging_study_reference else ()
            about = (study, ref.patient_reference)
            watch(Interaction(self._code, "ImagingStudy", *about, failed=self._failed))

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except UpstreamError as error:
            self._failed = error.kind
            raise
