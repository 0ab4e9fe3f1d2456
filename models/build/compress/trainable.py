"""An ONNX graph as a torch module whose weights, and ranges of activations, can be trained.

Only the operators of the convolutional networks that int8 is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.compress.graph import Graph, attributes
from models.build.compress.ranges import Ranges
from models.build.errors import NetworkError

Operator = Callable[[onnx.NodeProto, list[Tensor]], Tensor]
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
_LEVELS = 255


class UntrainableGraph(NetworkError):
    """The graph has an operator, or a computed weight, that training does not know."""


class GraphModule(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The part of a graph that `outputs` depend on: image (N, 1, H, W) to those outputs, by name.

    Weights and biases of convolutions and linear layers are parameters. With `ranges`, each
    tensor named there goes through fake quantisation to 256 levels with a trainable step, and the
    weights in `int8_weights` to 255 levels for each output channel, as the int8 graph has them.
    """

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[str],
        ranges: Ranges | None = None,
        int8_weights: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._entry = graph.model.graph.input[0].name
        self._outputs, self._int8_weights = tuple(outputs), frozenset(int8_weights)
        wanted = graph.upstream(list(outputs))
        self._nodes = [n for n in graph.nodes if n.name in wanted and n.op_type != "Constant"]
        self._constants = graph.constants
        self._fixed = {
            name: torch.from_numpy(np.array(value)) for name, value in graph.constants.items()
        }
        self._check()
        self.weights = nn.ParameterDict()
        self._places: dict[str, str] = {}
        for node in self._nodes:
            for name in node.input[1:] if node.op_type in _WEIGHTED else ():
                self._enter(name)
        self.steps = nn.ModuleDict()
        for name, (low, high) in (ranges or {}).items():
            if high > low:
                self.steps[_key(name)] = _FakeQuantiser(low, high)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """The outputs asked for."""
        values = {self._entry: self._quantised(self._entry, image)}
        for node in self._nodes:
            inputs = [self._value(name, values, image.device) for name in node.input if name]
            name = node.output[0]
            values[name] = self._quantised(name, _OPERATORS[node.op_type](node, inputs))
        return {name: values[name] for name in self._outputs}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of each quantised tensor, as trained."""
        return {
            name: step.range() for name in self._tensors() for step in (self.steps[_key(name)],)
        }

    def write_to(self, graph: Graph) -> Graph:
        """A copy of the graph with the weights as trained."""
        trained = graph.copy()
        for name, key in self._places.items():
            value = self.weights[key].detach().cpu().contiguous().numpy()
            trained.set_constant(name, np.asarray(value, np.float32))
        return trained

    def _tensors(self) -> list[str]:
        names = [self._entry, *(node.output[0] for node in self._nodes)]
        return [name for name in names if _key(name) in self.steps]

    def _enter(self, name: str) -> None:
        if name not in self._constants:
            raise UntrainableGraph(
                f"The graph computes the weight {name!r}, which cannot be trained."
            )
        if name not in self._places:
            self._places[name] = f"w{len(self._places)}"
            value = torch.from_numpy(np.array(self._constants[name], np.float32))
            self.weights[self._places[name]] = nn.Parameter(value)

    def _value(self, name: str, values: dict[str, Tensor], device: torch.device) -> Tensor:
        if name in values:
            return values[name]
        if name in self._places:
            weight = self.weights[self._places[name]]
            return _fake_int8(weight) if name in self._int8_weights else weight
        return self._fixed[name].to(device)

    def _quantised(self, name: str, value: Tensor) -> Tensor:
        return self.steps[_key(name)](value) if _key(name) in self.steps else value

    def _check(self) -> None:
        for node in self._nodes:
            if node.op_type not in _OPERATORS:
                raise UntrainableGraph(
                    f"Graphs with the operator {node.op_type} cannot be trained here."
                )


class _FakeQuantiser(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Round to 256 levels going forward; let the gradient through (Esser et al., ICLR 2020).

    The step is trained, in its logarithm so that one learning rate fits wide and narrow ranges;
    which level is zero is not.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        step = (max(high, 0.0) - min(low, 0.0)) / _LEVELS
        self.log_step = nn.Parameter(torch.tensor([math.log(step)]))
        self.register_buffer("zero", torch.tensor([float(round(-min(low, 0.0) / step))]))

    def forward(self, value: Tensor) -> Tensor:
        # the one kernel that learns the step: public only as a slower module around it
        return torch._fake_quantize_learnable_per_tensor_affine(
            value,
            self.log_step.exp(),
            self.zero,
            0,
            _LEVELS,
            1 / math.sqrt(value.numel() * _LEVELS),
        )

    def range(self) -> tuple[float, float]:
        """The values of the lowest and the highest level."""
        step, zero = math.exp(self.log_step.item()), self.zero.item()
        return -zero * step, (_LEVELS - zero) * step


def _fake_int8(weight: Tensor) -> Tensor:
    """Each output channel in steps of a 127th of its largest weight."""
    step = weight.detach().abs().amax(dim=tuple(range(1, weight.ndim))) / 127
    zero = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, step.clamp(min=1e-12), zero, 0, -127, 127)


def _key(name: str) -> str:
    return name.replace(".", "|")  # torch keeps the dot to itself


def _conv(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    given = attributes(node)
    ends = list(given.get("pads", [0, 0, 0, 0]))  # type: ignore[call-overload]  # onnx is untyped
    image = inputs[0]
    if ends[:2] != ends[2:]:
        image = functional.pad(image, (ends[1], ends[3], ends[0], ends[2]))
        ends = [0, 0, 0, 0]
    bias = inputs[2] if len(inputs) > 2 else None
    return functional.conv2d(
        image,
        inputs[1],
        bias,
        given.get("strides", [1, 1]),
        ends[:2],
        given.get("dilations", [1, 1]),
        given.get("group", 1),
    )


def _conv_transpose(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    given = attributes(node)
    ends = list(given.get("pads", [0, 0, 0, 0]))  # type: ignore[call-overload]  # onnx is untyped
    bias = inputs[2] if len(inputs) > 2 else None
    return functional.conv_transpose2d(
        inputs[0], inputs[1], bias, given.get("strides", [1, 1]), ends[:2]
    )


def _clip(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    low, high = (float(limit) for limit in inputs[1:3])
    return torch.clamp(inputs[0], low, high)


def _gemm(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    weight = inputs[1] if attributes(node).get("transB") else inputs[1].t()
    return functional.linear(inputs[0], weight, inputs[2] if len(inputs) > 2 else None)


def _max_pool(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    given = attributes(node)
    ends = list(given.get("pads", [0, 0, 0, 0]))  # type: ignore[call-overload]  # onnx is untyped
    return functional.max_pool2d(
        inputs[0], given["kernel_shape"], given.get("strides", [1, 1]), ends[:2]
    )


def _resize(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    linear = attributes(node).get("mode") == b"linear"
    scales = [float(scale) for scale in inputs[-1][-2:]]
    if linear:
        return functional.interpolate(
            inputs[0], scale_factor=scales, mode="bilinear", align_corners=False
        )
    return functional.interpolate(inputs[0], scale_factor=scales, mode="nearest")


def _reduce_mean(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    given = attributes(node)
    axes = inputs[1].tolist() if len(inputs) > 1 else given["axes"]
    return torch.mean(inputs[0], dim=axes, keepdim=bool(given.get("keepdims", 1)))


def _concat(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    return torch.cat(inputs, dim=int(attributes(node)["axis"]))  # type: ignore[call-overload]  # onnx is untyped


_OPERATORS: dict[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Clip": _clip,
    "Relu": lambda node, inputs: functional.relu(inputs[0]),
    "Add": lambda node, inputs: inputs[0] + inputs[1],
    "Concat": _concat,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "GlobalAveragePool": lambda node, inputs: inputs[0].mean(dim=(2, 3), keepdim=True),
    "ReduceMean": _reduce_mean,
    "Flatten": lambda node, inputs: inputs[0].flatten(1),
    "Gemm": _gemm,
    "Identity": lambda node, inputs: inputs[0],
}
