"""Where the frames of an image lie, as an object that refers to them needs it (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from inference.instance import values_of
from models.contract import PlaneGeometry


def pixel_measures(header: Dataset) -> tuple[Dataset, ...]:
    """Where a header may state the size of a voxel, nearest to the first frame first."""
    groups = (
        *values_of(header, "PerFrameFunctionalGroupsSequence")[:1],
        *values_of(header, "SharedFunctionalGroupsSequence")[:1],
    )
    items = (item for group in groups for item in values_of(group, "PixelMeasuresSequence")[:1])
    return (*items, header)


def place_frames(clean: Dataset, planes: Sequence[PlaneGeometry | None]) -> None:
    """Give a header of several frames its functional groups; none where frames lie differently.

    `planes` are those of its frames, in order. Direction and spacing of all are those at the top.
    """
    alike = {(p.row_cosines, p.column_cosines, p.spacing_mm) for p in planes if p is not None}
    if None in planes or len(alike) != 1:
        return
    shared, measures, turned = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = clean.PixelSpacing, clean.SliceThickness
    turned.ImageOrientationPatient = clean.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    clean.SharedFunctionalGroupsSequence = [shared]
    clean.PerFrameFunctionalGroupsSequence = [_placed(plane) for plane in planes if plane]


def decimals(numbers: Sequence[float]) -> list[str]:
    """As a decimal string holds them: at most 16 characters (PS3.5 6.2, VR DS)."""
    return [f"{number:.10g}"[:16] for number in numbers]


def _placed(plane: PlaneGeometry) -> Dataset:
    group, place = Dataset(), Dataset()
    place.ImagePositionPatient = decimals(plane.position_mm)
    group.PlanePositionSequence = [place]
    return group
