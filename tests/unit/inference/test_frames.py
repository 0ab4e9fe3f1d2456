from __future__ import annotations

from typing import Any

import pytest

from inference.errors import UnreadableInstance
from inference.frames import FrameFacts, frame_facts
from inference.instance import read_instance
from inference.limits import Limits
from tests.reference import dicom_factory as factory

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def _facts(**elements: Any) -> FrameFacts:
    ds = factory.place(factory.instance())
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return frame_facts(read_instance(factory.encoded(ds), Limits()))[0]


def test_the_plane_is_what_the_header_states() -> None:
    facts = _facts(ImagePositionPatient=[1, 2, 3], PixelSpacing=[0.5, 0.25])
    assert facts.geometry is not None
    assert facts.geometry.position_mm == (1, 2, 3)
    assert facts.geometry.normal == (0, 0, 1)
    assert facts.spacing_mm == (0.5, 0.25)


@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"ImagePositionPatient": None}, "incomplete"),
        ({"PixelSpacing": None}, "incomplete"),
        ({"ImagePositionPatient": [1, 2]}, "not-a-number"),
        ({"PixelSpacing": [-1, 1]}, "spacing"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "orientation"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation"),
    ],
)
def test_a_plane_that_cannot_be_true_is_none_with_its_problem(
    elements: dict[str, Any], problem: str
) -> None:
    facts = _facts(**elements)
    assert (facts.geometry, facts.geometry_problem) == (None, problem)


def test_a_projection_has_a_spacing_without_a_plane() -> None:
    facts = _facts(
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        ImagerPixelSpacing=[0.2, 0.2],
    )
    assert (facts.geometry, facts.geometry_problem) == (None, None)
    assert facts.spacing_mm == (0.2, 0.2)


@pytest.mark.parametrize(
    ("elements", "window"),
    [
        ({"WindowCenter": 40, "WindowWidth": 400}, (40, 400)),
        ({"WindowCenter": [40, 50], "WindowWidth": [400, 80]}, (40, 400)),
        ({"WindowCenter": 40}, None),
        ({"WindowCenter": 40, "WindowWidth": 0}, None),
    ],
)
def test_the_first_window_counts_if_it_has_a_width(
    elements: dict[str, Any], window: tuple[float, float] | None
) -> None:
    assert _facts(**elements).window == window


def test_a_scale_that_is_no_number_is_unreadable() -> None:
    ds = factory.instance(RescaleSlope="1", RescaleIntercept="0")
    data = factory.encoded(ds)
    at = data.find(b"\x28\0\x53\x10DS")
    broken = data[: at + 8] + b"x " + data[at + 10 :]
    with pytest.raises(UnreadableInstance):
        frame_facts(read_instance(broken, Limits()))
