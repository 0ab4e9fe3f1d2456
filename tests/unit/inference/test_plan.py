from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inference.analysis import ModelUse
from inference.plan import plan_study
from models.contract import Reason, SeriesFacts
from models.manifest import Chain
from models.registry import Registry
from tests.reference.toy import toy_outline, toy_package, toy_registry

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


@pytest.mark.parametrize(
    ("others", "kind", "sentence"),
    [
        ([], "only-series", "Toy reads this series: no other one suits it."),
        (
            [replace(HEAD, series_uid="1.2", modality="CT", instances=99)],
            "only-series",
            "Toy reads this series: no other one suits it.",
        ),
        (
            [replace(HEAD, series_uid=uid, instances=19) for uid in ("1.2", "1.3")],
            "most-images",
            "Toy reads this series: of the 3 that suit it, it has the most images.",
        ),
        (
            [replace(HEAD, series_uid="1.2", series_number=None)],
            "lowest-number",
            "Toy reads this series: of the 2 that suit it, none has more images, and of those with "
            "as many its number is lowest.",
        ),
        (
            [replace(HEAD, series_uid="1.2")],
            "first-of-equals",
            "Toy reads this series: of the 2 that suit it, others have as many images and no lower "
            "number.",
        ),
    ],
)
def test_a_series_that_is_read_says_why_it_was_taken(
    others: list[SeriesFacts], kind: str, sentence: str
) -> None:
    (package,) = toy_registry().packages
    titled = Registry((replace(package, manifest=replace(package.manifest, title="Toy")),))
    for facts in ([HEAD, *others], [*others, HEAD]):
        (taken,) = [use for use in plan_study(facts, titled).series if use.used]
        assert taken.reasons == (Reason(kind, sentence),)


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


def _both(**parts: Any) -> Registry:
    """The toy and the one that follows it, which comes first in the registry."""
    follower = toy_outline()
    changed = replace(follower, manifest=replace(follower.manifest, **parts))
    return Registry((changed, toy_package()))


def test_a_model_that_follows_another_is_given_its_series_and_comes_after_it() -> None:
    facts = [HEAD, replace(HEAD, series_uid="1.2", instances=30)]
    plan = plan_study(facts, _both())
    assert [each.package.manifest.id for each in plan.assignments] == ["toy-glow", "toy-outline"]
    assert {each.series.series_uid for each in plan.assignments} == {"1.2"}
    assert plan.models_not_run == ()
    (taken,) = [use for use in plan.series if use.used]
    assert [reason.kind for reason in taken.reasons] == ["most-images"], "if it runs is not known"


def test_a_model_that_follows_reads_no_series_that_the_other_does_not() -> None:
    """The follower alone may read the larger series; it has nothing to go on from there."""
    rule = replace(toy_outline().manifest.applies_to, modalities=("MR", "CT"))
    facts = [HEAD, replace(HEAD, series_uid="1.2", modality="CT", instances=30)]
    plan = plan_study(facts, _both(applies_to=rule))
    assert {each.series.series_uid for each in plan.assignments} == {"1.1"}
    left_out = next(use for use in plan.series if not use.used)
    assert [reason.kind for reason in left_out.reasons] == ["modality"]


@pytest.mark.parametrize(
    ("registry", "kinds"),
    [
        (Registry((toy_outline(),)), ["chain"]),
        (_both(chain=Chain("toy-outline", ("glow-area",))), ["chain"]),
        (_both(chain=Chain("somebody", ("glow",))), ["chain"]),
        (
            _both(applies_to=replace(toy_outline().manifest.applies_to, modalities=("CT",))),
            ["modality"],
        ),
    ],
)
def test_a_model_with_nothing_to_follow_is_left_out_with_its_reason(
    registry: Registry, kinds: list[str]
) -> None:
    plan = plan_study([HEAD], registry)
    (use,) = plan.models_not_run
    assert (use.model_id, [reason.kind for reason in use.reasons]) == ("toy-outline", kinds)
    assert "toy-outline" not in {each.package.manifest.id for each in plan.assignments}


def test_what_is_refused_is_left_out_and_the_series_say_so() -> None:
    refused = ModelUse("toy-glow", "1.0.0", (Reason("not-served", "It is ill."),))
    plan = plan_study([HEAD], Registry(()), (refused,))
    assert plan.models_not_run == (refused,)
    assert [reason.kind for reason in plan.series[0].reasons] == ["not-served"]
