"""A model is served only if it answers its reference cases, in whatever way is left to it."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from inference import loading
from inference.errors import ModelFailed
from inference.loading import load_runtime, providers_of
from inference.machine import CPU, CUDA, OPENVINO, TENSORRT, Machine
from inference.pipeline import check_package
from inference.runtime import Runtime, SliceOutputs
from models.contract import FloatArray
from models.registry import ModelPackage, load_package
from tests.reference.toy import FOLDER, answer_as, toy_outline, toy_package, write_int8

VNNI = Machine(int8_instructions=("AVX-VNNI",))
GPU = Machine(providers=(CUDA, CPU))
RIGHT, WRONG = 0.0, 1.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_int8(tmp_path / "toy")


def test_the_chosen_graph_is_served_with_its_reason(folder: Path) -> None:
    runtime = load_runtime(load_package(folder), VNNI)
    assert (runtime.precision, runtime.provider) == ("int8", CPU)
    assert runtime.reason == "The gates of the build held. This processor has AVX-VNNI."


@pytest.mark.parametrize(
    ("shift", "machine", "precision"),
    [
        ({"fp32": RIGHT, "int8": WRONG}, VNNI, "fp32"),
        ({"fp32": WRONG, "int8": RIGHT}, Machine(), "int8"),
    ],
)
def test_a_graph_that_answers_wrongly_gives_way_to_the_other(
    folder: Path, shift: Mapping[str, float], machine: Machine, precision: str
) -> None:
    answer_as(folder, shift)
    runtime = load_runtime(load_package(folder), machine)
    other = {"fp32": "int8", "int8": "fp32"}[precision]
    assert runtime.precision == precision
    assert f"{other} was chosen, but {precision} is run." in runtime.reason
    assert f"{other} on CPU failed: toy-glow in {other} is 1 away" in runtime.reason


def test_a_graph_that_is_gone_since_gives_way_to_the_other(folder: Path) -> None:
    package = load_package(folder)
    (folder / "int8.onnx").write_bytes(b"gone")
    runtime = load_runtime(package, VNNI)
    assert runtime.precision == "fp32"
    assert "is not the file that was measured" in runtime.reason


def test_nothing_is_served_that_answers_wrongly_everywhere(folder: Path) -> None:
    answer_as(folder, {"fp32": WRONG, "int8": WRONG})
    with pytest.raises(ModelFailed, match="toy-glow is not served") as caught:
        load_runtime(load_package(folder), VNNI)
    assert "fp32 on CPU failed" in caught.value.sentence
    assert "int8 on CPU failed" in caught.value.sentence


def test_a_graph_that_failed_its_gates_is_no_way_out(tmp_path: Path) -> None:
    folder = write_int8(tmp_path / "toy", gates_held=False, preferred="fp32")
    answer_as(folder, {"fp32": WRONG, "int8": RIGHT})
    with pytest.raises(ModelFailed):
        load_runtime(load_package(folder), VNNI)


def test_a_package_without_reference_cases_is_not_served(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "toy"))
    shutil.rmtree(folder / "reference")
    with pytest.raises(ModelFailed, match="no readable reference cases"):
        load_runtime(load_package(folder), VNNI)
    assert check_package(load_package(folder)) == ["toy-glow has no readable reference cases."]


@pytest.fixture
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.usefixtures("_quiet")
def test_a_provider_that_fails_gives_way_to_the_processor() -> None:
    runtime = load_runtime(toy_package(), GPU)
    assert (runtime.precision, runtime.provider) == ("fp32", CPU)
    assert "fp32 on CUDA failed" in runtime.reason


class Pretended(Runtime):
    """Runs on the CPU whatever it is told, slower by `delay_s` or wrongly on OpenVINO."""

    delay_s: ClassVar[dict[str, float]] = {CPU: 0.0, OPENVINO: 0.0}
    wrong: ClassVar[bool] = False

    def __init__(self, package: ModelPackage, precision: str, reason: str, provider: str) -> None:
        super().__init__(package, precision, reason, CPU)
        self.provider = provider

    def run(self, image: FloatArray) -> SliceOutputs:
        time.sleep(self.delay_s[getattr(self, "provider", CPU)])
        return super().run(image)

    def named_outputs(self, images: FloatArray) -> dict[str, FloatArray]:
        outputs = super().named_outputs(images)
        if self.wrong and getattr(self, "provider", CPU) == OPENVINO:
            outputs["logits"] = outputs["logits"] + np.float32(len(images) - 1)  # in twos only
        return outputs


@pytest.mark.parametrize(
    ("cpu_s", "openvino_s", "wrong", "chosen"),
    [
        (0.02, 0.0, False, OPENVINO),
        (0.0, 0.02, False, CPU),
        (0.02, 0.0, True, CPU),
    ],
)
def test_another_engine_serves_only_if_it_is_right_and_quicker(
    monkeypatch: pytest.MonkeyPatch, cpu_s: float, openvino_s: float, wrong: bool, chosen: str
) -> None:
    monkeypatch.setattr(loading, "Runtime", Pretended)
    monkeypatch.setattr(Pretended, "delay_s", {CPU: cpu_s, OPENVINO: openvino_s})
    monkeypatch.setattr(Pretended, "wrong", wrong)
    runtime = load_runtime(toy_package(), Machine(providers=(OPENVINO, CPU)))
    assert runtime.provider == chosen
    assert ("fp32 on OpenVINO failed" in runtime.reason) is wrong


def test_a_segmentation_is_loaded_alike() -> None:
    assert load_runtime(toy_outline(), VNNI).precision == "fp32"


def test_the_int8_graph_is_tried_on_processors_only() -> None:
    everything = Machine(providers=(OPENVINO, TENSORRT, CUDA, CPU))
    assert providers_of(everything, "int8") == (OPENVINO, CPU)
    assert providers_of(everything, "fp32") == (CUDA, TENSORRT, OPENVINO, CPU)
    assert providers_of(VNNI, "fp32") == (CPU,)


def test_every_graph_of_a_package_is_checked(folder: Path) -> None:
    assert check_package(load_package(folder)) == []
    answer_as(folder, {"fp32": RIGHT, "int8": WRONG})
    (problem,) = check_package(load_package(folder))
    assert "in int8" in problem
    (folder / "int8.onnx").unlink()
    assert check_package(load_package(folder)) == ["'int8.onnx' of toy-glow cannot be read."]
