"""Which studies are run in both precisions, and what follows from their answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.analysis import Analysis, Outcome, StudyIdentity
from inference.shadow import Disagreement, Window, compare, shadowed
from tests.unit.fhir_mapping.cases import MEASURED, OUTLINE, RESULT

IDS = [f"1.2.840.{number}" for number in range(5000)]


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_about_the_share_asked_for_is_drawn(share: float) -> None:
    drawn = sum(shadowed(study, share) for study in IDS)
    # five standard deviations of a binomial
    assert abs(drawn - share * len(IDS)) < 5 * (len(IDS) * share * (1 - share)) ** 0.5


def test_none_and_all_may_be_asked_for() -> None:
    assert not any(shadowed(study, 0.0) for study in IDS)
    assert all(shadowed(study, 1.0) for study in IDS)


def test_a_study_is_drawn_alike_every_time_and_stays_when_the_share_grows() -> None:
    small = {study for study in IDS if shadowed(study, 0.02)}
    assert small == {study for study in IDS if shadowed(study, 0.02)}
    assert small < {study for study in IDS if shadowed(study, 0.1)}


ANALYSIS = Analysis(StudyIdentity("1.2"), "0" * 64, Outcome.FINDING, (), (), (), {})
FP32 = replace(ANALYSIS, results=(replace(RESULT, precision="fp32"),))
INT8 = replace(ANALYSIS, results=(replace(RESULT, precision="int8"),))


def test_equal_answers_agree_and_are_counted_under_their_label() -> None:
    (one,) = compare(FP32, INT8)
    assert RESULT.finding is not None
    assert one == Disagreement(RESULT.model_id, RESULT.model_version, RESULT.finding.key, False)


@pytest.mark.parametrize("outcome", [Outcome.INDETERMINATE, Outcome.NO_FINDING])
def test_another_outcome_is_a_disagreement(outcome: Outcome) -> None:
    other = replace(INT8, results=(replace(INT8.results[0], outcome=outcome, finding=None),))
    assert [one.differs for one in compare(FP32, other)] == [True]


def test_another_finding_is_a_disagreement() -> None:
    assert RESULT.finding is not None
    finding = replace(RESULT.finding, key="something-else")
    other = replace(INT8, results=(replace(INT8.results[0], finding=finding),))
    assert [one.differs for one in compare(FP32, other)] == [True]


def test_an_indeterminate_answer_is_counted_as_such() -> None:
    unsure = replace(RESULT, outcome=Outcome.INDETERMINATE, finding=None)
    first = replace(ANALYSIS, results=(replace(unsure, precision="fp32"),))
    second = replace(ANALYSIS, results=(replace(unsure, precision="int8"),))
    assert [(one.label, one.differs) for one in compare(first, second)] == [
        ("indeterminate", False)
    ]


@pytest.mark.parametrize(("columns", "differs"), [(20, False), (19, False), (10, True), (0, True)])
def test_outlines_agree_where_they_overlap(columns: int, differs: bool) -> None:
    whole, part = np.ones((20, 20), np.bool_), np.zeros((20, 20), np.bool_)
    part[:, :columns] = True
    first, second = (
        replace(MEASURED, precision=name, outlines=(replace(OUTLINE, mask=mask),))
        for name, mask in (("fp32", whole), ("int8", part))
    )
    (one,) = compare(replace(ANALYSIS, results=(first,)), replace(ANALYSIS, results=(second,)))
    assert (one.label, one.differs) == ("measured", differs)


def test_two_empty_outlines_agree() -> None:
    first, second = (replace(MEASURED, precision=name, outlines=()) for name in ("fp32", "int8"))
    (one,) = compare(replace(ANALYSIS, results=(first,)), replace(ANALYSIS, results=(second,)))
    assert not one.differs


def test_what_ran_once_or_twice_in_one_precision_is_not_compared() -> None:
    assert compare(FP32, FP32) == ()
    assert compare(FP32, replace(ANALYSIS, results=())) == ()


@pytest.mark.parametrize(
    ("differs", "fall_back"),
    [
        ([], False),
        ([True] * 19, False),
        ([True] * 2 + [False] * 18, True),
        ([True] + [False] * 19, False),
        ([True] * 10 + [False] * 190, False),
        ([True] * 11 + [False] * 189, True),
        ([True] * 11 + [False] * 200, False),
        ([False] * 1000 + [True] * 11, True),
    ],
)
def test_more_than_a_twentieth_of_the_latest_runs_makes_a_model_fall_back(
    differs: list[bool], fall_back: bool
) -> None:
    standing = Window().judge(differs)
    assert standing.fall_back is fall_back
    assert standing.compared == min(len(differs), 200)


def test_the_share_is_that_of_the_latest_runs() -> None:
    assert Window().judge([]).share == 0.0
    assert Window(size=4).judge([True] * 5 + [False, True, False, False]).share == 0.25
