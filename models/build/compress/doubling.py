"""Maps doubled in the form that ONNX Runtime computes fastest; what comes out stays the same.

It resizes an int8 map value by value, and a float map of one channel in a layout of sixteen: a
sixth of an outline model's time (onnxruntime 1.31, CPU). Copies move whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.build.compress.graph import Graph, attributes, drop_unused, shapes

_TENT = np.array([0.25, 0.75, 0.75, 0.25], np.float32)  # linear interpolation, by halves
_TWICE = [1.0, 1.0, 2.0, 2.0]
_DEFAULTS: dict[str, object] = {
    "mode": b"nearest",
    "coordinate_transformation_mode": b"half_pixel",
    "nearest_mode": b"round_prefer_floor",
}
_LINEAR = (b"linear", b"half_pixel")
_REPEATING = (  # each value twice; the other pairs move the map by a pixel
    (b"nearest", b"asymmetric", b"floor"),
    (b"nearest", b"asymmetric", b"round_prefer_floor"),
    (b"nearest", b"half_pixel", b"round_prefer_floor"),
    (b"nearest", b"half_pixel", b"round_prefer_ceil"),
)


def quick_doublings(model: onnx.ModelProto) -> onnx.ModelProto:
    """The int8 graph with its doublings rewritten where that changes nothing.

    A nearest doubling between a dequantisation and a quantisation by the same scale becomes copies
    of the int8 map; a linear one of a float map becomes a transposed convolution. Any other stays.
    """
    graph, sizes = Graph(model).copy(), shapes(model)
    quick = graph.model
    quantised = {node.name: _between(graph, node) for node in graph.of_type("Resize")}
    replaced = {pair[1].name for pair in quantised.values() if pair}
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        pair = quantised.get(node.name)
        if pair is not None:
            size = sizes[node.output[0]]
            nodes += _copies(quick.graph, node.name, pair[0].input[0], pair[1].output[0], size)
        elif _is_linear(graph, node):
            nodes += _transposed(quick.graph, node, sizes[node.output[0]][1])
        elif node.name not in replaced:
            nodes.append(node)
    del quick.graph.node[:]
    quick.graph.node.extend(nodes)
    drop_unused(quick.graph)
    onnx.checker.check_model(quick)
    return quick


def _how(graph: Graph, node: onnx.NodeProto) -> tuple[object, ...] | None:
    """Mode, places and rounding of a doubling; None for any other node."""
    if node.op_type != "Resize" or len(node.input) < 3:
        return None
    scales = graph.constants.get(node.input[2])
    if scales is None or scales.tolist() != _TWICE:
        return None
    given = _DEFAULTS | attributes(node)
    return tuple(given[name] for name in _DEFAULTS)


def _is_linear(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether it doubles a float map linearly; an int8 one would turn to float."""
    maker = graph.producers.get(node.input[0]) if node.input else None
    is_int8 = maker is not None and maker.op_type == "DequantizeLinear"
    return not is_int8 and (_how(graph, node) or ())[:2] == _LINEAR


def _between(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The dequantisation before a nearest doubling and the quantisation behind it, if alike."""
    if _how(graph, node) not in _REPEATING:
        return None
    before, behind = graph.producers.get(node.input[0]), graph.only_consumer(node.output[0])
    if before is None or behind is None:
        return None
    if (before.op_type, behind.op_type) != ("DequantizeLinear", "QuantizeLinear"):
        return None
    pairs = zip(before.input[1:], behind.input[1:], strict=True)
    alike = all(np.array_equal(graph.constants[a], graph.constants[b]) for a, b in pairs)
    return (before, behind) if alike else None


def _copies(
    graph: onnx.GraphProto, name: str, source: str, result: str, size: tuple[int, ...]
) -> Iterator[onnx.NodeProto]:
    """Each pixel beside itself, then each row below itself, with the channels last.

    The transpositions vanish as the graph is loaded: int8 convolutions have channels last.
    """
    _, channels, rows, columns = size
    apart = _whole(graph, f"{name}/rows", [0, rows // 2, 1, columns * channels])
    whole = _whole(graph, f"{name}/image", [0, rows, columns, channels])
    part = [f"{name}/{step}" for step in ("last", "wide", "row", "tall", "doubled")]
    make = helper.make_node
    yield make("Transpose", [source], [part[0]], name=part[0], perm=[0, 2, 3, 1])
    yield make("Concat", [part[0], part[0]], [part[1]], name=part[1], axis=3)
    yield make("Reshape", [part[1], apart], [part[2]], name=part[2])
    yield make("Concat", [part[2], part[2]], [part[3]], name=part[3], axis=2)
    yield make("Reshape", [part[3], whole], [part[4]], name=part[4])
    yield make("Transpose", [part[4]], [result], name=f"{name}/first", perm=[0, 3, 1, 2])


def _transposed(
    graph: onnx.GraphProto, node: onnx.NodeProto, channels: int
) -> Iterator[onnx.NodeProto]:
    """Linear interpolation as a transposed convolution of the map with its edge repeated."""
    name = node.name
    kernel = np.broadcast_to(np.outer(_TENT, _TENT), (channels, 1, 4, 4))
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(kernel), f"{name}/tent"))
    edges = _whole(graph, f"{name}/edges", [0, 0, 1, 1, 0, 0, 1, 1])
    wide, tent = f"{name}/edged", f"{name}/tent"
    yield helper.make_node("Pad", [node.input[0], edges], [wide], name=wide, mode="edge")
    yield helper.make_node(
        "ConvTranspose",
        [wide, tent],
        list(node.output),
        name=f"{name}/linear",
        strides=[2, 2],
        pads=[3, 3, 3, 3],
        group=channels,
    )


def _whole(graph: onnx.GraphProto, name: str, values: list[int]) -> str:
    """A constant of whole numbers; its name."""
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name
