"""What a graph asks of a machine, counted from the graph itself: multiplications and bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto

_IN_PLACE = {
    *("Clip", "Relu", "Identity"),  # engines do these as part of what comes before
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze"),  # and these are no work at all
    *("QuantizeLinear", "DequantizeLinear"),
}
_CONVOLUTIONS = {"Conv", "ConvTranspose"}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """For one image: `macs`, multiplications with accumulation of convolutions and products.

    `weight_bytes` is what is stored of `parameters` numbers, `activation_bytes` what is written
    once and read by each consumer; what an engine does in place is not counted again.
    """

    macs: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    file_bytes: int

    @property
    def bytes_moved(self) -> int:
        """Weights read once, and activations."""
        return self.weight_bytes + self.activation_bytes

    def as_dict(self) -> dict[str, int]:
        """For a report."""
        return asdict(self) | {"bytes_moved": self.bytes_moved}


def cost_of(path: Path) -> Cost:
    """The cost of a graph whose shapes follow from its input's, for a batch of one."""
    tensors = _Tensors(_for_one_image(onnx.load(path)))
    return Cost(
        macs=sum(_macs(node, tensors) for node in tensors.nodes),
        parameters=sum(math.prod(shape) for shape in tensors.weights.values()),
        weight_bytes=sum(tensors.bytes_of(name) for name in tensors.weights),
        activation_bytes=_traffic(tensors),
        file_bytes=path.stat().st_size,
    )


class _Tensors:
    """Shapes and sizes of everything in a graph. `weights` are constants of more than one number.

    Constants that are only shapes, scales or axes (int64, or a single number) are no weights.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.nodes = [node for node in graph.node if node.op_type != "Constant"]
        self.shapes: dict[str, Shape] = {}
        self.types: dict[str, int] = {}
        for item in (*graph.input, *graph.value_info, *graph.output):
            kind = item.type.tensor_type
            self.shapes[item.name] = tuple(dim.dim_value for dim in kind.shape.dim)
            self.types[item.name] = kind.elem_type
        self.weights: dict[str, Shape] = {}
        for name, constant in _constants(graph):
            shape = tuple(constant.dims)
            self.shapes[name], self.types[name] = shape, constant.data_type
            if math.prod(shape) > 1 and constant.data_type != TensorProto.INT64:
                self.weights[name] = shape
        self.constants = {name for name, _ in _constants(graph)}

    def item_bytes(self, name: str) -> int:
        """Bytes of one number."""
        kind = self.types.get(name, TensorProto.FLOAT)
        return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)

    def bytes_of(self, name: str) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shapes.get(name, ())) * self.item_bytes(name)


def _for_one_image(model: ModelProto) -> ModelProto:
    """The model with a batch of one and every shape that follows from it."""
    for item in (*model.graph.input, *model.graph.output):
        dims = item.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    for item in graph.initializer:
        yield item.name, item
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t


def _macs(node: NodeProto, tensors: _Tensors) -> int:
    shapes = tensors.shapes
    if node.op_type in _CONVOLUTIONS:
        side = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
        return math.prod(shapes[node.input[1]]) * math.prod(shapes[side][2:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        return math.prod(shapes[node.output[0]]) * _inner(node, shapes)
    return 0


def _inner(node: NodeProto, shapes: dict[str, Shape]) -> int:
    transposed = any(item.name == "transA" and item.i for item in node.attribute)
    return shapes[node.input[0]][0 if transposed else -1]


def _traffic(tensors: _Tensors) -> int:
    """Bytes of activations: written once, read by each node that does more than pass them on.

    A tensor that is only passed on (cut off, reshaped, quantised) is the one that it was made of,
    in the smallest of its forms.
    """
    origin: dict[str, str] = {}
    sizes: dict[str, int] = {}
    uses: Counter[str] = Counter()
    for node in tensors.nodes:
        inputs = [origin.get(name, name) for name in node.input if name]
        if node.op_type in _IN_PLACE:
            origin[node.output[0]] = inputs[0]
        else:
            uses.update(inputs)
            uses.update(node.output)
        for name in (*node.input, *node.output):
            first, size = origin.get(name, name), tensors.bytes_of(name)
            sizes[first] = min(sizes.get(first, size), size)
    return sum(sizes[name] * count for name, count in uses.items() if name not in tensors.constants)
