"""A graph is one whole ONNX file, or it is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UnusableGraph
from models.graph import check_graph
from models.registry import load_registry
from tests.reference.toy import toy_package
from tests.unit.models.facts import GRAPH

onnx = pytest.importorskip("onnx", reason="the extra [build] is not installed")


def elsewhere() -> object:
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, name="w", dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def constant(tensor: object) -> object:
    return onnx.helper.make_node("Constant", [], ["c"], value=tensor)


def branch(tensor: object) -> object:
    inner = onnx.helper.make_graph([constant(tensor)], "inner", [], [])
    return onnx.helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)


def model(nodes: list[object] | None = None, initializers: list[object] | None = None) -> bytes:
    graph = onnx.helper.make_graph(nodes or [], "g", [], [], initializers or [])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def sparse() -> bytes:
    whole = onnx.ModelProto.FromString(model())
    whole.graph.sparse_initializer.add().values.CopyFrom(elsewhere())
    return bytes(whole.SerializeToString())


def function() -> bytes:
    whole = onnx.ModelProto.FromString(model())
    whole.functions.add(name="f").node.append(constant(elsewhere()))
    return bytes(whole.SerializeToString())


def training() -> bytes:
    whole = onnx.ModelProto.FromString(model())
    whole.training_info.add().algorithm.initializer.append(elsewhere())
    return bytes(whole.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [
        model(initializers=[elsewhere()]),
        model([constant(elsewhere())]),
        model([branch(elsewhere())]),
        sparse(),
        function(),
        training(),
    ],
    ids=["initializer", "constant", "branch", "sparse", "function", "training"],
)
def test_numbers_in_other_files_are_refused_wherever_they_are_named(content: bytes) -> None:
    with pytest.raises(UnusableGraph, match=r"'fp32\.onnx' keeps numbers in other files"):
        check_graph(content, "fp32.onnx")


def test_a_place_alone_is_enough_to_be_refused() -> None:
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, name="w", dims=[1])
    tensor.external_data.add(key="location", value="weights.bin")
    with pytest.raises(UnusableGraph):
        check_graph(model(initializers=[tensor]), "fp32.onnx")


def test_whole_graphs_pass() -> None:
    check_graph(GRAPH, "fp32.onnx")
    check_graph(toy_package().read("fp32.onnx"), "fp32.onnx")
    for package in load_registry().packages:
        check_graph(package.read("fp32.onnx"), "fp32.onnx")
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    check_graph(model([branch(tensor)], [tensor]), "fp32.onnx")


WHOLE = Path(toy_package().folder / "fp32.onnx").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x09",
        b"not a graph",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        b"\x3a" + b"\xff" * 20,
    ],
    ids=["empty", "no graph", "text", "a byte short", "half", "endless number"],
)
def test_what_is_no_graph_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(UnusableGraph, match=r"'x/fp32\.onnx' is not an ONNX graph"):
        check_graph(content, "x/fp32.onnx")
