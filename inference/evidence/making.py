"""One result -> the objects that were asked for, each made or refused with a sentence."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydicom.dataset import Dataset

from inference.analysis import ModelResult
from inference.boundary import contained
from inference.errors import EvidenceRefused
from inference.evidence.measurement_report import measurement_report
from inference.evidence.objects import EvidenceObject, Kind, Refusal, name_of
from inference.evidence.parametric_map import mapped_slices, parametric_map
from inference.evidence.secondary_capture import secondary_capture
from inference.evidence.segmentation import Segmented, kept_outlines, segmentation
from inference.evidence.source import SourceImage
from models.manifest import Manifest

Made = EvidenceObject | Refusal
_OfSources = Callable[[ModelResult, Manifest, Mapping[int, SourceImage], datetime], Dataset]


def slices_needed(result: ModelResult, kinds: Collection[Kind]) -> tuple[int, ...]:
    """The numbers of the slices whose headers the objects need, no others."""
    wanted = {result.deciding_slice, *result.slices_used[:1]} - {None}
    if Kind.MAP in kinds:
        wanted |= set(mapped_slices(result))
    if Kind.OUTLINE in kinds:
        wanted |= {outline.slice_number for outline in kept_outlines(result)}
    return tuple(sorted(number for number in wanted if number is not None))


@dataclass(frozen=True)
class Maker:
    """Makes the objects of one result; `sources` are by slice number, `at` is the time of making.

    A library's failure on odd input is a refusal like any other: it never ends what has a result.
    """

    result: ModelResult
    manifest: Manifest
    sources: Mapping[int, SourceImage]
    at: datetime

    def make(self, kinds: Collection[Kind]) -> Iterator[Made]:
        """Each object or refusal; the report last, because it refers to the outline."""
        segmented: Segmented | None = None
        if Kind.OUTLINE in kinds and self.result.task == "segmentation":
            try:
                with contained(_refused):
                    segmented = segmentation(self.result, self.manifest, self.sources, self.at)
                yield self._object(Kind.OUTLINE, segmented.data_set)
            except EvidenceRefused as refusal:
                yield Refusal(Kind.OUTLINE, self.result.model_id, refusal.sentence)
        if self.result.explanation is not None:
            for kind, maker in ((Kind.MAP, parametric_map), (Kind.PICTURE, secondary_capture)):
                if kind in kinds:
                    yield self._made(kind, partial(self._of_sources, maker))
        if Kind.REPORT in kinds:
            yield self._made(Kind.REPORT, lambda: self._report(segmented))

    def _report(self, segmented: Segmented | None) -> Dataset:
        return measurement_report(self.result, self.manifest, self.sources, self.at, segmented)

    def _of_sources(self, maker: _OfSources) -> Dataset:
        return maker(self.result, self.manifest, self.sources, self.at)

    def _made(self, kind: Kind, maker: Callable[[], Dataset]) -> Made:
        try:
            with contained(_refused):
                return self._object(kind, maker())
        except EvidenceRefused as refusal:
            return Refusal(kind, self.result.model_id, refusal.sentence)

    def _object(self, kind: Kind, made: Dataset) -> EvidenceObject:
        file = io.BytesIO()
        made.save_as(file, enforce_file_format=True)
        return EvidenceObject(
            name=name_of(kind, str(made.StudyInstanceUID), self.result),
            model_id=self.result.model_id,
            study_uid=str(made.StudyInstanceUID),
            sop_class_uid=str(made.SOPClassUID),
            modality=str(made.Modality),
            encoded=file.getvalue(),
        )


def _refused(reason: str) -> EvidenceRefused:
    return EvidenceRefused("The images hold something of which DICOM's library makes no object.")
