"""An order holds what a worker needs, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cds_service.orders import UnreadableOrder, as_held, content_of, order_of, ref_of
from cds_service.queue.content import changed, renewed
from cds_service.queue.payload import Sealer
from fhir_mapping.study import SeriesRef, StudyRef
from inference.analysis import SeriesUse
from inference.evidence.objects import content_uid

FULL = StudyRef(
    study_uid="1.2.3",
    archive="pacs",
    patient_reference="Patient/p1",
    patient_identifiers=("MRN-1", "X 2"),
    imaging_study_reference="ImagingStudy/i1",
    based_on_references=("ServiceRequest/s1",),
    encounter_reference="Encounter/e1",
    started=datetime(2026, 3, 3, 10, tzinfo=UTC),
    started_text="2026-03-03T10:00:00Z",
    accession_number="A1",
    modalities=("MR", "SR"),
    instances=24,
)
SMALL = StudyRef(study_uid="1.2.3", archive="pacs", patient_reference="Patient/p1")


@pytest.mark.parametrize(
    "ref", [FULL, SMALL, replace(SMALL, identifiers_left_out=True), replace(FULL, study_uid="")]
)
def test_an_order_is_json_and_comes_back_as_the_same_study(ref: StudyRef) -> None:
    order = json.loads(json.dumps(order_of(ref, "ehr")))
    found = ref_of(order)
    assert (found.tenant, found.ref) == ("ehr", ref)


def test_the_series_are_left_to_the_archive() -> None:
    many = replace(FULL, series=tuple(SeriesRef(f"1.2.{i}") for i in range(500)))
    assert order_of(many, "ehr") == order_of(FULL, "ehr")


def test_the_largest_order_fits_into_its_envelope() -> None:
    wide = replace(
        FULL,
        study_uid="1." + "2" * 62,
        patient_identifiers=tuple(f"{i:064}" for i in range(200)),
        imaging_study_reference="ImagingStudy/" + "i" * 64,
        based_on_references=tuple(f"ServiceRequest/{i:064}" for i in range(50)),
        encounter_reference="Encounter/" + "e" * 64,
        accession_number="A" * 64,
        modalities=tuple(f"M{i:015}" for i in range(30)),
    )
    order = order_of(wide, "t" * 40)
    envelope = {"order": order, "content": "c" * 150, "models": "m" * 64, "priority": "backfill"}
    assert Sealer(b"s" * 32).seal("5d" * 16, envelope)


def test_an_identifier_that_no_image_can_hold_is_left_out() -> None:
    long = replace(SMALL, patient_identifiers=("x" * 65, "MRN-1"))
    order = order_of(long, "ehr")
    assert order["patient_identifiers"] == ["MRN-1"]
    assert "identifiers_left_out" not in order


@pytest.mark.parametrize("stated", [("x" * 65,), tuple(f"{i:064}" for i in range(200))])
def test_a_chart_whose_identifiers_have_no_room_is_not_one_without(stated: tuple[str, ...]) -> None:
    order = order_of(replace(SMALL, patient_identifiers=stated), "ehr")
    assert ref_of(order).ref.identifiers_left_out


@pytest.mark.parametrize(
    "changes",
    [
        {"study_uid": 7},
        {"study_uid": None, "accession_number": None},
        {"study_uid": None, "imaging_study_reference": None},
        {"archive": 7},
        {"tenant": ""},
        {"patient_reference": None},
        {"patient_identifiers": "MRN"},
        {"patient_identifiers": [7]},
        {"started": "yesterday"},
    ],
)
def test_an_order_of_another_form_is_one_error(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableOrder):
        ref_of(order_of(FULL, "ehr") | changes)


MR = SeriesUse("1.2.3.1", 4, "MR", True, 48)
REPORT = SeriesUse(content_uid("any"), 9001, "SR", False, 1)


def named(ref: StudyRef, **held: Any) -> str:
    return content_of(ref, "ehr", Sealer(b"s" * 32).study_key, **held)


def test_a_chart_that_catches_up_with_what_was_analysed_tells_nothing_new() -> None:
    """The chart said 24 when the archive had 48 already: all 48 were read."""
    behind = replace(FULL, instances=24)
    known = renewed(named(behind), named(as_held(behind, [MR, REPORT]), read=[MR, REPORT]))
    listed = (SeriesRef(MR.series_uid, "MR", 48),)
    for instances, series in ((24, ()), (48, ()), (48, listed), (None, listed)):
        assert not changed(known, named(replace(FULL, instances=instances, series=series)))
    assert changed(known, named(replace(FULL, instances=49)))


def test_images_that_others_replaced_are_another_content() -> None:
    before = named(SMALL, read=[MR], images=["1.2.9", "1.2.8"])
    assert not changed(before, named(SMALL, read=[MR], images=["1.2.8", "1.2.9"]))
    assert changed(before, named(SMALL, read=[MR], images=["1.2.8", "1.2.7"]))


def test_as_many_images_as_are_counted_by_every_series_are_held() -> None:
    uncounted = replace(MR, series_uid="1.2.3.2", instances=None)
    assert as_held(SMALL, [MR, REPORT]).instances == 48
    assert as_held(SMALL, [MR, uncounted]).instances is None
