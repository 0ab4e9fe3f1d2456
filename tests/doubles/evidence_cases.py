"""Results on small drawn series, made without a model: only their objects are in question."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from inference.analysis import Measurement, ModelResult, Outcome, SliceOutline, StudyIdentity
from inference.contours import contours_of
from inference.evidence.making import Maker
from inference.evidence.objects import EvidenceObject, Kind, Refusal
from inference.evidence.source import SourceImage, source_image
from models.manifest import Manifest, read_manifest
from models.registry import load_registry
from tests.doubles import explained
from tests.reference.dicom_factory import axial_series, encoded, head

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ALL = frozenset(Kind)
OUTLINE_MANIFEST = read_manifest(Path(__file__).parents[1] / "reference" / "toy_outline")
DECIDING = 3


def series(count: int = 6, rows: int = 64, columns: int = 64, **elements: Any) -> list[Dataset]:
    """An axial series; `elements` overrides or (with ``None``) removes by keyword."""
    absent = [keyword for keyword, value in elements.items() if value is None]
    stated = {keyword: value for keyword, value in elements.items() if value is not None}
    made = axial_series(count, pixels=lambda n: head(rows, columns, seed=n), **stated)
    for each in made:
        for keyword in absent:
            if keyword in each:
                del each[keyword]
    return made


def sources_of(images: Sequence[Dataset], numbers: Sequence[int]) -> dict[int, SourceImage]:
    """The headers of some slices, by number."""
    whose = StudyIdentity(str(images[0].StudyInstanceUID), str(images[0].get("PatientID", "")))
    return {number: source_image(encoded(images[number - 1]), 1, whose) for number in numbers}


def found_on(images: Sequence[Dataset], deciding: int = DECIDING) -> ModelResult:
    """A finding with a heat-map on the deciding slice; hot in the upper left corner."""
    result = explained.result()
    heat = np.zeros((7, 7), np.float32)
    heat[1, 1] = 1
    uid = str(images[deciding - 1].SOPInstanceUID)
    shown = replace(
        explained.explanation(), heatmap=heat, slice_number=deciding, sop_instance_uid=uid
    )
    scored = tuple(
        replace(result.slices[0], number=number, sop_instance_uid=str(image.SOPInstanceUID))
        for number, image in enumerate(images, start=1)
    )
    return replace(
        result,
        series_uid=str(images[0].SeriesInstanceUID),
        slices=scored,
        slices_used=(deciding,),
        deciding_slice=deciding,
        explanation=shown,
    )


def outlined_on(images: Sequence[Dataset], deciding: int = DECIDING) -> ModelResult:
    """An outline on every slice: a square that begins at row 8, column 16."""
    result = found_on(images, deciding)
    how = "Pixels within the outline, times their spacing"
    return replace(
        result,
        model_id=OUTLINE_MANIFEST.id,
        task="segmentation",
        outcome=Outcome.MEASURED,
        finding=None,
        probabilities=(),
        outlines=tuple(_square(image, n) for n, image in enumerate(images, start=1)),
        measurements=(Measurement("area", "Area", 128.5, "mm2", None, how, deciding),),
        explanation=None,
    )


def _square(image: Dataset, number: int) -> SliceOutline:
    mask = np.zeros((image.Rows, image.Columns), np.bool_)
    mask[8:16, 16:32] = True
    uid = str(image.SOPInstanceUID)
    return SliceOutline(number, uid, 1, mask, contours_of(mask), float(mask.mean()), 128.5, 0.9)


def manifest_of(result: ModelResult) -> Manifest:
    """The manifest of the model that answered."""
    if result.model_id == OUTLINE_MANIFEST.id:
        return OUTLINE_MANIFEST
    return next(p.manifest for p in load_registry().packages if p.manifest.id == result.model_id)


def made(
    result: ModelResult, sources: Mapping[int, SourceImage]
) -> tuple[dict[Kind, Dataset], dict[Kind, str]]:
    """The objects of a result as they are read again, and the sentences of what was refused."""
    results: Sequence[EvidenceObject | Refusal] = list(
        Maker(result, manifest_of(result), sources, AT).make(ALL)
    )
    objects = {o.name.kind: o for o in results if isinstance(o, EvidenceObject)}
    return (
        {kind: dcmread(io.BytesIO(o.encoded)) for kind, o in objects.items()},
        {r.kind: r.sentence for r in results if isinstance(r, Refusal)},
    )
