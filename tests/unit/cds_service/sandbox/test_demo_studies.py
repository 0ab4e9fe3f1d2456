"""Demo studies: whole, valid enough to be read by strangers, and the same on every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from cds_service.sandbox import demo_studies as module
from cds_service.sandbox.demo_studies import HEADS, OUTCOMES, demo_studies, uid
from cds_service.sandbox.phantom import Protocol, Series
from inference.analysis import Outcome


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Tiny series instead of drawn ones; says which were asked for."""
    asked: list[object] = []

    def series(lesion: object) -> Series:
        asked.append(lesion)
        return Series(Protocol(size=8), np.zeros((4, 8, 8), np.int16))

    monkeypatch.setattr(module, "axial_series", series)
    return asked


@pytest.mark.usefixtures("quick")
def test_every_study_is_written_with_its_truth(tmp_path: Path) -> None:
    studies = demo_studies(tmp_path)
    assert {study.key for study in studies} >= {"head-ring", "head-plain", "ct-small"}
    for study in studies:
        assert study.files
        assert study.truth
        assert study.expected <= OUTCOMES
        header = dcmread(study.files[0], stop_before_pixels=True)
        assert header.StudyInstanceUID == study.study_uid
        assert header.PatientID == study.patient_id


def test_the_outcomes_are_the_words_of_the_analysis() -> None:
    assert {str(outcome) for outcome in Outcome} == OUTCOMES


def test_a_second_run_draws_nothing_and_says_the_same(tmp_path: Path, quick: list[object]) -> None:
    first = demo_studies(tmp_path)
    asked = len(quick)
    assert demo_studies(tmp_path) == first
    assert len(quick) == asked


def test_a_study_that_could_not_be_written_leaves_nothing(
    tmp_path: Path, quick: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(module, "head_instances", fails)
        with pytest.raises(OSError, match="disk is full"):
            demo_studies(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert demo_studies(tmp_path)
    assert quick


@pytest.mark.usefixtures("quick")
def test_a_head_has_the_geometry_of_an_axial_series(tmp_path: Path) -> None:
    study = demo_studies(tmp_path)[0]
    slices = [dcmread(path) for path in study.files]
    heights = [float(one.ImagePositionPatient[2]) for one in slices]
    assert np.allclose(np.diff(heights), float(slices[0].SpacingBetweenSlices))
    assert {tuple(one.ImageOrientationPatient) for one in slices} == {(1, 0, 0, 0, 1, 0)}
    assert len({one.SOPInstanceUID for one in slices}) == len(slices)
    assert len({one.SeriesInstanceUID for one in slices}) == 1
    assert all(one.pixel_array.shape == (one.Rows, one.Columns) for one in slices)


def test_names_say_that_nobody_is_meant() -> None:
    assert all("Synthetic" in head.name and "Demo" in head.name for head in HEADS)


def test_uids_are_derived_from_a_uuid_and_stay_the_same() -> None:
    assert uid("a", "b") == uid("a", "b") != uid("a", "c")
    assert uid("a").startswith("2.25.")
    assert uid("a").is_valid
