"""Evidence of a result stored into a real archive, and read back from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO

import highdicom
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from cds_service.clients.dicomweb import Archive
from cds_service.evidence.ledger import Told
from inference.evidence.objects import Kind
from tests.doubles.evidence import known_study
from tests.doubles.evidence_keeping import keeping
from tests.peers.orthanc import Orthanc

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def kept(orthanc: Orthanc) -> Iterator[tuple[Mapping[str, Dataset], list[Told], Archive]]:
    """What Orthanc gives back after the same evidence was kept twice."""
    study = known_study()
    orthanc.stow(study.files.values())
    with keeping(study, orthanc.base_url) as keeper:
        keeper.keep()
        keeper.keep()
        archive = keeper.archive
        back = {
            f"{each.model_id} {each.name.kind}": dcmread(
                BytesIO(next(archive.retrieve(each.study_uid, each.name.series_uid)))
            )
            for each in keeper.seen
        }
        yield back, [told for told in keeper.ledger.told if not told.under_way], archive


def test_all_of_it_is_there_and_a_repeat_stores_nothing_twice(
    kept: tuple[Mapping[str, Dataset], list[Told], Archive],
) -> None:
    back, told, archive = kept
    assert told == [Told(stored=5), Told(stored=5)]
    series = archive.series(known_study().analysis.identity.study_uid)
    assert sorted(each.modality or "" for each in series) == ["MR", "OT", "OT", "SEG", "SR", "SR"]
    assert all(each.instances == 1 for each in series if each.modality != "MR")
    assert all(d.startswith("AI ") for d in (each.description for each in series) if "AI" in d)
    assert len(back) == 5


def test_every_object_is_of_the_same_study_and_patient(
    kept: tuple[Mapping[str, Dataset], list[Told], Archive],
) -> None:
    study = known_study()
    source = dcmread(BytesIO(next(iter(study.files.values()))), stop_before_pixels=True)
    for made in kept[0].values():
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
            assert made.get(keyword, "") == source.get(keyword, ""), keyword
        assert made.SeriesDescription.startswith("AI ")


def test_the_segment_that_comes_back_is_the_lesion_to_the_pixel(
    kept: tuple[Mapping[str, Dataset], list[Told], Archive],
) -> None:
    study = known_study()
    segments = highdicom.seg.segread(_file(kept[0][f"{study.outlined.model_id} outline"]))
    uids = [outline.sop_instance_uid for outline in study.outlined.outlines]
    pixels = segments.get_pixels_by_source_instance(uids, combine_segments=True)
    assert np.array_equal(pixels.astype(bool), study.truth[study.truth.any(axis=(1, 2))])


def test_the_report_that_comes_back_refers_to_the_segment_and_holds_its_area(
    kept: tuple[Mapping[str, Dataset], list[Told], Archive],
) -> None:
    study = known_study()
    back = kept[0]
    report = highdicom.sr.srread(_file(back[f"{study.outlined.model_id} report"]))
    line, group = report.content.get_planar_roi_measurement_groups()
    assert line.tracking_uid == group.tracking_uid
    (area,) = group.get_measurements()
    assert area.value == pytest.approx(study.outlined.measurements[0].value, rel=1e-5)
    segment = back[f"{study.outlined.model_id} outline"].SOPInstanceUID
    assert str(segment) in str(report)


def test_the_key_image_is_rendered_by_the_archive_as_it_was_drawn(
    kept: tuple[Mapping[str, Dataset], list[Told], Archive],
) -> None:
    study = known_study()
    pixels = kept[0][f"{study.found.model_id} {Kind.PICTURE}"].pixel_array
    shown = study.found.explanation
    assert shown is not None
    with Image.open(BytesIO(shown.figure_png)) as figure:
        assert np.array_equal(pixels, np.asarray(figure.convert("RGB")))


def _file(made: Dataset) -> BytesIO:
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    file.seek(0)
    return file
