"""Maps of whole series, images of several frames, and the lines that reports draw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import Dataset

from inference.analysis import ModelResult, Outcome, StudyIdentity
from inference.evidence import parametric_map
from inference.evidence.making import slices_needed
from inference.evidence.objects import Kind
from inference.evidence.source import SourceImage, source_image
from models.contract import FloatArray
from tests.doubles.evidence_cases import (
    ALL,
    DECIDING,
    found_on,
    made,
    outlined_on,
    series,
    sources_of,
)
from tests.peers.dciodvfy import errors_in
from tests.reference.dicom_factory import encoded, enhanced_mr, head

COUNT = 6


def cells(number: int) -> FloatArray:
    """A map of 7 x 7 cells that says of which slice it is."""
    return np.full((7, 7), number / 10, np.float32)


def mapped_on(images: Sequence[Dataset]) -> ModelResult:
    """A finding with a map of every slice."""
    found = found_on(images)
    assert found.explanation is not None
    others = {n: cells(n) for n in range(1, len(images) + 1) if n != DECIDING}
    return replace(found, explanation=replace(found.explanation, others=others))


def values_of(heat: Dataset) -> FloatArray:
    """(frames, rows, columns)."""
    return np.frombuffer(heat.FloatPixelData, "<f4").reshape(-1, heat.Rows, heat.Columns)


def references(made: Dataset) -> list[tuple[str, int]]:
    """The image and frame to which each frame refers, in order."""
    items = [
        group.DerivationImageSequence[0].SourceImageSequence
        for group in made.PerFrameFunctionalGroupsSequence
    ]
    assert all(len(each) == 1 for each in items)
    return [
        (str(i.ReferencedSOPInstanceUID), int(i.get("ReferencedFrameNumber", 1))) for (i,) in items
    ]


@pytest.mark.parametrize("step_mm", [5.0, -5.0])
def test_the_map_has_a_frame_for_each_slice_in_the_order_of_the_volume(step_mm: float) -> None:
    """Along the normal, in whichever direction the images were made."""
    images = series(COUNT)
    for number, image in enumerate(images):
        image.ImagePositionPatient = [-100, -100, number * step_mm]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))  # slices are in this order
    heat = made(mapped_on(images), sources_of(images, range(1, COUNT + 1)))[0][Kind.MAP]
    assert references(heat) == [(str(image.SOPInstanceUID), 1) for image in images]
    groups = heat.PerFrameFunctionalGroupsSequence
    along = [float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in groups]
    assert along == sorted(along)
    assert [g.FrameContentSequence[0].DimensionIndexValues for g in groups] == [
        *range(1, COUNT + 1)
    ]
    said = [round(float(frame[40, 40]), 3) for frame in values_of(heat)]
    assert [n for n in said if n] == [0.1, 0.2, 0.4, 0.5, 0.6]


def test_a_slice_that_is_gone_or_lies_elsewhere_has_no_frame() -> None:
    images = series(COUNT)
    images[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    images[1].FrameOfReferenceUID = "1.2.3"
    sources = sources_of(images, range(1, COUNT))
    objects, refusals = made(mapped_on(images), sources)
    assert Kind.MAP not in refusals
    assert [uid for uid, _ in references(objects[Kind.MAP])] == [
        str(image.SOPInstanceUID) for image in images[2:5]
    ]


@pytest.mark.parametrize("limit", ["MOST_PIXELS", "MOST_FRAMES"])
def test_of_too_much_the_deciding_slice_is_left(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = series(COUNT)
    monkeypatch.setattr(
        parametric_map, limit, {"MOST_PIXELS": 64 * 64 * 2, "MOST_FRAMES": 2}[limit]
    )
    heat = made(mapped_on(images), sources_of(images, range(1, COUNT + 1)))[0][Kind.MAP]
    assert references(heat) == [(str(images[DECIDING - 1].SOPInstanceUID), 1)]


def test_the_headers_of_all_mapped_slices_are_asked_for_only_for_a_map() -> None:
    result = mapped_on(series(COUNT))
    assert slices_needed(result, ALL) == tuple(range(1, COUNT + 1))
    assert slices_needed(result, ALL - {Kind.MAP}) == (DECIDING,)


# -- an image of several frames --------------------------------------------------------------------


def framed() -> tuple[Dataset, Mapping[int, SourceImage]]:
    """An enhanced image whose first frame is the last slice, and its sources by slice number."""
    image = enhanced_mr([head(64, 64, seed=n) for n in range(COUNT)])
    whose = StudyIdentity(str(image.StudyInstanceUID), str(image.get("PatientID", "")))
    data = encoded(image)
    return image, {n: source_image(data, COUNT + 1 - n, whose) for n in range(1, COUNT + 1)}


def on_frames(result: ModelResult) -> ModelResult:
    """The same on frames of one image."""

    def moved(items: Sequence[object], number: str) -> tuple[object, ...]:
        return tuple(replace(i, frame=COUNT + 1 - getattr(i, number)) for i in items)  # type: ignore[type-var]  # dataclasses of two kinds

    shown = result.explanation
    return replace(
        result,
        slices=moved(result.slices, "number"),
        outlines=moved(result.outlines, "slice_number"),
        explanation=shown and replace(shown, frame=COUNT + 1 - shown.slice_number),
    )


def test_a_segment_on_some_frames_of_an_image_refers_to_those_frames() -> None:
    image, sources = framed()
    outlined = on_frames(outlined_on([image] * COUNT))
    some = replace(outlined, outlines=outlined.outlines[1:4])
    objects, refusals = made(some, sources)
    assert refusals == {}
    frames = [outline.frame for outline in some.outlines]
    assert {frame for _, frame in references(objects[Kind.OUTLINE])} == set(frames)
    segments = highdicom.seg.segread(as_file(objects[Kind.OUTLINE]))
    pixels = segments.get_pixels_by_source_frame(
        str(image.SOPInstanceUID), frames, combine_segments=True
    )
    assert np.array_equal(pixels.astype(bool), np.stack([o.mask for o in some.outlines]))


def test_a_map_on_the_frames_of_an_image_lies_on_each() -> None:
    image, sources = framed()
    objects, refusals = made(on_frames(mapped_on([image] * COUNT)), sources)
    assert refusals == {}
    uid = str(image.SOPInstanceUID)
    assert references(objects[Kind.MAP]) == [(uid, frame) for frame in range(COUNT, 0, -1)]
    said = [round(float(frame[40, 40]), 3) for frame in values_of(objects[Kind.MAP])]
    assert [n for n in said if n] == [0.1, 0.2, 0.4, 0.5, 0.6]


@pytest.mark.peer
@pytest.mark.parametrize("make", [mapped_on, outlined_on])
def test_dciodvfy_finds_no_error_in_objects_of_frames(make: object, tmp_path: Path) -> None:
    image, sources = framed()
    result = on_frames(make([image] * COUNT))  # type: ignore[operator]  # either of two
    for kind, each in made(result, sources)[0].items():
        assert errors_in(each, tmp_path) == [], kind


def test_frames_that_lie_in_several_directions_are_refused_in_a_sentence() -> None:
    image, _ = framed()
    image.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence = [Dataset()]
    turned = image.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    turned.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    whose = StudyIdentity(str(image.StudyInstanceUID), str(image.get("PatientID", "")))
    sources = {n: source_image(encoded(image), COUNT + 1 - n, whose) for n in range(1, COUNT + 1)}
    _, refusals = made(on_frames(outlined_on([image] * COUNT)), sources)
    assert refusals[Kind.OUTLINE] == "The frames of the image do not all lie in one direction."


# -- the lines of a report -------------------------------------------------------------------------


def regions_of(result: ModelResult, images: Sequence[Dataset]) -> list[Dataset]:
    """The groups of a result's report."""
    report = made(result, sources_of(images, slices_needed(result, ALL)))[0][Kind.REPORT]
    read = highdicom.sr.srread(as_file(report))
    return read.content.get_planar_roi_measurement_groups()  # type: ignore[no-any-return]


def line_of(group: Dataset) -> FloatArray:
    """The corners of what a group draws."""
    return np.asarray(group.roi.value)


def test_every_group_of_a_report_has_a_shape_or_the_segment() -> None:
    images = series(COUNT)
    for result in (found_on(images), outlined_on(images)):
        kinds = {str(group.reference_type.meaning) for group in regions_of(result, images)}
        assert kinds <= {"Image Region", "Referenced Segmentation Frame"}


def test_what_was_outlined_is_drawn_along_the_edges_of_its_pixels() -> None:
    images = series(COUNT)
    line, segment = regions_of(outlined_on(images), images)
    assert line_of(line).min(axis=0).tolist() == [16, 8]
    assert line_of(line).max(axis=0).tolist() == [32, 16]
    assert line_of(line)[0].tolist() == line_of(line)[-1].tolist()
    assert line.tracking_uid == segment.tracking_uid
    assert len(segment.get_measurements()) == 1


def test_the_label_of_the_map_is_drawn_where_it_is_hot_and_the_others_on_the_whole_image() -> None:
    images = series(COUNT)
    glioma, *others = regions_of(found_on(images), images)
    corner = line_of(glioma)  # the cell (1, 1) of 7 on 64 pixels
    assert corner.max() < 28
    for each in others:
        assert line_of(each).max(axis=0).tolist() == [64, 64]


def test_a_finding_that_is_absent_has_the_whole_image() -> None:
    images = series(COUNT)
    found = replace(found_on(images), explanation=None, finding=None, outcome=Outcome.NO_FINDING)
    assert all(line_of(each).tolist()[0] == [0, 0] for each in regions_of(found, images))


def as_file(made: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return io.BytesIO(file.getvalue())
