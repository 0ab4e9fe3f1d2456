from __future__ import annotations

import dataclasses

import pytest

from models.build.compress.figures import Figures, Parity
from models.build.errors import BuildError
from models.build.gates import (
    Gate,
    fp32_gates,
    graph_gate,
    int8_may_be_served,
    judge,
    must_hold,
    served_gates,
)

FP32 = Figures(
    accuracy=0.95,
    sensitivity={"glioma": 0.92, "no-tumour": 0.98},
    ece=0.02,
    dice=None,
    agreement=1.0,
    ood_agreement=1.0,
    bytes=14_000_000,
    macs=377_000_000,
    latency_ms=10.0,
    speed_up=1.0,
)
INT8 = dataclasses.replace(
    FP32, accuracy=0.945, agreement=0.99, ood_agreement=0.99, bytes=3_800_000, speed_up=2.0
)
OUTLINE = dataclasses.replace(FP32, accuracy=None, sensitivity={"structure": 0.98}, dice=0.83)
STEADY = Parity(same=True, largest_difference=1e-6)
NAN = float("nan")


def _gate(name: str, before: Figures, after: Figures, parity: Parity = STEADY) -> Gate:
    return next(gate for gate in judge(before, after, parity) if gate.name == name)


@pytest.mark.parametrize(
    ("name", "passing", "failing"),
    [
        ("accuracy", {"accuracy": 0.94}, {"accuracy": 0.9399}),
        ("accuracy", {"accuracy": 0.99}, {"accuracy": NAN}),
        (
            "sensitivity glioma",
            {"sensitivity": {"glioma": 0.91, "no-tumour": 0.5}},
            {"sensitivity": {"glioma": 0.909, "no-tumour": 1.0}},
        ),
        (
            "sensitivity no-tumour",
            {"sensitivity": {"glioma": 0.5, "no-tumour": 0.97}},
            {"sensitivity": {"glioma": 1.0, "no-tumour": 0.96}},
        ),
        ("calibration error", {"ece": 0.05}, {"ece": 0.051}),
        ("calibration error rise", {"ece": 0.04}, {"ece": 0.041}),
        ("agreement", {"agreement": 0.97}, {"agreement": 0.9699}),
        ("out of distribution", {"ood_agreement": 0.97}, {"ood_agreement": 0.96}),
        ("size", {"bytes": 4_000_000}, {"bytes": 4_000_001}),
        ("speed", {"speed_up": 1.5}, {"speed_up": 1.49}),
    ],
)
def test_each_gate_of_classes_holds_at_its_limit_and_not_beyond(
    name: str, passing: dict[str, object], failing: dict[str, object]
) -> None:
    assert _gate(name, FP32, dataclasses.replace(INT8, **passing)).held
    failed = _gate(name, FP32, dataclasses.replace(INT8, **failing))
    assert not failed.held
    assert failed.scope == "int8"
    assert failed.sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "passing", "failing"),
    [
        ("batch answers", Parity(True, 0.0), Parity(False, 0.0)),
        ("batch probabilities", Parity(True, 1e-3), Parity(True, 1.1e-3)),
        ("batch probabilities", Parity(True, 0.0), Parity(True, NAN)),
    ],
)
def test_a_batch_may_not_change_an_answer(name: str, passing: Parity, failing: Parity) -> None:
    assert _gate(name, FP32, INT8, passing).held
    assert not _gate(name, FP32, INT8, failing).held


@pytest.mark.parametrize(("dice", "held"), [(0.825, True), (0.8249, False), (NAN, False)])
def test_an_outline_may_lose_half_a_point_of_dice(dice: float, held: bool) -> None:
    after = dataclasses.replace(OUTLINE, dice=dice)
    assert _gate("Dice", OUTLINE, after).held is held


def test_a_sentence_says_which_way_it_went() -> None:
    better = dataclasses.replace(INT8, accuracy=0.96)
    assert "+1.00 points" in _gate("accuracy", FP32, better).sentence
    assert "-0.50 points" in _gate("accuracy", FP32, INT8).sentence


def test_the_gates_are_those_of_the_task() -> None:
    classes = {gate.name for gate in judge(FP32, INT8, STEADY)}
    outlines = {gate.name for gate in judge(OUTLINE, OUTLINE, STEADY)}
    assert "Dice" not in classes
    assert "accuracy" not in outlines
    plain = dataclasses.replace(INT8, ood_agreement=None)
    assert "out of distribution" not in {gate.name for gate in judge(FP32, plain, STEADY)}


def test_int8_is_served_only_if_all_its_gates_held() -> None:
    assert int8_may_be_served(judge(FP32, INT8, STEADY))
    slow = dataclasses.replace(INT8, speed_up=1.2)
    assert not int8_may_be_served(judge(FP32, slow, STEADY))
    assert not int8_may_be_served([])
    assert not int8_may_be_served([graph_gate(0.0)])


@pytest.mark.parametrize(("distance", "held"), [(1e-4, True), (2e-4, False), (NAN, False)])
def test_a_graph_must_be_the_network(distance: float, held: bool) -> None:
    gate = graph_gate(distance)
    assert gate.held is held
    if held:
        must_hold([gate])
    else:
        with pytest.raises(BuildError, match="differ"):
            must_hold([gate])


@pytest.mark.parametrize(
    ("figures", "parity", "held"),
    [
        ({"ece": 0.05}, STEADY, True),
        ({"ece": 0.051}, STEADY, False),
        ({"ece": NAN}, STEADY, False),
        ({}, Parity(same=False, largest_difference=0.0), False),
        ({}, Parity(same=True, largest_difference=1e-3), True),
        ({}, Parity(same=True, largest_difference=1.1e-3), False),
    ],
)
def test_an_fp32_graph_that_cannot_be_fallen_back_to_stops_the_build(
    figures: dict[str, float], parity: Parity, held: bool
) -> None:
    gates = fp32_gates(dataclasses.replace(FP32, **figures), parity)  # type: ignore[arg-type]  # floats by the table above
    assert {gate.scope for gate in gates} == {"build"}
    if held:
        must_hold(gates)
    else:
        with pytest.raises(BuildError, match=r"fp32|batch|Batches"):
            must_hold(gates)


def test_a_failing_int8_gate_does_not_stop_the_build() -> None:
    must_hold(judge(FP32, dataclasses.replace(INT8, agreement=0.5), STEADY))


@pytest.mark.parametrize(
    ("torch_ratio", "openvino_ratio", "held"),
    [(4.0, 1.3, [True, True]), (3.9, 1.31, [False, False]), (8.0, None, [True])],
)
def test_the_served_file_is_compared_with_other_engines(
    torch_ratio: float, openvino_ratio: float | None, held: list[bool]
) -> None:
    gates = list(served_gates(torch_ratio, openvino_ratio))
    assert [gate.held for gate in gates] == held
    assert {gate.scope for gate in gates} == {"reported"}
    must_hold(gates)
