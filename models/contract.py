"""What a model is: the values that pass between a series of images and an answer.

Everything here is frozen and does no I/O. ``inference`` fills these values from DICOM,
``models.registry`` decides by them, ``fhir_mapping`` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
PixelArray = npt.NDArray[np.generic]

Role = Literal["finding", "negative", "structure"]


@dataclass(frozen=True)
class Coding:
    """A concept in a published code system (FHIR ``Coding``, DICOM code sequence item)."""

    system: str
    code: str
    display: str


@dataclass(frozen=True)
class Reason:
    """Why something was not done, for a machine (`kind`) and for a person (`sentence`).

    A sentence never quotes free text of a DICOM or FHIR object.
    """

    kind: str
    sentence: str


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of one series before its pixels are read; ``None`` is "not stated".

    Filled from QIDO-RS (PS3.18 10.6.3) before retrieval, and from the instance headers after.
    """

    series_uid: str
    modality: str | None = None
    series_number: int | None = None
    description: str = ""
    protocol: str = ""
    body_part: str | None = None
    image_type: tuple[str, ...] = ()
    """Image Type (0008,0008), and what an enhanced image states of the kind beside it."""
    sop_class_uid: str | None = None
    rows: int | None = None
    columns: int | None = None
    samples_per_pixel: int | None = None
    instances: int | None = None
    burned_in: bool = False
    """BurnedInAnnotation (0028,0301) says YES: the pixels hold text that may identify."""
    view_position: str | None = None
    """View Position (0018,5101) of a radiograph: "PA", "AP", "LL" (PS3.3 C.8.4.1)."""
    age_years: float | None = None
    """The patient's age at the study: Patient's Age (0010,1010), or from the date of birth."""
    study_description: str = ""
    """Study Description (0008,1030): often the only place that names the region of the body."""


@dataclass(frozen=True)
class PlaneGeometry:
    """Where one image plane lies in the patient (Image Plane Module, PS3.3 C.7.6.2).

    `position_mm` is the centre of the first transmitted pixel, (x, y, z), patient coordinates LPS.
    `row_cosines` points along a row (increasing column), `column_cosines` down a column.
    `spacing_mm` is the distance between pixel centres: between rows, then between columns.
    """

    position_mm: tuple[float, float, float]
    row_cosines: tuple[float, float, float]
    column_cosines: tuple[float, float, float]
    spacing_mm: tuple[float, float]

    @property
    def normal(self) -> tuple[float, float, float]:
        """The unit vector through the plane, row x column (right-handed)."""
        (a, b, c), (d, e, f) = self.row_cosines, self.column_cosines
        return (b * f - c * e, c * d - a * f, a * e - b * d)


@dataclass(frozen=True)
class ImageSlice:
    """One plane of pixels in modality units, brighter = larger (MONOCHROME1 is already inverted).

    `pixels` has shape (rows, columns) for grey, (rows, columns, 3) uint8 for colour.
    `frame` counts from 1 in a multi-frame instance (PS3.3 C.7.6.6), and is 1 in a single frame.
    `geometry` is ``None`` when the instance does not say where it lies.
    `spacing_mm` (between rows, between columns) may be known without a geometry (radiographs).
    `window` is the stored VOI (centre, width) in modality units, if there is one.
    `sides` are where rows and columns lead, as radiographs state it: ("L", "F") is seen from the
    front (Patient Orientation (0020,0020), PS3.3 C.7.6.1.1.1).
    """

    pixels: PixelArray
    sop_instance_uid: str
    frame: int = 1
    instance_number: int | None = None
    geometry: PlaneGeometry | None = None
    spacing_mm: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    sides: tuple[str, str] | None = None

    @property
    def pixel_aspect(self) -> float:
        """Row spacing over column spacing; 1 when the spacing is not known."""
        return self.spacing_mm[0] / self.spacing_mm[1] if self.spacing_mm else 1.0


@dataclass(frozen=True)
class SliceScore:
    """What a model said of one slice.

    `probabilities` follow the order of the manifest's labels and sum to 1 (calibrated softmax).
    `class_maps` is float32 (labels, cells down, cells across): each cell's contribution to the
    class score before averaging (CAM; Zhou et al. 2016). Empty when the model has no such map.
    """

    probabilities: tuple[float, ...]
    ood_score: float
    class_maps: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))


@dataclass(frozen=True)
class Prediction:
    """A model's answer for a whole series, before any gate has judged it.

    `scores` are in slice order. `probabilities` belong to the deciding window of neighbouring
    slices, by label key. `deciding_slice` is an index into the series' slices.
    """

    probabilities: Mapping[str, float]
    scores: tuple[SliceScore, ...]
    window: range
    deciding_slice: int
