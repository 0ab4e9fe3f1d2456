from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import ModelFailed
from inference.runtime import Runtime
from models.errors import HashMismatch
from models.registry import ModelPackage
from tests.reference.toy import toy_package

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


@pytest.mark.parametrize("names", [{"logits": "absent"}, {"logits": "feature_map"}])
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
