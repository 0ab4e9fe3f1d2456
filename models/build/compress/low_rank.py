"""Two thin layers for one wide one, where that is less work."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from models.build.compress.graph import Graph, drop_unused
from models.build.compress.prune import unit_convolution

_PAYS = 0.75  # of the layer's multiplications: one more layer has a price of its own

Matrix = npt.NDArray[np.float32]


def factorised(graph: Graph, energy: float) -> Graph:
    """A copy of the graph in which 1x1 convolutions are products of two, where it pays.

    A layer's weights (out, in) are cut to the smallest rank that keeps the share `energy` of the
    sum of their squared singular values; the layer is replaced where both factors together need at
    most 75 % of its multiplications. The linear layer of the head stays: it is the evidence.
    """
    smaller = graph.copy()
    nodes: list[onnx.NodeProto] = []
    for node in smaller.nodes:
        factors = _factors(smaller, node, energy)
        nodes.extend([node] if factors is None else _replaced(smaller, node, *factors))
    del smaller.model.graph.node[:], smaller.model.graph.value_info[:]
    smaller.model.graph.node.extend(nodes)
    drop_unused(smaller.model.graph)
    onnx.checker.check_model(smaller.model)
    return Graph(smaller.model)


def rank_for(singular: npt.NDArray[np.floating], energy: float) -> int:
    """How many of the singular values, largest first, hold the share of their squared sum."""
    shares = np.cumsum(singular.astype(np.float64) ** 2)
    return int(np.searchsorted(shares, energy * shares[-1]) + 1)


def _factors(graph: Graph, node: onnx.NodeProto, energy: float) -> tuple[Matrix, Matrix] | None:
    """(rank, in) and (out, rank), or None where the node is to stay."""
    if node.op_type != "Conv" or not unit_convolution(node):
        return None
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.shape[2:] != (1, 1):
        return None
    left, singular, right = np.linalg.svd(weight[:, :, 0, 0].astype(np.float32), False)
    rank = min(rank_for(singular, energy), len(singular))
    if rank * sum(weight.shape[:2]) > _PAYS * weight.size:
        return None
    root = np.sqrt(singular[:rank])  # halved between the two, so that neither range is wide
    return root[:, np.newaxis] * right[:rank], left[:, :rank] * root


def _replaced(
    graph: Graph, node: onnx.NodeProto, first: Matrix, second: Matrix
) -> list[onnx.NodeProto]:
    names = [f"{node.input[1]}_{part}" for part in ("in", "out")]
    for name, matrix in zip(names, (first, second), strict=True):
        value = np.ascontiguousarray(matrix[:, :, np.newaxis, np.newaxis], np.float32)
        graph.model.graph.initializer.append(numpy_helper.from_array(value, name))
    between = f"{node.output[0]}_thin"
    thin = onnx.helper.make_node("Conv", [node.input[0], names[0]], [between])
    thin.name = f"{node.name}_in"
    wide = onnx.helper.make_node(
        "Conv", [between, names[1], *node.input[2:]], list(node.output), f"{node.name}_out"
    )
    return [thin, wide]
