"""Work and bytes are counted from the graph, and come out as by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra [build] is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 only with onnx

from models.build.measure.cost import cost_of  # noqa: E402 only with onnx

FLOAT = TensorProto.FLOAT


def saved(
    folder: Path,
    nodes: list[onnx.NodeProto],
    shapes: tuple[list[int | str], list[int | str]],
    constants: dict[str, np.ndarray],
) -> Path:
    entry, leaving = (
        helper.make_tensor_value_info(name, FLOAT, shape)
        for name, shape in zip(("x", "y"), shapes, strict=True)
    )
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by hand", [entry], [leaving], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "graph.onnx")
    return folder / "graph.onnx"


def test_a_convolution_with_its_cut_off_is_counted_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["z"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    constants = {"w": np.zeros((8, 3, 3, 3), np.float32), "b": np.zeros(8, np.float32)}
    path = saved(tmp_path, nodes, (["n", 3, 16, 16], ["n", 8, 8, 8]), constants)
    cost = cost_of(path)
    assert cost.macs == 8 * 3 * 9 * 64
    assert cost.parameters == 8 * 27 + 8
    assert cost.weight_bytes == 4 * cost.parameters
    assert cost.activation_bytes == 4 * (3 * 256 + 8 * 64)  # x read, z written, y nowhere
    assert cost.bytes_moved == cost.weight_bytes + cost.activation_bytes
    assert cost.file_bytes == path.stat().st_size


def test_a_depthwise_convolution_counts_its_own_channel_only(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], group=4)]
    constants = {"w": np.zeros((4, 1, 3, 3), np.float32)}
    cost = cost_of(saved(tmp_path, nodes, (["n", 4, 8, 8], ["n", 4, 8, 8]), constants))
    assert cost.macs == 4 * 9 * 64


def test_a_product_of_two_activations_is_work_without_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    cost = cost_of(saved(tmp_path, nodes, (["n", 5, 7], ["n", 5, 5]), {}))
    assert cost.macs == 5 * 7 * 5
    assert cost.parameters == cost.weight_bytes == 0
    assert cost.activation_bytes == 4 * (2 * 35 + 2 * 35 + 25)  # x read twice, t made and read, y


def test_a_linear_layer_is_counted_whichever_way_its_weights_lie(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    cost = cost_of(
        saved(tmp_path, nodes, (["n", 10], ["n", 4]), {"w": np.zeros((4, 10), np.float32)})
    )
    assert cost.macs == 40


def test_quantised_tensors_move_a_quarter(tmp_path: Path) -> None:
    scale, zero = np.float32(0.1), np.uint8(0)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    constants = {
        "w": np.zeros((8, 4, 1, 1), np.int8),
        "s": np.array(scale),
        "z": np.array(zero),
        "zw": np.array(np.int8(0)),
    }
    cost = cost_of(saved(tmp_path, nodes, (["n", 4, 8, 8], ["n", 8, 8, 8]), constants))
    assert cost.macs == 8 * 4 * 64
    assert cost.weight_bytes == cost.parameters == 32
    assert cost.activation_bytes == 4 * 64 + 4 * 8 * 64  # int8 in, float out


def test_shapes_and_axes_are_no_weights(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    cost = cost_of(saved(tmp_path, nodes, (["n", 2, 6], ["n", 12]), {"shape": np.array([-1, 12])}))
    assert cost.parameters == cost.bytes_moved == cost.macs == 0
