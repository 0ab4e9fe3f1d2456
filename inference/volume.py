"""Slices -> a series in anatomical order, and what is wrong with where they lie.

Slices are ordered by position along the normal, never by Instance Number, which says in which
order they were made (PS3.3 C.7.6.2.1.1). Nothing is dropped or repaired: a series whose
geometry does not hold is put in some order, and its problems are handed to the geometry gate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from inference.frames import FrameFacts
from models.contract import PlaneGeometry, Reason

_SAME_DIRECTION = 5e-3  # how far two cosines of one direction may differ: 0.3 degrees
_EVEN, _EVEN_MM = 0.01, 0.02  # gaps may differ by 1 %, or by what two decimals of a position round
_SHIFT, _SHIFT_MM = 0.02, 0.05  # sideways movement between neighbours, of the gap or at least


@dataclass(frozen=True)
class Place:
    """Where one frame lies, and by what it is named."""

    sop_instance_uid: str
    instance_number: int | None
    rows: int
    columns: int
    facts: FrameFacts
    frame_of_reference: str = ""

    @property
    def geometry(self) -> PlaneGeometry | None:
        """The plane in the patient, if it is stated and can be true."""
        return self.facts.geometry


@dataclass(frozen=True)
class Arrangement:
    """`order` holds indices into the places given, in anatomical order where that is known."""

    order: tuple[int, ...]
    problems: tuple[Reason, ...]


def arrange(places: Sequence[Place]) -> Arrangement:
    """Order the frames of a series and judge its geometry; `places` in any order."""
    planes = [place.geometry for place in places]
    stated = [plane for plane in planes if plane is not None]
    if len(stated) < len(places) or not stated:
        order = sorted(range(len(places)), key=lambda i: _by_number(places[i]))
        return Arrangement(tuple(order), tuple(_unstated(places, len(stated))))
    reference = min(zip(map(_by_number, places), stated, strict=True), key=lambda pair: pair[0])[1]
    along = [_along(reference.normal, plane.position_mm) for plane in stated]
    order = sorted(range(len(places)), key=lambda i: (along[i], _by_number(places[i])))
    ordered = [stated[i] for i in order]
    gaps = [after - before for before, after in pairwise(along[i] for i in order)]
    problems = (*_mixed(places, reference), *_gaps(gaps), *_tilt(ordered, gaps))
    return Arrangement(tuple(order), problems)


def _by_number(place: Place) -> tuple[float, int, str]:
    number = math.inf if place.instance_number is None else place.instance_number
    return number, place.facts.frame, place.sop_instance_uid


def _along(normal: Sequence[float], position: Sequence[float]) -> float:
    return sum(n * p for n, p in zip(normal, position, strict=True))


def _unstated(places: Sequence[Place], stated: int) -> Iterator[Reason]:
    kinds = sorted({p.facts.geometry_problem for p in places if p.facts.geometry_problem})
    for kind in kinds:
        yield Reason(f"geometry-{kind}", _SENTENCES[kind])
    if stated:
        yield Reason("geometry-partial", "Some images say where they lie and others do not.")
    elif len(places) > 1 and not kinds:
        yield Reason("geometry-missing", "The images do not say where they lie in the patient.")
    yield from _mixed_size(places)


_SENTENCES = {
    "incomplete": "An image states only a part of its position, orientation and spacing.",
    "not-a-number": "An image states a position or orientation that is not a number.",
    "spacing": "An image states a pixel spacing that is not above zero.",
    "orientation": "An image states an orientation that is not two perpendicular directions.",
}


def _mixed(places: Sequence[Place], reference: PlaneGeometry) -> Iterator[Reason]:
    planes = [place.geometry for place in places if place.geometry]
    if any(_turned(plane, reference) for plane in planes):
        yield Reason("mixed-orientation", "The images of the series lie in different directions.")
    if any(_respaced(plane.spacing_mm, reference.spacing_mm) for plane in planes):
        yield Reason("mixed-spacing", "The images of the series have different pixel spacings.")
    if len({place.frame_of_reference for place in places}) > 1:
        sentence = "The images of the series lie in different frames of reference."
        yield Reason("mixed-frame-of-reference", sentence)
    yield from _mixed_size(places)


def _mixed_size(places: Sequence[Place]) -> Iterator[Reason]:
    if len({(place.rows, place.columns) for place in places}) > 1:
        yield Reason("mixed-size", "The images of the series have different sizes.")


def _turned(plane: PlaneGeometry, reference: PlaneGeometry) -> bool:
    ours = (*plane.row_cosines, *plane.column_cosines)
    theirs = (*reference.row_cosines, *reference.column_cosines)
    return any(abs(a - b) > _SAME_DIRECTION for a, b in zip(ours, theirs, strict=True))


def _respaced(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return any(abs(a - b) > _EVEN * b for a, b in zip(one, other, strict=True))


def _gaps(gaps: Sequence[float]) -> Iterator[Reason]:
    if not gaps:
        return
    usual = statistics.median(gaps)
    allowed = max(_EVEN * usual, _EVEN_MM)
    if min(gaps) <= _EVEN_MM:
        yield Reason("duplicate-position", "Two images of the series lie at the same position.")
    wide = [gap for gap in gaps if gap - usual > allowed]
    if wide and all(abs(gap / usual - round(gap / usual)) < 0.05 for gap in wide if usual > 0):
        yield Reason("missing-slice", "The series has a gap where an image should be.")
    elif any(abs(gap - usual) > allowed for gap in gaps):
        yield Reason("uneven-gaps", "The distances between the images of the series differ.")


def _tilt(ordered: Sequence[PlaneGeometry], gaps: Sequence[float]) -> Iterator[Reason]:
    for (before, after), gap in zip(pairwise(ordered), gaps, strict=True):
        moved = math.dist(before.position_mm, after.position_mm)
        sideways = math.sqrt(max(0.0, moved**2 - gap**2))
        if sideways > max(_SHIFT * abs(gap), _SHIFT_MM):
            sentence = "The images are shifted against each other, as with a tilted gantry."
            yield Reason("gantry-tilt", sentence)
            return
