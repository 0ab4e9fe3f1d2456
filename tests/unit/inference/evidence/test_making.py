"""A result on images of every kind: an object that DICOM allows, or a sentence of why not."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, UltrasoundImageStorage

from inference.analysis import Outcome
from inference.errors import IdentityMismatch
from inference.evidence.making import slices_needed
from inference.evidence.objects import Kind, name_of
from inference.evidence.segmentation import MOST_FRAMES
from inference.evidence.source import NO_PLACE
from tests.doubles.evidence_cases import (
    ALL,
    AT,
    DECIDING,
    found_on,
    made,
    outlined_on,
    series,
    sources_of,
)
from tests.peers.dciodvfy import errors_in
from tests.reference.dicom_factory import head

UNPLACED = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
RADIOGRAPH = {
    **UNPLACED, "FrameOfReferenceUID": None, "Modality": "CR", "BodyPartExamined": "CHEST",
    "SOPClassUID": ComputedRadiographyImageStorage,
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "as a scanner sends it": {},
    "one slice": {"count": 1},
    "without geometry": UNPLACED,
    "without a frame of reference": {"FrameOfReferenceUID": None},
    "without a patient id": {"PatientID": None},
    "a Japanese name": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎",
    },
    "a name from right to left": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "כהן^דוד"},
    "an unknown sex and a date of zeros": {"PatientSex": "X", "PatientBirthDate": "00000000"},
    "a radiograph": {"count": 1, **RADIOGRAPH},
    "images that were lossy once": {
        "LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
    "an oblique patient in another zone": {"TimezoneOffsetFromUTC": "-0330"},
}  # fmt: skip


def objects_of(case: dict[str, Any]) -> tuple[dict[str, Dataset], dict[str, str]]:
    """Every object of a finding and of an outline, and every refusal, by kind."""
    images = series(**case)
    deciding = min(DECIDING, len(images))
    objects: dict[str, Dataset] = {}
    refusals: dict[str, str] = {}
    for result in (found_on(images, deciding), outlined_on(images, deciding)):
        there, refused = made(result, sources_of(images, slices_needed(result, ALL)))
        objects |= {f"{result.task} {kind}": each for kind, each in there.items()}
        refusals |= {f"{result.task} {kind}": sentence for kind, sentence in refused.items()}
    return objects, refusals


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_kind_of_image_has_its_objects_or_a_sentence(case: dict[str, Any]) -> None:
    objects, refusals = objects_of(case)
    placed = not {"ImagePositionPatient", "FrameOfReferenceUID"} & case.keys()
    unplaced = {"classification map", "segmentation outline"}
    if case.get("Modality") == "CR":  # a radiograph lies nowhere, and a segment may refer to it
        unplaced = {"classification map"}
    assert refusals == ({} if placed else dict.fromkeys(unplaced, NO_PLACE))
    assert objects.keys() | refusals.keys() == {
        "classification report", "classification map", "classification picture",
        "segmentation report", "segmentation outline",
    }  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_dciodvfy_finds_no_error_in_any_object(case: dict[str, Any], tmp_path: Path) -> None:
    for name, each in objects_of(case)[0].items():
        assert errors_in(each, tmp_path) == [], name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whose_it_is_comes_back_as_it_was(case: dict[str, Any]) -> None:
    source = series(**case)[0]
    for each in objects_of(case)[0].values():
        assert each.PatientName == source.PatientName
        assert each.PatientID == source.get("PatientID", "")
        assert each.StudyInstanceUID == source.StudyInstanceUID
        assert each.get("TimezoneOffsetFromUTC") == source.get("TimezoneOffsetFromUTC")


def test_the_time_of_making_is_in_the_zone_of_the_images() -> None:
    (picture, *_) = (
        each for name, each in objects_of({"TimezoneOffsetFromUTC": "-0330"})[0].items()
        if name.endswith("picture")
    )  # fmt: skip
    assert AT.hour == 9
    assert (picture.ContentDate, picture.ContentTime) == ("20261122", "060000")


def test_what_was_lossy_once_says_so_in_each_object() -> None:
    for name, each in objects_of(CASES["images that were lossy once"])[0].items():
        if not name.endswith("report"):
            assert each.LossyImageCompression == "01", name
            assert each.LossyImageCompressionRatio == 12.5
            assert each.LossyImageCompressionMethod == "ISO_10918_1"


def test_what_does_not_exist_in_dicom_becomes_empty() -> None:
    for each in objects_of(CASES["an unknown sex and a date of zeros"])[0].values():
        assert (each.PatientSex, each.PatientBirthDate) == ("", "")


def test_a_colour_image_has_its_objects() -> None:
    unplaced = {**UNPLACED, "FrameOfReferenceUID": None}
    images = series(1, SOPClassUID=UltrasoundImageStorage, Modality="US", **unplaced)
    grey = head(64, 64)
    images[0].PhotometricInterpretation, images[0].SamplesPerPixel = "RGB", 3
    images[0].PlanarConfiguration = 0
    images[0].BitsAllocated = images[0].BitsStored = 8
    images[0].HighBit = 7
    images[0].PixelData = np.stack([grey.astype(np.uint8)] * 3, axis=-1).tobytes()
    outlined = outlined_on(images, 1)
    objects, refusals = made(outlined, sources_of(images, [1]))
    assert set(objects) == {Kind.OUTLINE, Kind.REPORT}
    assert refusals == {}


def test_of_two_thousand_outlined_slices_the_nearest_are_kept_and_it_is_said() -> None:
    images = series(6)
    outlined = outlined_on(images)
    many = replace(
        outlined,
        deciding_slice=1200,
        outlines=tuple(replace(outlined.outlines[0], slice_number=n) for n in range(1, 2001)),
    )
    needed = slices_needed(many, ALL)
    assert len(needed) <= MOST_FRAMES + 2
    assert {1200, 1200 - MOST_FRAMES // 2 + 1} <= set(needed)
    assert slices_needed(replace(many, task="classification", outlines=()), ALL) == (DECIDING, 1200)


def test_a_large_radiograph_has_its_segment_at_its_own_size() -> None:
    images = series(1, rows=5000, columns=4000, **RADIOGRAPH)
    objects, refusals = made(outlined_on(images, 1), sources_of(images, [1]))
    assert refusals == {}
    assert (objects[Kind.OUTLINE].Rows, objects[Kind.OUTLINE].Columns) == (5000, 4000)


@pytest.mark.parametrize(("stated", "said"), [(["L", "F"], ["L", "F"]), (["L", "L"], None)])
def test_a_radiograph_hands_its_sides_on_if_they_can_be_true(
    stated: list[str], said: list[str] | None
) -> None:
    objects, _ = objects_of({"count": 1, **RADIOGRAPH, "PatientOrientation": stated})
    for name in ("classification picture", "segmentation outline"):
        assert (objects[name].PatientOrientation or None) == said, name


def test_the_map_lies_where_its_image_lies_and_hot_where_it_was_drawn() -> None:
    images = series(6, rows=48, columns=96)
    objects, _ = made(found_on(images), sources_of(images, [DECIDING]))
    heat = objects[Kind.MAP]
    shared = heat.SharedFunctionalGroupsSequence[0]
    frame = heat.PerFrameFunctionalGroupsSequence[0]
    source = images[DECIDING - 1]
    assert heat.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.PixelSpacing
    place = {**_flat(shared), **_flat(frame)}
    assert place["ImagePositionPatient"] == source.ImagePositionPatient
    assert place["ImageOrientationPatient"] == source.ImageOrientationPatient
    values = np.frombuffer(heat.FloatPixelData, "<f4").reshape(48, 96)
    # 96 columns fill the frame of 224: cell (1, 1) of 7 is 1.5 cells from its corner; the rows are
    # half as many, and so begin a quarter of the frame, 1.75 cells, further down
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert column == pytest.approx(1.5 / 7 * 96, abs=2)
    assert row <= 1


def test_the_map_is_of_few_steps_and_so_compresses_to_little() -> None:
    images = series(6, rows=256, columns=256)
    objects, _ = made(found_on(images), sources_of(images, [DECIDING]))
    data = objects[Kind.MAP].FloatPixelData
    values = np.frombuffer(data, "<f4")
    assert np.array_equal(values * 1024, np.rint(values * 1024))
    assert (values.min(), values.max()) == (0, pytest.approx(1, abs=0.05))
    assert len(zlib.compress(data)) < len(data) / 12


@pytest.mark.parametrize(("held", "words"), [(True, ""), (False, " (not stated)")])
def test_a_map_says_whether_its_label_was_stated(held: bool, words: str) -> None:
    images = series(6)
    found = found_on(images)
    if not held:
        found = replace(found, finding=None, outcome=Outcome.INDETERMINATE)
    objects, _ = made(found, sources_of(images, [DECIDING]))
    heat = objects[Kind.MAP]
    assert heat.ContentDescription == f"AI, not reviewed{words}"
    mapping = heat.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.LUTExplanation.endswith(words)


def test_the_segment_is_the_mask_to_the_pixel_and_refers_to_its_image() -> None:
    images = series(6)
    outlined = outlined_on(images)
    objects, _ = made(outlined, sources_of(images, range(1, 7)))
    file = io.BytesIO()
    objects[Kind.OUTLINE].save_as(file, enforce_file_format=True)
    segments = highdicom.seg.segread(io.BytesIO(file.getvalue()))
    pixels = segments.get_pixels_by_source_instance(
        [str(each.SOPInstanceUID) for each in images], combine_segments=True
    )
    assert np.array_equal(pixels.astype(bool), np.stack([o.mask for o in outlined.outlines]))
    (series_item,) = objects[Kind.OUTLINE].ReferencedSeriesSequence
    assert series_item.SeriesInstanceUID == images[0].SeriesInstanceUID


def test_a_mask_of_another_size_than_the_image_is_refused() -> None:
    images = series(6)
    small = series(6, rows=32, columns=32)
    _, refusals = made(outlined_on(images), sources_of(small, range(1, 7)))
    assert refusals[Kind.OUTLINE] == "The archive's image is not of the size that was outlined."


def test_an_image_that_is_gone_is_said_to_be_missing() -> None:
    images = series(6)
    objects, refusals = made(found_on(images), {})
    assert objects == {}
    assert "not in the archive" in refusals[Kind.PICTURE]
    assert "in the archive" in refusals[Kind.REPORT]


def test_an_image_of_another_patient_is_never_used() -> None:
    images = series(6)
    images[2].PatientID = "SOMEBODY-ELSE"
    with pytest.raises(IdentityMismatch):
        sources_of(images, [1, DECIDING])


def test_the_same_content_has_the_same_uids_and_bytes_and_another_model_others() -> None:
    images = series(6)
    result = found_on(images)
    again = made(result, sources_of(images, [DECIDING]))[0]
    first = made(result, sources_of(images, [DECIDING]))[0]
    assert {k: v.to_json() for k, v in first.items()} == {k: v.to_json() for k, v in again.items()}
    other = replace(result, model_sha256="0" * 64)
    study = str(images[0].StudyInstanceUID)
    names = {name_of(kind, study, r).sop_instance_uid for kind in Kind for r in (result, other)}
    assert len(names) == 2 * len(Kind)
    assert all(len(name) <= 64 for name in names)


def test_the_report_is_preliminary_and_says_only_what_was_stated() -> None:
    images = series(6)
    report = made(found_on(images), sources_of(images, [DECIDING]))[0][Kind.REPORT]
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    read = highdicom.sr.srread(_file(report)).content.get_planar_roi_measurement_groups()
    said = {
        group.finding_type.meaning: [
            each.value.meaning for each in group.get_qualitative_evaluations()
            if each.name.value == "121052"
        ]
        for group in read
    }  # fmt: skip
    assert said == {"Glioma": ["Present"], "Meningioma": [], "Pituitary tumour": []}
    (chance,) = read[0].get_measurements()
    assert (chance.name.value, chance.value, chance.unit.value) == ("122157", 0.938, "1")


def test_the_report_holds_no_certainty() -> None:
    images = series(6)
    found = found_on(images)
    certain = replace(found.probabilities[0], probability=0.99996)
    result = replace(found, finding=certain, probabilities=(certain, *found.probabilities[1:]))
    report = made(result, sources_of(images, [DECIDING]))[0][Kind.REPORT]
    first = highdicom.sr.srread(_file(report)).content.get_planar_roi_measurement_groups()[0]
    assert first.get_measurements()[0].value == 0.99


def test_the_key_image_says_that_text_is_burned_in() -> None:
    images = series(6)
    picture = made(found_on(images), sources_of(images, [DECIDING]))[0][Kind.PICTURE]
    assert picture.BurnedInAnnotation == "YES"
    assert picture.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert picture.SeriesDescription.startswith("AI key image")


def _flat(group: Dataset) -> dict[str, Any]:
    found = {}
    for name in ("PlanePositionSequence", "PlaneOrientationSequence"):
        for item in group.get(name, []):
            found |= {element.keyword: element.value for element in item}
    return found


def _file(made: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return io.BytesIO(file.getvalue())
