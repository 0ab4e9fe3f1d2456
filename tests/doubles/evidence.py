"""A drawn head whose lesion is known to the pixel, as the shipped model answers it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from cds_service.sandbox.demo_studies import HEADS, head_instances
from cds_service.sandbox.phantom import axial_mask, axial_series
from inference.analysis import Analysis, Measurement, ModelResult, Outcome, SliceOutline
from inference.contours import contours_of
from inference.evidence.making import slices_needed
from inference.evidence.source import SourceImage, source_image
from inference.limits import Limits
from inference.pipeline import analyse
from models.registry import load_registry
from tests.doubles.evidence_cases import ALL, OUTLINE_MANIFEST
from tests.reference.dicom_factory import encoded


@dataclass(frozen=True)
class KnownStudy:
    """`truth` is bool [slice, row, column] in anatomical order; `files` by SOP Instance UID."""

    analysis: Analysis
    files: Mapping[str, bytes]
    truth: npt.NDArray[np.bool_]

    @property
    def found(self) -> ModelResult:
        """The finding, with its heat-map."""
        return self.analysis.results[0]

    @property
    def outlined(self) -> ModelResult:
        """A segmentation that was never wrong: it outlines the true lesion."""
        found, shown = self.found, self.found.explanation
        assert shown is not None
        outlines = tuple(
            self._outline(number) for number in range(1, 25) if self.truth[number - 1].any()
        )
        middle = found.deciding_slice or 0
        area = next(each for each in outlines if each.slice_number == middle)
        how = "Pixels within the outline, times their spacing"
        measured = Measurement("area", "Area", area.area_mm2 or 0, "mm2", None, how, middle)
        return replace(
            found,
            model_id=OUTLINE_MANIFEST.id,
            model_title=OUTLINE_MANIFEST.title,
            task="segmentation",
            outcome=Outcome.MEASURED,
            finding=None,
            probabilities=(),
            outlines=outlines,
            measurements=(measured,),
            follows=found.model_id,
            explanation=None,
        )

    def _outline(self, number: int) -> SliceOutline:
        mask, scored = self.truth[number - 1], self.found.slices[number - 1]
        area_mm2 = float(mask.sum()) * 0.46875**2
        share = float(mask.mean())
        uid = scored.sop_instance_uid
        return SliceOutline(number, uid, 1, mask, contours_of(mask), share, area_mm2, 0.9)

    def sources(self, result: ModelResult) -> dict[int, SourceImage]:
        """The headers that the objects of a result need."""
        return {
            number: source_image(
                self.files[result.slices[number - 1].sop_instance_uid], 1, self.analysis.identity
            )
            for number in slices_needed(result, ALL)
        }


@lru_cache
def known_study(key: str = "head-meningioma") -> KnownStudy:
    """The sandbox's study of that key, analysed by the shipped model."""
    head = next(each for each in HEADS if each.key == key)
    assert head.lesion is not None
    instances = [encoded(each) for each in head_instances(key, axial_series(head.lesion), head)]
    analysis = analyse(instances, load_registry(), Limits())
    files = {str(header(data).SOPInstanceUID): data for data in instances}
    return KnownStudy(analysis, files, axial_mask(head.lesion))


def header(data: bytes) -> Dataset:
    """An instance without its pixels."""
    return dcmread(io.BytesIO(data), stop_before_pixels=True)
