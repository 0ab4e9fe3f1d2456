"""The gate table: what each gate is shown, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.aggregation import claim_of
from inference.analysis import Outcome, SliceOutline
from inference.gates.applicability import judge_applicability, reasons_against
from inference.gates.geometry import judge_geometry
from inference.gates.out_of_distribution import judge_distribution
from inference.gates.outline import judge_outline
from inference.gates.quality import SliceQuality, judge_quality, measure_quality
from inference.gates.second_witness import judge_witness, missing_witness
from inference.gates.uncertainty import judge_uncertainty
from models.contract import PixelArray, Prediction, Reason, SeriesFacts
from tests.doubles import explained
from tests.reference import dicom_factory as factory
from tests.reference.toy import toy_package, toy_registry

MANIFEST = toy_package().manifest
RNG = np.random.default_rng(0)
HEAD = factory.head(64, 64)


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (HEAD, None),
        (factory.head(512, 512, blob=0.4), None),
        (HEAD.astype(np.float32), None),
        (np.zeros((64, 64), np.uint16), "empty"),
        (np.pad(np.ones((2, 2), np.uint16), 40), "empty"),
        (np.where(HEAD > 100, 4095, 0).astype(np.uint16), "saturated"),
        (RNG.integers(0, 4096, (64, 64), np.uint16), "noise"),
        (HEAD[:15], "too-small"),
        (np.full((64, 64), np.nan, np.float32), "not-a-number"),
        (np.zeros((64, 64, 3), np.uint8), "colour"),
    ],
)
def test_an_image_that_shows_nothing_is_named(pixels: PixelArray, problem: str | None) -> None:
    assert measure_quality(pixels).problem == problem


@pytest.mark.parametrize(
    ("usable", "window", "kind"),
    [
        ([1] * 10, range(3), "usable"),
        ([0, 0, 0, *[1] * 7], range(4, 7), "usable"),
        ([0, 0, 0, *[1] * 7], range(2, 5), "unusable-deciding-image"),
        ([0, 0, 0, 0, *[1] * 6], range(5, 8), "unusable-images"),
    ],
)
def test_enough_images_and_all_deciding_ones_must_be_usable(
    usable: list[int], window: range, kind: str
) -> None:
    qualities = [SliceQuality(None if fine else "noise") for fine in usable]
    result = judge_quality(qualities, window)
    assert (result.kind, result.passed) == (kind, kind == "usable")


@pytest.mark.parametrize(
    ("inside", "negative", "kind"),
    [
        ([1, 1, 1, 0, 0, 0, 0, 0], False, "like-training"),
        ([1, 1, 0, 1, 1, 1, 1, 1], False, "unlike-training"),
        ([1, 1, 0, 1, 1, 1, 1, 1], True, "unlike-training"),
        ([1, 1, 1, 0, 0, 0, 0, 0], True, "too-few-like-training"),
        ([1, 1, 1, 1, 0, 0, 0, 0], True, "like-training"),
    ],
)
def test_a_negative_needs_more_of_the_series_in_distribution_than_a_finding(
    inside: list[int], negative: bool, kind: str
) -> None:
    least = 0.5 if negative else None
    result = judge_distribution([bool(i) for i in inside], range(3), least)
    assert (result.kind, result.passed) == (kind, kind == "like-training")


@pytest.mark.parametrize(
    ("chances", "kind"),
    [
        ((0.7, 0.2, 0.1), "above-threshold"),
        ((0.5, 0.3, 0.2), "below-threshold"),
        ((0.05, 0.1, 0.85), "above-threshold"),
        ((0.05, 0.2, 0.75), "below-threshold"),
    ],
)
def test_an_answer_must_be_probable_enough(chances: tuple[float, float, float], kind: str) -> None:
    prediction = Prediction(
        dict(zip(("glow", "glimmer", "none"), chances, strict=True)), (), range(1), 0
    )
    result = judge_uncertainty(claim_of(prediction, MANIFEST), prediction)
    assert (result.kind, result.passed) == (kind, kind == "above-threshold")


def test_an_answer_must_lead_the_next_one() -> None:
    chances = {"glow": 0.62, "glimmer": 0.61, "none": 0.0}  # thresholds below a half can do this
    prediction = Prediction(chances, (), range(1), 0)
    result = judge_uncertainty(claim_of(prediction, MANIFEST), prediction)
    assert (result.kind, result.passed) == ("small-margin", False)


def test_each_geometry_problem_is_told() -> None:
    results = judge_geometry([Reason("missing-slice", "a"), Reason("gantry-tilt", "b")])
    assert [(r.kind, r.passed) for r in results] == [
        ("missing-slice", False),
        ("gantry-tilt", False),
    ]
    assert [r.passed for r in judge_geometry([])] == [True]


def test_the_headers_are_asked_again_whether_the_model_applies() -> None:
    facts = [SeriesFacts("1", modality="MR"), SeriesFacts("1", modality="CT")]
    reasons = reasons_against(toy_package(), facts, toy_registry())
    assert [reason.kind for reason in reasons] == ["modality"]
    assert not judge_applicability(reasons).passed
    assert judge_applicability(()).passed


@pytest.mark.parametrize(("outlined", "kind"), [(0, "nothing-outlined"), (1, "outlined")])
def test_something_must_be_outlined(outlined: int, kind: str) -> None:
    gate = judge_outline(outlined)
    assert (gate.kind, gate.passed) == (kind, outlined > 0)


@pytest.mark.parametrize(
    ("outcome", "saw", "kind"),
    [
        (Outcome.MEASURED, False, "second-witness-agrees"),
        (Outcome.NO_FINDING, False, "second-witness-agrees"),
        (Outcome.INDETERMINATE, False, "second-witness-unsure"),
        (Outcome.MEASURED, True, "second-witness-disagrees"),
        (Outcome.INDETERMINATE, True, "second-witness-disagrees"),
    ],
)
def test_a_second_witness_is_heard(outcome: Outcome, saw: bool, kind: str) -> None:
    """What it saw counts in any case; that it saw nothing, only where its own gates held."""
    seen = SliceOutline(7, "1.2", 1, np.ones((2, 2), bool), (), 1.0, None, 0.9)
    witness = replace(explained.result(), outcome=outcome, finding=None, structure="Ring")
    gate = judge_witness(replace(witness, outlines=(seen,) if saw else ()))
    assert (gate.kind, gate.passed) == (kind, kind == "second-witness-agrees")
    assert ("image 7 (Ring)" in gate.sentence) is saw


def test_a_finding_of_the_second_witness_stands_against_the_negative() -> None:
    gate = judge_witness(explained.result())
    assert gate.kind == "second-witness-disagrees"
    assert "Glioma" in gate.sentence


def test_a_witness_that_was_not_heard_is_missed() -> None:
    assert not missing_witness().passed
