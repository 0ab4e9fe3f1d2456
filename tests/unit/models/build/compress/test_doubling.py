"""Doublings in their quick form give what the slow ones gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.build.compress.doubling import quick_doublings
from models.build.compress.graph import Graph
from models.build.compress.quantise import quantise
from models.build.compress.ranges import Activations
from models.build.export import open_session, run
from models.build.packs import as_input
from models.registry import load_package
from tests.unit.models.build.compress.graphs import classifier, outliner, samples

MODELS = Path(__file__).parents[5] / "models"


def int8(fp32: Path, folder: Path) -> onnx.ModelProto:
    graph, path = Graph.read(fp32), folder / "int8.onnx"
    quantise(graph, Activations(graph, samples(8).images).ranges("minmax"), 0, path)
    return onnx.load(path)


def answers(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    return run(open_session(model.SerializeToString()), images)


def resize(mode: str, places: str, scales: list[float], channels: int = 2) -> onnx.ModelProto:
    """One resize of a float map with 6 rows and 4 columns."""
    node = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["y"],
        "resize",
        mode=mode,
        coordinate_transformation_mode=places,
        nearest_mode="floor",
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "resize",
        [value("x", TensorProto.FLOAT, ["n", channels, 6, 4])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(scales, np.float32), "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def test_an_int8_outliner_answers_as_before_alone_and_in_a_batch(tmp_path: Path) -> None:
    before = int8(outliner(tmp_path / "fp32.onnx"), tmp_path)
    after = quick_doublings(before)
    assert not [n for n in after.graph.node if n.op_type == "Resize"]
    images = as_input(samples(3).images)
    for some in (images[:1], images):
        expected, given = answers(before, some), answers(after, some)
        assert list(given) == list(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(given[name], values, atol=1e-5)


def test_a_graph_that_doubles_nothing_stays_as_it_is(tmp_path: Path) -> None:
    before = int8(classifier(tmp_path / "fp32.onnx"), tmp_path)
    names = [node.name for node in before.graph.node]
    assert [node.name for node in quick_doublings(before).graph.node] == names


@pytest.mark.parametrize("channels", [1, 3])
def test_the_edge_of_a_linear_doubling_is_repeated(channels: int) -> None:
    before = resize("linear", "half_pixel", [1, 1, 2, 2], channels)
    after = quick_doublings(before)
    assert [node.op_type for node in after.graph.node] == ["Pad", "ConvTranspose"]
    images = np.random.default_rng(0).normal(0, 9, (2, channels, 6, 4)).astype(np.float32)
    expected = answers(before, images)["y"]
    np.testing.assert_allclose(answers(after, images)["y"], expected, atol=1e-5)


OTHERS = {
    "a nearest doubling of a float map": ("nearest", "asymmetric", [1, 1, 2, 2]),
    "a linear one between other places": ("linear", "align_corners", [1, 1, 2, 2]),
    "four times": ("linear", "half_pixel", [1, 1, 4, 4]),
    "rows alone": ("linear", "half_pixel", [1, 1, 2, 1]),
}


@pytest.mark.parametrize(("mode", "places", "scales"), OTHERS.values(), ids=OTHERS)
def test_any_other_resize_stays(mode: str, places: str, scales: list[float]) -> None:
    after = quick_doublings(resize(mode, places, scales))
    assert [node.op_type for node in after.graph.node] == ["Resize"]


@pytest.mark.parametrize("model", ["chest-xray-lungs", "brain-mri-tumour-outline"])
def test_the_shipped_outline_models_resize_nothing(model: str) -> None:
    graph = onnx.load_from_string(load_package(MODELS / model).read("int8.onnx"))
    assert not [node for node in graph.graph.node if node.op_type == "Resize"]
