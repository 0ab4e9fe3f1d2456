"""A graph in fewer bytes, with the same outputs to what its tolerance allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from models.build.compress.graph import drop_unused

_LARGE = 32_768  # values: smaller constants are not worth a rounding


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Share equal constants, drop what nothing takes, and hold large float matrices as int8.

    A matrix of a part that stays float (the axes of the out-of-distribution score) is kept as
    int8 with a scale for each column, and multiplied out as the graph is loaded: the arithmetic
    stays fp32 and costs nothing, and the file is what must be small. Its values are off by at most
    1/254 of their column's largest.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    del small.graph.value_info[:]
    for node in small.graph.node:
        node.doc_string = ""
    drop_unused(small.graph)
    _share(small.graph)
    for item in _large_matrices(small.graph):
        _narrow(small.graph, item)
    onnx.checker.check_model(small)
    return small


def _share(graph: onnx.GraphProto) -> None:
    """Let equal initialisers be one: most zero points are the same zeros."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    alias: dict[str, str] = {}
    for item in graph.initializer:
        content = (item.data_type, tuple(item.dims), numpy_helper.to_array(item).tobytes())
        alias[item.name] = first.setdefault(content, item.name)
    kept = [item for item in graph.initializer if alias[item.name] == item.name]
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _large_matrices(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Float initialisers of two dimensions that matrix products alone take, as second operand."""
    found = []
    for item in graph.initializer:
        takers = [node for node in graph.node if item.name in node.input]
        is_operand = all(node.op_type == "MatMul" for node in takers) and bool(takers)
        if item.data_type == onnx.TensorProto.FLOAT and len(item.dims) == 2 and is_operand:
            found.append(item)
    return [item for item in found if int(np.prod(item.dims)) >= _LARGE]


def _narrow(graph: onnx.GraphProto, item: onnx.TensorProto) -> None:
    name = item.name
    levels, scales = _rounded(numpy_helper.to_array(item))
    graph.initializer.remove(item)
    graph.initializer.extend(
        [
            numpy_helper.from_array(levels, f"{name}_int8"),
            numpy_helper.from_array(scales, f"{name}_scale"),
        ]
    )
    cast = onnx.helper.make_node("Cast", [f"{name}_int8"], [f"{name}_levels"], to=1)
    cast.name = f"{name}_cast"
    scale = onnx.helper.make_node("Mul", [f"{name}_levels", f"{name}_scale"], [name])
    scale.name = f"{name}_multiply"
    graph.node.insert(0, scale)
    graph.node.insert(0, cast)


def _rounded(
    matrix: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Levels (rows, columns) and scales (1, columns)."""
    scales = np.maximum(np.abs(matrix).max(axis=0, keepdims=True) / 127, np.float32(1e-30))
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)
