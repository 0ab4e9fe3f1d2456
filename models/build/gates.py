"""What a graph must be before it is served: one limit, one figure and one sentence each.

A graph that differs from the trained network stops the build, and so does an fp32 graph that is not
calibrated or answers otherwise in a batch. int8 is held against fp32 on the same samples; one that
fails stays in the folder of the build, and fp32 is served. How fast the served file is beside other
engines is reported and stops nothing: another machine, or a busy one, has another answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from models.build.compress.figures import Figures, Parity
from models.build.errors import GateError

ACCURACY_DROP = SENSITIVITY_DROP = 0.01
DICE_DROP = 0.005
ECE = 0.05
ECE_RISE = 0.02
AGREEMENT = 0.97
PARITY = 1e-3
GRAPH_DISTANCE = 1e-4
SMALLER = 3.5
FASTER = 1.5
FASTER_THAN_TORCH = 4.0
SLOWER_THAN_OPENVINO = 1.3
_ROUNDING = 1e-9  # a drop of one in a hundred is 0.010000000000000009

Scope = Literal["build", "int8", "reported"]


@dataclass(frozen=True)
class Gate:
    """One question with its answer. `scope` says what it stops: the build, int8, or nothing."""

    name: str
    value: float
    limit: float
    held: bool
    sentence: str
    scope: Scope = "int8"


def judge(before: Figures, after: Figures, parity: Parity) -> tuple[Gate, ...]:
    """Every gate of an int8 graph (`after`) against its fp32 graph (`before`)."""
    return (*_quality(before, after), *_sameness(after, parity), *_gain(before, after))


def int8_may_be_served(gates: Iterable[Gate]) -> bool:
    """Whether every gate of int8 held; not so where none was asked."""
    asked = [gate.held for gate in gates if gate.scope == "int8"]
    return bool(asked) and all(asked)


def must_hold(gates: Iterable[Gate]) -> None:
    """Raise GateError, with the sentences, where a gate that stops the build did not hold."""
    failed = [gate.sentence for gate in gates if gate.scope == "build" and not gate.held]
    if failed:
        raise GateError(" ".join(failed))


def graph_gate(distance: float) -> Gate:
    """The largest difference of an output between torch and ONNX; it stops the build."""
    sentence = f"The graph's outputs differ from the network's by {distance:.2g}"
    return _most("torch and ONNX", distance, GRAPH_DISTANCE, sentence, scope="build")


def fp32_gates(figures: Figures, parity: Parity) -> tuple[Gate, ...]:
    """What the fp32 graph must be by itself, for int8 may fall back to it; they stop the build."""
    sentence = f"The fp32 graph's expected calibration error is {figures.ece:.3f}"
    calibrated = _most("fp32 calibration error", figures.ece, ECE, sentence, scope="build")
    return (calibrated, *_steadiness(parity, "fp32 batch", "build"))


def served_gates(faster_than_torch: float, slower_than_openvino: float | None) -> Iterator[Gate]:
    """How the served file compares with other engines on this machine; stops nothing.

    The second is the latency over OpenVINO's on the same file, None where it is not installed.
    """
    sentence = f"The served file is {faster_than_torch:.1f} times as fast as PyTorch eager"
    limit = FASTER_THAN_TORCH
    yield _least("torch eager", faster_than_torch, limit, sentence, scope="reported")
    if slower_than_openvino is not None:
        sentence = f"The served file takes {slower_than_openvino:.2f} times as long as in OpenVINO"
        limit = SLOWER_THAN_OPENVINO
        yield _most("OpenVINO", slower_than_openvino, limit, sentence, scope="reported")


def _quality(before: Figures, after: Figures) -> Iterator[Gate]:
    if before.accuracy is not None and after.accuracy is not None:
        drop = before.accuracy - after.accuracy
        yield _drop("accuracy", "The accuracy", drop, ACCURACY_DROP)
    for key, sensitivity in before.sensitivity.items():
        drop = sensitivity - after.sensitivity[key]
        yield _drop(f"sensitivity {key}", f"The sensitivity for {key}", drop, SENSITIVITY_DROP)
    if before.dice is not None and after.dice is not None:
        yield _drop("Dice", "Dice", before.dice - after.dice, DICE_DROP)
    sentence = f"The expected calibration error is {after.ece:.3f}"
    yield _most("calibration error", after.ece, ECE, sentence)
    rise = after.ece - before.ece
    sentence = f"The expected calibration error changes by {rise:+.3f}"
    yield _most("calibration error rise", rise, ECE_RISE, sentence)


def _sameness(after: Figures, parity: Parity) -> Iterator[Gate]:
    sentence = f"int8 and fp32 agree on {100 * after.agreement:.2f} %"
    yield _least("agreement", after.agreement, AGREEMENT, sentence)
    if after.ood_agreement is not None:
        sentence = f"int8 and fp32 agree on {100 * after.ood_agreement:.2f} % of what is unlike"
        yield _least("out of distribution", after.ood_agreement, AGREEMENT, sentence)
    yield from _steadiness(parity, "batch", "int8")


def _steadiness(parity: Parity, name: str, scope: Scope) -> Iterator[Gate]:
    changes = 0.0 if parity.same else 1.0
    sentence = f"Batches of 1, 2, 4 and 8 give {'the same' if parity.same else 'other'} answers"
    yield _most(f"{name} answers", changes, 0.0, sentence, scope)
    moved = parity.largest_difference
    sentence = f"A batch moves a probability by {moved:.2g}"
    yield _most(f"{name} probabilities", moved, PARITY, sentence, scope)


def _gain(before: Figures, after: Figures) -> Iterator[Gate]:
    smaller = before.bytes / after.bytes
    yield _least("size", smaller, SMALLER, f"The file is {smaller:.2f} times smaller")
    sentence = f"An image takes {after.speed_up:.2f} times less time"
    yield _least("speed", after.speed_up, FASTER, sentence)


def _drop(name: str, what: str, drop: float, limit: float) -> Gate:
    """`drop` and `limit` are shares; the sentence has hundredths of them."""
    gate = _most(name, drop, limit, what)
    points = f"{what} changes by {-100 * drop:+.2f} points"
    return replace(gate, sentence=f"{points}; a drop of {100 * limit:g} is allowed.")


def _most(name: str, value: float, limit: float, sentence: str, scope: Scope = "int8") -> Gate:
    held = value <= limit + _ROUNDING * abs(limit)  # not held where the value is not a number
    return Gate(name, value, limit, held, f"{sentence}; at most {limit:g} is allowed.", scope)


def _least(name: str, value: float, limit: float, sentence: str, scope: Scope = "int8") -> Gate:
    held = value >= limit - _ROUNDING * abs(limit)
    return Gate(name, value, limit, held, f"{sentence}; at least {limit:g} is needed.", scope)
