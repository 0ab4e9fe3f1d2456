from __future__ import annotations

from dataclasses import replace

import pytest

from inference.plan import plan_study
from models.contract import SeriesFacts
from models.registry import Registry
from tests.reference.toy import toy_registry

HEAD = SeriesFacts("1.1", modality="MR", series_number=3, body_part="HEAD", instances=20)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([], "1.1"),
        ([replace(HEAD, series_uid="1.2", instances=21)], "1.2"),
        ([replace(HEAD, series_uid="1.2", series_number=2)], "1.2"),
        ([replace(HEAD, series_uid="1.0")], "1.0"),
        ([replace(HEAD, series_uid="1.0", series_number=None)], "1.1"),
        ([replace(HEAD, series_uid="1.0", instances=None)], "1.1"),
        ([replace(HEAD, series_uid="1.0", modality="CT", instances=99)], "1.1"),
    ],
)
def test_one_series_is_chosen_by_count_number_and_uid(
    others: list[SeriesFacts], chosen: str
) -> None:
    for facts in ([HEAD, *others], [*others, HEAD]):
        plan = plan_study(facts, toy_registry())
        assert [series.series_uid for series in plan.series_to_read] == [chosen]
        assert {use.series_uid for use in plan.series if use.used} == {chosen}
        assert all(use.reasons for use in plan.series if not use.used)


def test_the_other_series_that_would_do_says_why_it_was_not_taken() -> None:
    plan = plan_study([HEAD, replace(HEAD, series_uid="1.2")], toy_registry())
    assert [use.reasons[0].kind for use in plan.series if not use.used] == ["other-series"]


def test_a_model_that_suits_no_series_gives_every_reason_once() -> None:
    ct = replace(HEAD, modality="CT")
    knee = replace(HEAD, series_uid="1.2", body_part="KNEE")
    plan = plan_study([ct, replace(ct, series_uid="1.3"), knee], toy_registry())
    assert plan.assignments == ()
    (use,) = plan.models_not_run
    assert [reason.kind for reason in use.reasons] == ["modality", "body-part"]


def test_a_study_without_series_runs_nothing_and_says_so() -> None:
    (use,) = plan_study([], toy_registry()).models_not_run
    assert [reason.kind for reason in use.reasons] == ["no-series"]


def test_without_a_model_each_series_says_so() -> None:
    (use,) = plan_study([HEAD], Registry(())).series
    assert [reason.kind for reason in use.reasons] == ["no-model"]
