from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import ModelFailed
from inference.runtime import Runtime
from models.errors import HashMismatch
from models.registry import ModelPackage
from tests.reference.toy import toy_cells, toy_outline, toy_package

BLANK = np.zeros((1, 1, 224, 224), np.float32)


def _with_outputs(**names: str) -> ModelPackage:
    package = toy_package()
    outputs = replace(package.manifest.outputs, **names)
    return ModelPackage(package.folder, replace(package.manifest, outputs=outputs))


def test_one_session_answers_many_threads_alike() -> None:
    runtime = Runtime(toy_package(), "fp32")
    with ThreadPoolExecutor(4) as pool:
        answers = {tuple(out.logits) for out in pool.map(runtime.run, [BLANK] * 50)}
    assert len(answers) == 1


@pytest.mark.parametrize(
    "names",
    [{"logits": "absent"}, {"logits": "feature_map"}, {"class_weights": "ood_score"}],
)
def test_a_graph_without_the_promised_outputs_fails_at_load(names: dict[str, str]) -> None:
    with pytest.raises(ModelFailed):
        Runtime(_with_outputs(**names), "fp32")


def test_a_number_that_is_not_finite_is_no_answer() -> None:
    runtime = Runtime(toy_package(), "fp32")
    with pytest.raises(ModelFailed):
        runtime.run(np.full_like(BLANK, np.nan))


def test_an_input_of_another_shape_fails() -> None:
    with pytest.raises(ModelFailed):
        Runtime(toy_package(), "fp32").run(np.zeros((1, 1, 8, 8), np.float32))


def test_a_graph_that_is_not_listed_is_not_loaded() -> None:
    with pytest.raises(HashMismatch):
        Runtime(toy_package(), "int8")


def test_a_segmentation_gives_a_mask_and_nothing_else() -> None:
    outputs = Runtime(toy_outline(), "fp32").run(np.ones_like(BLANK))
    assert outputs.mask_logits.shape == (56, 56)
    assert outputs.mask_logits == pytest.approx(20.0)
    assert outputs.logits.size == outputs.feature_map.size == 0
    assert outputs.ood_score == 0.0


def test_a_head_of_its_own_answers_as_the_whole() -> None:
    runtime = Runtime(toy_cells(), "fp32")
    images = np.stack([BLANK[0], np.ones_like(BLANK[0])])
    outputs = runtime.named_outputs(images)
    assert runtime.head_logits(outputs["feature_map"]) == pytest.approx(outputs["logits"])
    assert runtime.class_weights.size == 0


def test_only_a_package_with_a_head_can_be_asked_for_it() -> None:
    with pytest.raises(ModelFailed):
        Runtime(toy_package(), "fp32").head_logits(np.zeros((1, 2, 7, 7), np.float32))


def test_a_feature_map_of_another_shape_is_refused_by_the_head() -> None:
    with pytest.raises(ModelFailed):
        Runtime(toy_cells(), "fp32").head_logits(np.zeros((1, 5, 7, 7), np.float32))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_a_batch_is_answered_slice_by_slice(count: int) -> None:
    runtime = Runtime(toy_package(), "fp32")
    images = np.linspace(0, 1, count, dtype=np.float32)[:, None, None, None] + BLANK
    alone = [runtime.run(image[np.newaxis]).logits for image in images]
    assert runtime.named_outputs(images)["logits"] == pytest.approx(np.array(alone), abs=1e-5)


def test_a_provider_that_cannot_be_used_is_not_replaced_in_silence() -> None:
    """ONNX Runtime would run it on the CPU, with a warning at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ModelFailed, match="cannot be used on this machine"):
            Runtime(toy_package(), "fp32", provider="CUDAExecutionProvider")
