"""dicom-validator over every object, and over objects with a mistake that it must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import pytest
from pydicom import Dataset

from tests.doubles.evidence_cases import made, outlined_on
from tests.peers.dicom_validator import errors_in
from tests.unit.inference.evidence.test_making import CASES, objects_of
from tests.unit.inference.evidence.test_of_every_slice import COUNT, framed, mapped_on, on_frames


class Mistake(NamedTuple):
    """What is done to a good object, and the line that must be among what is found."""

    kind: str
    make: Callable[[Dataset], None]
    found: str


def items(dataset: Dataset, value_type: str = "") -> Iterator[Dataset]:
    """The content items below one, parents first; with `value_type`, those of that type."""
    for item in dataset.get("ContentSequence", ()):
        if value_type in ("", item.ValueType):
            yield item
        yield from items(item, value_type)


def groups(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The functional groups, shared and of each frame, that have a macro."""
    both = [*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]
    return [group for group in both if keyword in group]


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


def stating(keyword: str, value: str) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def without_macro(keyword: str) -> Callable[[Dataset], None]:
    def make(dataset: Dataset) -> None:
        for group in groups(dataset, keyword):
            delattr(group, keyword)

    return make


MISTAKES = {
    "a type 1 attribute is absent": Mistake(
        "segmentation outline", without("SegmentSequence"),
        "Tag (0062,0002) (Segment Sequence) is missing",
    ),
    "a type 1 attribute of an item is absent": Mistake(
        "segmentation outline", lambda made: delattr(made.SegmentSequence[0], "SegmentLabel"),
        "Tag (0062,0005) (Segment Label) is missing",
    ),
    "a type 1 attribute is empty": Mistake(
        "classification picture", stating("Modality", ""), "Tag (0008,0060) (Modality) is empty",
    ),
    "a type 2 attribute is absent": Mistake(
        "classification picture", without("PatientID"),
        "Tag (0010,0020) (Patient ID) is missing",
    ),
    "a value that is not one of those enumerated": Mistake(
        "classification picture", stating("BurnedInAnnotation", "TRUE"),
        "Tag (0028,0301) (Burned In Annotation) - enum value 'TRUE' not allowed,",
    ),
    "a report of a state that there is not": Mistake(
        "classification report", stating("PreliminaryFlag", "DRAFT"),
        "Tag (0040,A496) (Preliminary Flag) - enum value 'DRAFT' not allowed,",
    ),
    "an attribute of another object": Mistake(
        "segmentation outline", stating("EchoTime", "12"),
        "Tag (0018,0081) (Echo Time) is unexpected",
    ),
    "a functional group is absent from all frames and from the shared": Mistake(
        "classification map", without_macro("RealWorldValueMappingSequence"),
        "Tag (0040,9096) (Real World Value Mapping Sequence) is missing",
    ),
    "an item deep in the content tree has no relationship": Mistake(
        "classification report",
        lambda made: delattr([*items(made)][-1], "RelationshipType"),
        "Tag (0040,A010) (Relationship Type) is missing",
    ),
    "a region without its shape": Mistake(
        "classification report",
        lambda made: delattr(next(items(made, "SCOORD")), "GraphicType"),
        "Tag (0070,0023) (Graphic Type) is missing",
    ),
    "a code that holds text": Mistake(
        "classification report",
        lambda made: setattr(next(items(made, "CODE")), "TextValue", "Glioma"),
        "Tag (0040,A160) (Text Value) is not allowed by condition:",
    ),
}  # fmt: skip


@pytest.mark.peer
def test_dicom_validator_finds_no_error_in_any_object(tmp_path: Path) -> None:
    """It judges modules, types, values and what each content item may hold.

    Whether a condition of PS3.3 (types 1C and 2C) is met it cannot judge here, but for the content
    items of a report: no extract of the conditions is installed. dciodvfy judges them.
    """
    objects = {
        f"{name} of {case}": each
        for case, elements in CASES.items()
        for name, each in objects_of(elements)[0].items()
    }
    image, sources = framed()
    for make in (mapped_on, outlined_on):
        of_frames = made(on_frames(make([image] * COUNT)), sources)[0]
        objects |= {f"{kind} of frames {make.__name__}": each for kind, each in of_frames.items()}
    found = errors_in(objects, tmp_path)
    assert found == {name: [] for name in objects}


@pytest.mark.peer
def test_dicom_validator_finds_each_mistake_that_was_planted(tmp_path: Path) -> None:
    good = objects_of({})[0]
    planted = {name: deepcopy(good[mistake.kind]) for name, mistake in MISTAKES.items()}
    for name, mistake in MISTAKES.items():
        mistake.make(planted[name])
    found = errors_in(planted, tmp_path)
    missed = {name: found[name] for name, each in MISTAKES.items() if each.found not in found[name]}
    assert missed == {}
