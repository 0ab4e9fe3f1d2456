"""Any number of studies from one drawing, each whole and of its own UIDs."""

from __future__ import annotations

import io

import pydicom
import pytest

from benchmarks.series import KINDS, Kind, Study, instances, study_of


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_study_is_as_its_kind_says_and_has_its_own_uids(kind: Kind) -> None:
    study = Study(kind, 12345)
    read = [pydicom.dcmread(io.BytesIO(head + pixels)) for head, pixels in instances(study)]
    assert len(read) == kind.slices
    assert len({each.SOPInstanceUID for each in read}) == kind.slices
    assert {each.StudyInstanceUID for each in read} == {study.study_uid}
    assert {each.SeriesInstanceUID for each in read} == {study.series_uid}
    assert read[0].pixel_array.shape == (kind.protocol.size, kind.protocol.size)
    assert read[0].pixel_array.dtype == "uint16"
    assert study_of(study.study_uid) == study
