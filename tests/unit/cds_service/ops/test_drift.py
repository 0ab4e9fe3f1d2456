"""What the last results say of a model beside its test split, and what they do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cds_service.ops.drift import Baseline, Drift, Kind, baselines, drift, interval, kind_of
from inference.analysis import GateResult, Outcome
from tests.doubles import explained

MODELS = Path(__file__).parents[4] / "models"


@pytest.mark.parametrize(
    ("count", "of", "expected", "said"),
    [
        (0, 0, 0.03, Drift.TOO_FEW),
        (29, 29, 0.03, Drift.TOO_FEW),
        (30, 30, 0.03, Drift.MORE),
        (1, 30, 0.03, Drift.AS_TESTED),
        (12, 182, 0.03, Drift.MORE),
        (6, 182, 0.03, Drift.AS_TESTED),
        (0, 200, 0.10, Drift.LESS),
        (0, 200, 0.0, Drift.AS_TESTED),
        (200, 200, 1.0, Drift.AS_TESTED),
        (100, 200, None, Drift.NOT_TESTED),
    ],
)
def test_a_share_is_compared_by_its_interval(
    count: int, of: int, expected: float | None, said: Drift
) -> None:
    assert drift(count, of, expected) is said


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 30, 0.0059, 0.1667)],
)
def test_the_interval_is_wilsons(count: int, of: int, low: float, high: float) -> None:
    assert interval(count, of) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize(
    ("outcome", "gate", "kind"),
    [
        (Outcome.FINDING, "", Kind.ANSWERED),
        (Outcome.NO_FINDING, "", Kind.ANSWERED),
        (Outcome.MEASURED, "", Kind.ANSWERED),
        (Outcome.INDETERMINATE, "uncertainty", Kind.UNDECIDED),
        (Outcome.INDETERMINATE, "out-of-distribution", Kind.STRANGE),
        (Outcome.NOT_ANALYSED, "", None),
    ],
)
def test_each_result_has_a_kind(outcome: Outcome, gate: str, kind: Kind | None) -> None:
    gates = (GateResult(gate, False, gate, "It did not hold."),) if gate else ()
    assert kind_of(replace(explained.result(), outcome=outcome, gates=gates)) is kind


def test_the_shares_of_the_test_split_are_read_for_each_precision() -> None:
    report = json.loads((MODELS / "brain-mri-tumour" / "report.json").read_bytes())
    found = baselines(report)
    for precision, split in (("fp32", report["test"]), ("int8", report["int8"]["test"])):
        assert found[precision].images == split["images"]
        assert found[precision].strange == pytest.approx(1 - split["in_distribution"])
        assert found[precision].silent == pytest.approx(1 - split["abstaining"]["coverage"])


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"test": None, "int8": []},
        {"test": {"images": "many", "in_distribution": "all", "abstaining": 3}},
        {"test": {"in_distribution": 7, "abstaining": {"coverage": -1}}},
    ],
)
def test_a_report_without_these_shares_gives_none(report: dict[str, object]) -> None:
    assert all(each == Baseline(0, None, None) for each in baselines(report).values())
