"""A heat-map -> Parametric Map (PS3.3 A.75): one float frame that lies exactly on its image."""

from __future__ import annotations

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

from inference.analysis import Explanation, ModelResult, Outcome
from inference.errors import EvidenceRefused
from inference.evidence import codes as concepts
from inference.evidence.equipment import equipment, stamped
from inference.evidence.objects import Kind, content_uid, name_of
from inference.evidence.source import NO_PLACE, SourceImage
from inference.placement import fitted, spread
from models.contract import FloatArray, PlaneGeometry
from models.manifest import Manifest

MOST_PIXELS = 2048 * 2048
"""16 MiB of float32: no plane in a patient is larger, and nobody should wait for its map."""


def parametric_map(
    result: ModelResult, manifest: Manifest, source: SourceImage, at: datetime
) -> Dataset:
    """Make the map of a result's deciding image, which `source` is.

    The cells are spread over the image as in the picture of the same map, so that each value lies
    where it was drawn; the values stay from 0 to 1 and without a unit.

    Raises EvidenceRefused without a map, or where the image states no plane and frame of reference:
    the module is mandatory (PS3.3 A.75.3), and a map that lies nowhere could be laid anywhere.
    """
    shown = result.explanation
    if shown is None:
        raise EvidenceRefused("The result has no map.")
    geometry = source.geometry
    if geometry is None:
        raise EvidenceRefused(NO_PLACE)
    if source.rows * source.columns > MOST_PIXELS:
        raise EvidenceRefused("The image is too large for a map of its size.")
    name = name_of(Kind.MAP, str(source.header.StudyInstanceUID), result)
    made = ParametricMap(
        source_images=[source.header],
        pixel_array=_on_image(shown, source, manifest)[np.newaxis],
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
        **_lying(geometry, source),
        **equipment(result, manifest),
    )
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = content_uid("dimensions", name.sop_instance_uid)
    return stamped(made, source, manifest, at)


def _on_image(shown: Explanation, source: SourceImage, manifest: Manifest) -> FloatArray:
    spec = manifest.input
    place = fitted(source.rows, source.columns, source.pixel_aspect, spec)
    smooth = Image.Resampling.BILINEAR if shown.method == "outline" else Image.Resampling.BICUBIC
    values = spread(shown.heatmap, place, spec, (source.columns, source.rows), smooth)
    return np.clip(values, 0, 1).astype(np.float32)  # a cubic swings over the ends


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


def _lying(geometry: PlaneGeometry, source: SourceImage) -> dict[str, Any]:
    thickness = source.header.get("SliceThickness")
    return {
        "pixel_measures": PixelMeasuresSequence(
            pixel_spacing=geometry.spacing_mm,
            slice_thickness=float(thickness) if thickness else None,
        ),
        "plane_orientation": PlaneOrientationSequence(
            "PATIENT", (*geometry.row_cosines, *geometry.column_cosines)
        ),
        "plane_positions": [PlanePositionSequence("PATIENT", geometry.position_mm)],
    }
