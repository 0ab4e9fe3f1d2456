"""Where a measurement group looks: closed lines upon its image (TID 1410, PS3.3 C.18.6.1).

A viewer draws what has a shape, and some open no group without one (OHIF 3): what is narrower than
the image has its own line, everything else the edge of the image, all of which the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom.sr import ImageRegion, SourceImageForRegion

from inference.analysis import Explanation, ModelResult, SliceOutline
from inference.contours import contours_of, signed_area
from inference.evidence.parametric_map import on_image
from inference.evidence.source import SourceImage
from models.contract import FloatArray
from models.manifest import Manifest

HOT = 0.5
"""Of the strongest cell of a map: what reaches it is drawn."""

MOST_LINES = 8
"""Of one outline; the largest are kept. The segment has them all."""


def whole(source: SourceImage) -> ImageRegion:
    """The edge of the image."""
    columns, rows = source.columns, source.rows
    return _region(np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32), source)


def speaking(
    shown: Explanation | None, label_key: str, source: SourceImage, manifest: Manifest
) -> ImageRegion:
    """Where the map of a label is hot on its image; the edge of the image without such a map."""
    if shown is None or shown.label_key != label_key or shown.sop_instance_uid != source.key[0]:
        return whole(source)
    hot = on_image(shown.heatmap, shown.method, source, manifest) >= HOT
    return next(iter(_outer(contours_of(hot), source)), whole(source))


def outlined(result: ModelResult, source: SourceImage) -> list[ImageRegion]:
    """The outer lines of what was outlined on this image, the largest first."""
    here = (each for each in result.outlines if (each.sop_instance_uid, each.frame) == source.key)
    found: SliceOutline | None = next(here, None)
    return _outer(found.contours, source)[:MOST_LINES] if found else []


def _outer(contours: Sequence[FloatArray], source: SourceImage) -> list[ImageRegion]:
    outer = sorted(contours, key=signed_area, reverse=True)  # a hole's area is below zero
    # pixel centres are whole numbers in a contour, and begin at a half in DICOM
    return [_region(line + np.float32(0.5), source) for line in outer if signed_area(line) > 0]


def _region(corners: FloatArray, source: SourceImage) -> ImageRegion:
    """A closed line; `corners` are (column, row) from the upper left edge of the image."""
    return ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=np.concatenate((corners, corners[:1])),
        source_image=SourceImageForRegion(**reference(source)),
    )


def reference(source: SourceImage) -> dict[str, Any]:
    """How a content item refers to an image."""
    return {
        "referenced_sop_class_uid": str(source.header.SOPClassUID),
        "referenced_sop_instance_uid": source.sop_instance_uid,
        "referenced_frame_numbers": [source.frame] if source.frames > 1 else None,
    }
