"""Header -> what it says of each frame: where it lies, its scale, its window.

A single-frame instance says it at the top level; an enhanced one in its functional groups,
per frame or shared (PS3.3 C.7.6.16).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from inference.boundary import contained
from inference.errors import UnreadableInstance
from inference.instance import Instance, values_of
from inference.sides import stated_sides
from models.contract import PlaneGeometry

_UNIT_TOLERANCE = 1e-3  # cosines are written with few digits (PS3.3 C.7.6.2.1.1 gives no bound)


@dataclass(frozen=True)
class FrameFacts:
    """What the header says of one frame; `frame` counts from 1.

    `geometry` is ``None`` when it is not stated, and also when what is stated cannot be
    true: `geometry_problem` then says why, as a short code.
    `slope` and `intercept` lead from stored values to modality units (PS3.3 C.11.1).
    `window` is (centre, width) in modality units.
    `sides` are where rows and columns lead (Patient Orientation (0020,0020)), if it can be true.
    `at_detector` says that `spacing_mm` is that of the detector of a projection: what lies in the
    patient appears enlarged (PS3.3 10.7.1.1).
    """

    frame: int
    geometry: PlaneGeometry | None = None
    geometry_problem: str | None = None
    spacing_mm: tuple[float, float] | None = None
    slope: float = 1.0
    intercept: float = 0.0
    window: tuple[float, float] | None = None
    at_detector: bool = False
    sides: tuple[str, str] | None = None


def frame_facts(instance: Instance) -> tuple[FrameFacts, ...]:
    """The facts of every frame, in stored order. Raises UnreadableInstance on values of no type."""
    with contained(_unreadable):
        return tuple(_facts(instance.header, index) for index in range(instance.frames))


def _facts(header: Dataset, index: int) -> FrameFacts:
    groups = _groups(header, index)
    spacing = _numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2)
    projected = _projected_spacing(header)
    geometry, problem = _geometry(groups, spacing)
    return FrameFacts(
        frame=index + 1,
        geometry=geometry,
        geometry_problem=problem,
        spacing_mm=_pair(spacing or projected),
        slope=_number(groups, "PixelValueTransformationSequence", "RescaleSlope", 1.0),
        intercept=_number(groups, "PixelValueTransformationSequence", "RescaleIntercept", 0.0),
        window=_window(groups),
        # a Pixel Spacing equal to that of the detector was not corrected for the magnification
        at_detector=projected is not None and spacing in (None, projected),
        sides=stated_sides(values_of(header, "PatientOrientation")),
    )


def _groups(header: Dataset, index: int) -> tuple[Dataset, ...]:
    """Where to look, nearest first: this frame's group, the shared one, the top level."""
    frames = values_of(header, "PerFrameFunctionalGroupsSequence")
    shared = values_of(header, "SharedFunctionalGroupsSequence")
    nearest = (frames[index],) if index < len(frames) else ()
    return (*nearest, *shared[:1], header)


def _values(groups: Sequence[Dataset], macro: str, keyword: str) -> Sequence[object]:
    for group in groups[:-1]:
        for item in values_of(group, macro)[:1]:
            if found := values_of(item, keyword):
                return found
    return values_of(groups[-1], keyword)


def _numbers(
    groups: Sequence[Dataset], macro: str, keyword: str, count: int
) -> tuple[float, ...] | None:
    """`count` numbers, ``None`` when absent; another count or no number gives not-a-number."""
    values = _values(groups, macro, keyword)
    if not values:
        return None
    if len(values) != count:
        return (math.nan,) * count
    return tuple(_float(value) for value in values)


def _float(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _number(groups: Sequence[Dataset], macro: str, keyword: str, absent: float) -> float:
    values = _values(groups, macro, keyword)
    number = _float(values[0]) if values else absent
    if not math.isfinite(number):
        raise UnreadableInstance("The scale of the pixel values is not a number.")
    return number


def _geometry(
    groups: Sequence[Dataset], spacing: tuple[float, ...] | None
) -> tuple[PlaneGeometry | None, str | None]:
    position = _numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    cosines = _numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if position is None and cosines is None:
        return None, _spacing_problem(spacing) if spacing else None
    if position is None or cosines is None or spacing is None:
        return None, "incomplete"
    if not all(map(math.isfinite, (*position, *cosines))):
        return None, "not-a-number"
    if problem := _spacing_problem(spacing) or _cosines_problem(cosines):
        return None, problem
    (x, y, z), (a, b, c, d, e, f), (down, across) = position, cosines, spacing
    return PlaneGeometry((x, y, z), (a, b, c), (d, e, f), (down, across)), None


def _spacing_problem(spacing: tuple[float, ...]) -> str | None:
    return None if all(math.isfinite(mm) and mm > 0 for mm in spacing) else "spacing"


def _cosines_problem(cosines: tuple[float, ...]) -> str | None:
    row, column = cosines[:3], cosines[3:]
    products = (
        math.hypot(*row) - 1,
        math.hypot(*column) - 1,
        sum(a * b for a, b in zip(row, column, strict=True)),
    )
    return None if max(map(abs, products)) <= _UNIT_TOLERANCE else "orientation"


def _projected_spacing(header: Dataset) -> tuple[float, ...] | None:
    """Spacing of a projection at the detector (PS3.3 C.8.11.1, 10.7.1.3)."""
    return _numbers((header,), "", "ImagerPixelSpacing", 2)


def _pair(spacing: tuple[float, ...] | None) -> tuple[float, float] | None:
    if spacing is None or _spacing_problem(spacing):
        return None
    return spacing[0], spacing[1]


def _window(groups: Sequence[Dataset]) -> tuple[float, float] | None:
    centre = _values(groups, "FrameVOILUTSequence", "WindowCenter")
    width = _values(groups, "FrameVOILUTSequence", "WindowWidth")
    if not centre or not width:
        return None
    pair = _float(centre[0]), _float(width[0])
    return pair if all(map(math.isfinite, pair)) and pair[1] >= 1 else None


def _unreadable(reason: str) -> UnreadableInstance:
    return UnreadableInstance("The header of the instance holds values that cannot be read.")
