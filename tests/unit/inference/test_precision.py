"""Which graph is run: what may be, then what is asked for, then what suits the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.machine import CPU, Machine
from inference.precision import LITTLE_MEMORY_BYTES, choose_precision, other_precision
from models.registry import ModelPackage, load_package
from tests.reference.toy import toy_package, write_int8

PLAIN = Machine()
VNNI = Machine(int8_instructions=("AVX512-VNNI",))
GPU = replace(VNNI, providers=("CUDAExecutionProvider", CPU))
FULL = replace(PLAIN, free_memory_bytes=LITTLE_MEMORY_BYTES - 1)
ROOMY = replace(PLAIN, free_memory_bytes=LITTLE_MEMORY_BYTES)


@pytest.fixture
def both(tmp_path: Path) -> ModelPackage:
    """A package that prefers its int8 graph."""
    return load_package(write_int8(tmp_path / "toy"))


def without(package: ModelPackage, name: str) -> ModelPackage:
    return replace(package, faults={name: f"{name!r} of toy-glow cannot be read."})


@pytest.mark.parametrize(
    ("machine", "precision", "said"),
    [
        (VNNI, "int8", "AVX512-VNNI"),
        (PLAIN, "fp32", "no 8-bit dot product"),
        (ROOMY, "fp32", "no 8-bit dot product"),
        (FULL, "int8", "Little memory"),
        (GPU, "fp32", "GPU"),
    ],
)
def test_what_suits_the_machine_is_run(
    both: ModelPackage, machine: Machine, precision: str, said: str
) -> None:
    choice = choose_precision(both, machine)
    assert choice.precision == precision
    assert said in choice.reason


@pytest.mark.parametrize("wish", ["fp32", "int8"])
@pytest.mark.parametrize("machine", [PLAIN, VNNI, GPU, FULL])
def test_a_site_may_ask_for_a_precision(both: ModelPackage, machine: Machine, wish: str) -> None:
    choice = choose_precision(both, machine, wish)
    assert choice.precision == wish
    assert "configuration" in choice.reason


def test_what_the_comparison_demands_goes_before_what_the_site_asks(both: ModelPackage) -> None:
    choice = choose_precision(both, VNNI, "int8", forced="fp32")
    assert choice.precision == "fp32"
    assert "differed too often" in choice.reason


def test_another_wish_is_a_mistake_of_the_caller(both: ModelPackage) -> None:
    with pytest.raises(ValueError, match="auto, fp32, int8"):
        choose_precision(both, VNNI, "fp16")


def test_the_builds_preference_and_its_reason_are_kept(tmp_path: Path) -> None:
    package = load_package(write_int8(tmp_path / "toy", preferred="fp32"))
    choice = choose_precision(package, VNNI)
    assert (choice.precision, choice.reason) == ("fp32", package.manifest.precision.reason)
    assert choose_precision(package, VNNI, "int8").precision == "int8"


@pytest.mark.parametrize(("wish", "forced"), [("auto", None), ("int8", None), ("auto", "int8")])
def test_a_graph_that_failed_a_gate_is_never_run(
    tmp_path: Path, wish: str, forced: str | None
) -> None:
    folder = write_int8(tmp_path / "toy", gates_held=False, preferred="fp32")
    choice = choose_precision(load_package(folder), VNNI, wish, forced)
    assert choice.precision == "fp32"
    assert "did not pass every gate" in choice.reason
    assert ("int8 was asked for" in choice.reason) is (wish == "int8")


@pytest.mark.parametrize("wish", ["auto", "int8"])
def test_a_missing_int8_graph_is_told(both: ModelPackage, wish: str) -> None:
    choice = choose_precision(without(both, "int8.onnx"), VNNI, wish)
    assert choice.precision == "fp32"
    assert "'int8.onnx' of toy-glow cannot be read. So fp32 is run." in choice.reason


@pytest.mark.parametrize(("wish", "forced"), [("auto", None), ("fp32", None), ("auto", "fp32")])
def test_a_missing_fp32_graph_is_told(both: ModelPackage, wish: str, forced: str | None) -> None:
    choice = choose_precision(without(both, "fp32.onnx"), PLAIN, wish, forced)
    assert choice.precision == "int8"
    assert "'fp32.onnx' of toy-glow cannot be read. So int8 is run." in choice.reason


def test_a_package_of_one_graph_has_no_choice() -> None:
    choice = choose_precision(toy_package(), VNNI)
    assert choice.precision == "fp32"
    assert "only the fp32 graph" in choice.reason


def test_the_other_graph_is_one_that_may_be_run(both: ModelPackage, tmp_path: Path) -> None:
    assert (other_precision(both, "int8"), other_precision(both, "fp32")) == ("fp32", "int8")
    assert other_precision(without(both, "int8.onnx"), "fp32") is None
    held_back = load_package(write_int8(tmp_path / "n", gates_held=False, preferred="fp32"))
    assert other_precision(held_back, "fp32") is None
