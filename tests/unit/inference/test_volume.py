from __future__ import annotations

import random

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.frames import frame_facts
from inference.instance import read_instance
from inference.limits import Limits
from inference.scoring import place_of
from inference.volume import Arrangement, Place, arrange
from tests.reference import dicom_factory as factory

BROKEN = list(factory.broken_geometries())


def _places(series: list[Dataset]) -> list[Place]:
    places = []
    for ds in series:
        instance = read_instance(factory.encoded(ds), Limits())
        places.extend(place_of(instance, facts) for facts in frame_facts(instance))
    return places


def _shuffled(series: list[Dataset]) -> tuple[list[Place], Arrangement]:
    places = _places(series)
    random.Random(1).shuffle(places)  # noqa: S311 reproducible, not secret
    return places, arrange(places)


def test_slices_are_ordered_by_position_not_by_number() -> None:
    places, arrangement = _shuffled(factory.axial_series(6))
    numbers = [places[index].instance_number for index in arrangement.order]
    assert numbers == [6, 5, 4, 3, 2, 1]
    assert arrangement.problems == ()


@pytest.mark.parametrize("orientation", [factory.AXIAL, factory.CORONAL, factory.SAGITTAL])
def test_the_order_follows_the_normal(orientation: tuple[float, ...]) -> None:
    series = factory.axial_series(5)
    for index, ds in enumerate(series):
        factory.place(ds, [index * 3.0] * 3, orientation)
        ds.ImagePositionPatient = _along_normal(orientation, index * 3.0)
    places, arrangement = _shuffled(series)
    planes = [places[i].geometry for i in arrangement.order]
    distances = [np.dot(p.position_mm, p.normal) for p in planes if p]
    assert distances == sorted(distances)
    assert arrangement.problems == ()


def _along_normal(orientation: tuple[float, ...], distance: float) -> list[float]:
    (a, b, c, d, e, f) = orientation
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return [distance * component for component in normal]


def test_without_geometry_the_number_orders() -> None:
    series = [factory.instance(SOPInstanceUID=factory.uid(n), InstanceNumber=n) for n in (3, 1, 2)]
    places, arrangement = _shuffled(series)
    assert [places[index].instance_number for index in arrangement.order] == [1, 2, 3]


def test_frames_of_an_enhanced_instance_are_ordered_by_position() -> None:
    """PS3.3 C.7.6.16: the factory stores them in descending order."""
    places, arrangement = _shuffled([factory.enhanced_mr([factory.head(16, 16)] * 4)])
    assert [places[index].facts.frame for index in arrangement.order] == [4, 3, 2, 1]
    assert arrangement.problems == ()
    assert places[0].facts.spacing_mm == (0.5, 0.75)


def test_a_single_image_without_geometry_has_no_problem() -> None:
    _, arrangement = _shuffled([factory.instance()])
    assert (arrangement.order, arrangement.problems) == ((0,), ())


@pytest.mark.parametrize(("what", "kind", "series"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_geometry_is_named(what: str, kind: str, series: list[Dataset]) -> None:
    places, arrangement = _shuffled(series)
    assert kind in {problem.kind for problem in arrangement.problems}
    assert sorted(arrangement.order) == list(range(len(places))), "nothing is dropped"


def test_rounding_of_positions_is_no_problem() -> None:
    series = factory.axial_series(40, gap_mm=1.2307)
    for ds in series:
        ds.ImagePositionPatient = [round(float(mm), 2) for mm in ds.ImagePositionPatient]
    assert _shuffled(series)[1].problems == ()


def test_the_order_does_not_depend_on_the_order_of_arrival() -> None:
    for _, _, series in BROKEN:
        places = _places(series)
        forward = [places[i].sop_instance_uid for i in arrange(places).order]
        places.reverse()
        assert [places[i].sop_instance_uid for i in arrange(places).order] == forward
