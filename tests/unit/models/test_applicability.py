"""Which series a model may read; each refusal says why to a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.applicability import reasons_against
from models.contract import SeriesFacts
from models.manifest import parse_manifest
from tests.unit.models.facts import HEAD_MR, MANIFEST

RULE = parse_manifest(MANIFEST).applies_to


def kinds(series: SeriesFacts) -> list[str]:
    return [reason.kind for reason in reasons_against(RULE, series)]


def test_a_head_mr_series_is_accepted() -> None:
    assert kinds(HEAD_MR) == []


@pytest.mark.parametrize("body_part", [None, "", "  ", "brain", " Head "])
def test_a_series_without_body_part_or_with_another_spelling_is_accepted(
    body_part: str | None,
) -> None:
    assert kinds(replace(HEAD_MR, body_part=body_part)) == []


def test_what_the_archive_has_not_said_yet_is_not_held_against_a_series() -> None:
    assert kinds(SeriesFacts("1.2.3", modality="MR")) == []


def test_the_modality_must_be_stated() -> None:
    assert kinds(replace(HEAD_MR, modality=None)) == ["modality-unknown"]


def test_another_modality_is_refused() -> None:
    assert kinds(replace(HEAD_MR, modality="CT")) == ["modality"]


def test_another_body_part_is_refused() -> None:
    assert kinds(replace(HEAD_MR, body_part="KNEE")) == ["body-part"]


@pytest.mark.parametrize("text", ["SHOULDER", "WRIST^RIGHT", "MR Knee Lt", "L-SPINE", "Whole Body"])
@pytest.mark.parametrize("keyword", ["study_description", "protocol", "description"])
def test_a_series_without_body_part_is_of_the_region_that_study_or_protocol_name(
    keyword: str, text: str
) -> None:
    assert kinds(SeriesFacts("1.2.3", modality="MR", **{keyword: text})) == ["body-part"]


@pytest.mark.parametrize(
    "study_description",
    ["", "MR HEAD", "MRI Brain and Cervical Spine", "Follow-up, arm B", "handover"],
)
def test_a_study_that_names_the_models_region_or_none_is_held_against_no_series(
    study_description: str,
) -> None:
    series = SeriesFacts("1.2.3", modality="MR", study_description=study_description)
    assert kinds(series) == []


def test_a_stated_body_part_goes_before_what_the_study_is_called() -> None:
    assert kinds(replace(HEAD_MR, body_part="HEAD", study_description="SHOULDER")) == []


@pytest.mark.parametrize("description", ["SCOUT", "3pl_scout", "ax/ADC", "B0 Field Map", "Scout-2"])
def test_a_series_described_by_an_excluded_word_is_refused(description: str) -> None:
    assert kinds(replace(HEAD_MR, description=description)) == ["excluded-series"]


@pytest.mark.parametrize("description", ["scouting", "BADCASE", "field of view", "map field"])
def test_a_part_of_another_word_is_not_an_excluded_word(description: str) -> None:
    assert kinds(replace(HEAD_MR, description=description)) == []


def test_the_protocol_stands_in_for_a_description_that_is_missing() -> None:
    assert kinds(replace(HEAD_MR, description="", protocol="3pl scout")) == ["excluded-series"]
    assert kinds(replace(HEAD_MR, description="t1 axial", protocol="scout, t1, t2")) == []


def test_the_image_type_is_searched_too() -> None:
    assert kinds(replace(HEAD_MR, image_type=("DERIVED", "PRIMARY", "ADC"))) == ["excluded-series"]


def test_small_and_coloured_images_are_refused() -> None:
    small = replace(HEAD_MR, rows=32, columns=512, samples_per_pixel=3)
    assert kinds(small) == ["too-small", "colour"]
    assert kinds(replace(HEAD_MR, columns=63)) == ["too-small"]


def test_a_series_may_be_refused_for_several_reasons_at_once() -> None:
    assert kinds(replace(HEAD_MR, modality="CT", body_part="KNEE")) == ["modality", "body-part"]


def test_a_reason_never_repeats_the_series_own_text() -> None:
    """Free text of a header may identify a person (PS3.15 E.1: descriptions are to be cleaned)."""
    series = replace(
        HEAD_MR, modality="JANEDOE", body_part="JANEDOE KNEE", description="scout of JaneDoe"
    )
    for reason in reasons_against(RULE, series):
        assert "janedoe" not in reason.sentence.lower()
        assert reason.sentence.endswith(".")


@pytest.mark.parametrize("last", ["7", "7.1", "7.4"])
def test_pictures_of_images_are_not_read_whatever_their_modality(last: str) -> None:
    captured = replace(HEAD_MR, sop_class_uid=f"1.2.840.10008.5.1.4.1.1.{last}")
    assert kinds(captured) == ["secondary-capture"]
    assert kinds(replace(HEAD_MR, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")) == []
    assert kinds(replace(HEAD_MR, sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.1")) == []


def test_images_with_text_burned_in_are_left_to_people() -> None:
    assert kinds(SeriesFacts("1.2.3", modality="MR", burned_in=True)) == ["burned-in"]


CHEST = replace(RULE, modalities=("DX", "CR"), body_parts=("CHEST",), views=("PA", "AP"))
FRONTAL = SeriesFacts("1.2", modality="DX", body_part="CHEST")


@pytest.mark.parametrize(
    ("view", "said"),
    [(None, []), ("", []), ("PA", []), (" ap ", []), ("LL", ["view"]), ("LATERAL", ["view"])],
)
def test_a_radiograph_of_another_view_is_refused(view: str | None, said: list[str]) -> None:
    reasons = reasons_against(CHEST, replace(FRONTAL, view_position=view))
    assert [reason.kind for reason in reasons] == said


def test_a_model_without_views_reads_any() -> None:
    assert kinds(replace(HEAD_MR, view_position="LL")) == []


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (None, []),
        (0.5, ["age"]),
        (1.0, []),
        (17.9, []),
        (18.0, []),
        (18.1, ["age"]),
        (80.0, ["age"]),
    ],
)
def test_a_patient_of_another_age_is_left_to_people(age: float | None, said: list[str]) -> None:
    rule = replace(CHEST, min_age_years=1.0, max_age_years=18.0)
    reasons = reasons_against(rule, replace(FRONTAL, age_years=age))
    assert [reason.kind for reason in reasons] == said
    assert all(str(age) not in reason.sentence for reason in reasons)
