"""Reading an ONNX graph: who makes a tensor, who takes it, and what is constant.

Compression works on the exported graph and not on the network's code: batch norms are folded
there, every tensor has the name under which it is quantised, and any architecture will do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[np.generic]
CONVOLUTIONS = ("Conv", "ConvTranspose")
ACTIVATIONS = ("Clip", "Relu")


class Graph:
    """A model's nodes in order, with the producer and the consumers of each tensor.

    `constants` holds initialisers and Constant nodes by name. Nodes without a name get one. The
    model is the caller's to change; make a new Graph after a change of nodes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        for number, node in enumerate(self.nodes):
            node.name = node.name or f"{node.op_type}_{number}"
        self.outputs = [output.name for output in model.graph.output]
        self.constants: dict[str, Array] = {
            item.name: numpy_helper.to_array(item) for item in model.graph.initializer
        }
        self.producers: dict[str, onnx.NodeProto] = {}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            self._enter(node)

    @classmethod
    def read(cls, path: Path) -> Graph:
        """The graph of a file."""
        return cls(onnx.load(path))

    def _enter(self, node: onnx.NodeProto) -> None:
        for name in node.output:
            self.producers[name] = node
        for name in node.input:
            self.consumers[name].append(node)
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def of_type(self, *types: str) -> list[onnx.NodeProto]:
        """The nodes of these operators, in order."""
        return [node for node in self.nodes if node.op_type in types]

    def only_consumer(self, tensor: str) -> onnx.NodeProto | None:
        """The one node that takes the tensor; None where there are several, or it is an output."""
        takers = self.consumers[tensor]
        return takers[0] if len(takers) == 1 and tensor not in self.outputs else None

    def upstream(self, tensors: list[str]) -> set[str]:
        """The names of all nodes that the tensors depend on."""
        seen: set[str] = set()
        waiting = list(tensors)
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is not None and node.name not in seen:
                seen.add(node.name)
                waiting.extend(node.input)
        return seen

    def set_constant(self, name: str, value: Array) -> None:
        """Replace the value of an initialiser, which may change its shape."""
        for item in self.model.graph.initializer:
            if item.name == name:
                item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self.constants[name] = value

    def copy(self) -> Graph:
        """The same graph, to be changed without changing this one."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        return Graph(model)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the constants that no node takes and that are no output, in place."""
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    nodes = [n for n in graph.node if n.op_type != "Constant" or n.output[0] in used]
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """The node's attributes by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def groups_of(node: onnx.NodeProto) -> int:
    """How many groups a convolution works in; as many as channels makes it depthwise."""
    group = attributes(node).get("group", 1)
    return group if isinstance(group, int) else 1


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that is known without running it; the batch counts as 1."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return dict(_shapes(inferred.graph))


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for item in (*graph.input, *graph.value_info, *graph.output):
        dims = item.type.tensor_type.shape.dim
        yield item.name, tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)


def _weight(graph: Graph, name: str) -> Array | None:
    maker = graph.producers.get(name)
    if maker is not None and maker.op_type in ("DequantizeLinear", "Mul", "Cast"):
        return _weight(graph, maker.input[0])
    return graph.constants.get(name)


def macs(model: onnx.ModelProto) -> int:
    """Multiplications with accumulation of convolutions and matrix products, for one image.

    A weight may be stored as int8 behind a DequantizeLinear.
    """
    graph, known = Graph(model), shapes(model)
    total = 0
    for node in graph.of_type("Conv", "ConvTranspose", "Gemm", "MatMul"):
        weight = _weight(graph, node.input[1])
        if weight is None:
            continue
        side = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
        places = int(np.prod(known[side][2:])) if node.op_type in CONVOLUTIONS else 1
        total += int(weight.size) * places
    return total
