"""On which side of the patient an image's edges lie: by its plane, or as a radiograph states it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.contract import PlaneGeometry

Edges = tuple[str, str, str, str]
"""Letters for the left, right, top and bottom edge (PS3.3 C.7.6.1.1.1): L R A P H F."""

_SECOND_DIRECTION = 0.3  # an edge names a second direction when its cosine is above this
_AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # of increasing, decreasing x, y, z (LPS)
_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")
_AXIS = str.maketrans("RAF", "LPH")


def stated_sides(values: Sequence[object]) -> tuple[str, str] | None:
    """Patient Orientation (0020,0020) -> where rows and columns lead; ``None`` if not or untrue.

    What is said of four-legged animals is not understood here.
    """
    stated = [str(value) for value in values]
    if len(stated) != 2 or not all(re.fullmatch("[LRAPHF]{1,3}", each) for each in stated):
        return None
    axes = [each.translate(_AXIS) for each in stated]
    if axes[0][0] == axes[1][0] or any(len(set(each)) < len(each) for each in axes):
        return None
    return stated[0], stated[1]


def edges_of(plane: PlaneGeometry | None, sides: tuple[str, str] | None) -> Edges | None:
    """The edges of an image; its plane counts more than what else is stated."""
    if plane is not None:
        return plane_edges(plane)
    if sides is None:
        return None
    right, bottom = sides
    return right.translate(_OPPOSITE), right, bottom.translate(_OPPOSITE), bottom


def plane_edges(plane: PlaneGeometry) -> Edges:
    """The edges of a plane in the patient."""
    row, column = plane.row_cosines, plane.column_cosines
    left, top = (tuple(-c for c in cosines) for cosines in (row, column))
    return _letters(left), _letters(row), _letters(top), _letters(column)


def _letters(direction: tuple[float, ...]) -> str:
    by_size = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    named = [axis for i, axis in enumerate(by_size) if i == 0 or _is_named(direction[axis])]
    return "".join(_AXES[axis][direction[axis] < 0] for axis in named[:2])


def _is_named(cosine: float) -> bool:
    return abs(cosine) > _SECOND_DIRECTION
