"""A heat-map -> Parametric Map (PS3.3 A.75): a float frame for each image, exactly on it.

Where the model makes a map of every slice, all of them are there, in the order of the volume: a
viewer may lay frames upon the images of a series by counting alone (OHIF 3 does). That viewer also
refuses a map of fewer rows or columns than its images have, and overflows on most integers, so the
map has the size of the images, in floats; of few steps, so that whoever compresses it keeps
a fourteenth of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from highdicom import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
    VOILUTTransformation,
)
from highdicom.pm import ParametricMap, RealWorldValueMapping
from PIL import Image
from pydicom.dataset import Dataset

from inference.analysis import Explanation, HeatMap, ModelResult, Outcome
from inference.errors import EvidenceRefused
from inference.evidence import codes as concepts
from inference.evidence.equipment import equipment, stamped
from inference.evidence.objects import Kind, content_uid, name_of
from inference.evidence.source import NO_DECIDING, NO_PLACE, SourceImage, headers_of
from inference.placement import fitted, spread
from models.contract import FloatArray, PlaneGeometry
from models.manifest import Manifest

MOST_PIXELS = 4096 * 4096
"""64 MiB of float32; of a series with more than these, only the deciding image has its map."""

MOST_FRAMES = 256

_STEPS = 1024
"""Of the values from 0 to 1. Finer ones would be the spreading's, not the model's."""


def mapped_slices(result: ModelResult) -> tuple[int, ...]:
    """The numbers of the slices of which an object may hold the map, in anatomical order."""
    shown = result.explanation
    if shown is None:
        return ()
    numbers = sorted({shown.slice_number, *shown.others})
    return tuple(numbers) if len(numbers) <= MOST_FRAMES else (shown.slice_number,)


def parametric_map(
    result: ModelResult, manifest: Manifest, sources: Mapping[int, SourceImage], at: datetime
) -> Dataset:
    """Make the map of a result's images; `sources` are by slice number.

    The cells are spread over the image as in the picture of the same map, so that each value lies
    where it was drawn; the values stay from 0 to 1 and without a unit. An image that does not lie
    with the deciding one as a plane of the same series has no frame.

    Raises EvidenceRefused without a map, or where the deciding image is missing or states no plane
    and frame of reference: the module is mandatory (PS3.3 A.75.3), and a map that lies nowhere
    could be laid anywhere.
    """
    shown = result.explanation
    if shown is None:
        raise EvidenceRefused("The result has no map.")
    source = sources.get(shown.slice_number)
    if source is None:
        raise EvidenceRefused(NO_DECIDING)
    geometry = source.geometry
    if geometry is None:
        raise EvidenceRefused(NO_PLACE)
    if source.rows * source.columns > MOST_PIXELS:
        raise EvidenceRefused("The image is too large for a map of its size.")
    images = _planes_of(result, sources, source)
    heats: Mapping[int, HeatMap] = {**shown.others, shown.slice_number: shown.heatmap}
    name = name_of(Kind.MAP, str(source.header.StudyInstanceUID), result)
    made = ParametricMap(
        source_images=headers_of(images.values()),
        pixel_array=np.stack(
            [on_image(heats[n], shown.method, each, manifest) for n, each in images.items()]
        ),
        series_instance_uid=name.series_uid,
        series_number=Kind.MAP.series_number,
        sop_instance_uid=name.sop_instance_uid,
        instance_number=1,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_meaning(shown, _unstated(result))],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="AI_MAP",
        content_description=f"AI, not reviewed{_unstated(result)}",
        content_qualification="RESEARCH",
        series_description=name.description,
        coding_schemes=[concepts.SCHEME],
        **_lying([each.geometry for each in images.values() if each.geometry], source),
        **equipment(result, manifest),
    )
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = content_uid("dimensions", name.sop_instance_uid)
    _along_normal(made, geometry)
    return stamped(made, source, manifest, at)


def _along_normal(made: Dataset, plane: PlaneGeometry) -> None:
    """Put the frames in the order of a volume: along the normal, row by column.

    The library runs against it. DICOM leaves the order free, but whoever lays frames upon images by
    counting would draw the map of one slice on another, and so would be wrong without a word.
    """
    groups = list(made.PerFrameFunctionalGroupsSequence)
    if len(groups) == 1:
        return
    along = [_distance(group, plane) for group in groups]
    order = sorted(range(len(groups)), key=along.__getitem__)
    frames = np.frombuffer(made.FloatPixelData, np.float32).reshape(len(groups), -1)
    made.FloatPixelData = frames[order].tobytes()
    made.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    for number, group in enumerate(made.PerFrameFunctionalGroupsSequence, start=1):
        group.FrameContentSequence[0].DimensionIndexValues = [number]


def _distance(group: Dataset, plane: PlaneGeometry) -> float:
    position = group.PlanePositionSequence[0].ImagePositionPatient
    return sum(float(p) * n for p, n in zip(position, plane.normal, strict=True))


def _planes_of(
    result: ModelResult, sources: Mapping[int, SourceImage], deciding: SourceImage
) -> dict[int, SourceImage]:
    """The images that have a frame, in anatomical order: those that lie as the deciding one does.

    If they are too many pixels, or two lie at one place, it is that one alone.
    """
    planes = {
        number: sources[number]
        for number in mapped_slices(result)
        if number in sources and _lies_as(deciding, sources[number])
    }
    positions = {each.geometry.position_mm for each in planes.values() if each.geometry}
    size = deciding.rows * deciding.columns * len(planes)
    if size <= MOST_PIXELS and len(positions) == len(planes):
        return planes
    return {number: each for number, each in planes.items() if each is deciding}


def _lies_as(one: SourceImage, other: SourceImage) -> bool:
    """Whether two planes are parallel, of one size, in one space, and no other image has frames."""
    return _direction(one) == _direction(other) and (
        one.sop_instance_uid == other.sop_instance_uid or one.frames == other.frames == 1
    )


def _direction(image: SourceImage) -> tuple[object, ...]:
    plane = image.geometry
    lies = (plane.row_cosines, plane.column_cosines, plane.spacing_mm) if plane else ()
    space = str(image.header.get("FrameOfReferenceUID", ""))
    return image.rows, image.columns, space, *lies


def on_image(heat: HeatMap, method: str, source: SourceImage, manifest: Manifest) -> FloatArray:
    """Spread cells over their image, as in the picture of them.

    float32 (rows, columns), multiples of 1/1024 from 0 to 1.
    """
    spec = manifest.input
    place = fitted(source.rows, source.columns, source.pixel_aspect, spec)
    smooth = Image.Resampling.BILINEAR if method == "outline" else Image.Resampling.BICUBIC
    cells = np.asarray(heat, np.float32)
    values = spread(cells, place, spec, (source.columns, source.rows), smooth)
    held = np.clip(values, 0, 1)  # a cubic swings over the ends
    return (np.rint(held * _STEPS) / _STEPS).astype(np.float32)


def _unstated(result: ModelResult) -> str:
    """What a reader of the map alone must know of a label that the model did not state."""
    stated = result.finding is not None or result.outcome is Outcome.MEASURED
    return "" if stated else " (not stated)"


def _meaning(shown: Explanation, unstated: str) -> RealWorldValueMapping:
    outlined = shown.method == "outline"
    what = "Probability of belonging" if outlined else "Share in what speaks for the label"
    return RealWorldValueMapping(
        lut_label="AI_MAP",
        lut_explanation=f"{what}: {shown.label_key}"[: 64 - len(unstated)] + unstated,
        unit=concepts.NO_UNITS,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=concepts.PROBABILITY if outlined else concepts.SALIENCY,
    )


def _lying(planes: Sequence[PlaneGeometry], source: SourceImage) -> dict[str, Any]:
    """Where the frames lie; what all have in common is as the first states it."""
    thickness, geometry = source.header.get("SliceThickness"), planes[0]
    return {
        "pixel_measures": PixelMeasuresSequence(
            pixel_spacing=geometry.spacing_mm,
            slice_thickness=float(thickness) if thickness else None,
        ),
        "plane_orientation": PlaneOrientationSequence(
            "PATIENT", (*geometry.row_cosines, *geometry.column_cosines)
        ),
        "plane_positions": [PlanePositionSequence("PATIENT", each.position_mm) for each in planes],
    }
