"""One file with everything a package promises: torch network to checked ONNX graph."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import onnxsim
import torch
from torch import Tensor, nn

from models.build.network import LiteClassifier, pool

OUTPUTS = ("logits", "feature_map", "ood_score")
OPSET = 17
TOLERANCE = 1e-4

Outputs = dict[str, npt.NDArray[np.float32]]


class Served(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The network with its out-of-distribution score: image (N, 1, 224, 224) to OUTPUTS."""

    def __init__(self, network: LiteClassifier, ood: nn.Module) -> None:
        super().__init__()
        self.network, self.ood = network, ood

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(logits (N, L), feature map (N, 1280, 7, 7), out-of-distribution score (N,))."""
        feature_map = self.network.feature_map(image)
        pooled = pool(feature_map)
        logits = self.network.classifier(pooled)
        return logits, feature_map, self.ood(logits, pooled)


def export(network: LiteClassifier, ood: nn.Module, size: int, path: Path) -> None:
    """Write the graph for images of (size, size); raise ValueError if it differs from torch."""
    served = Served(network, ood).eval().to(memory_format=torch.contiguous_format)
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own successor
        torch.onnx.export(
            served,
            (example,),
            str(path),
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "n"} for name in ("image", *OUTPUTS)},
            opset_version=OPSET,
            dynamo=False,
        )
    simple, same = onnxsim.simplify(onnx.load(path))
    if not same:
        raise ValueError("the simplified graph differs from the exported one")
    _add_class_weights(simple)
    onnx.checker.check_model(simple)
    onnx.save(simple, path)
    _compare(served, path, example)


def _add_class_weights(model: onnx.ModelProto) -> None:
    """Give the classifier's weights (L, 1280) as an output, for class activation maps."""
    linear = next(node for node in model.graph.node if "logits" in node.output)
    if linear.op_type != "Gemm":
        raise ValueError("the classifier is not one linear layer")
    name = linear.input[1]
    shape = next(list(item.dims) for item in model.graph.initializer if item.name == name)
    model.graph.node.append(onnx.helper.make_node("Identity", [name], ["class_weights"]))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("class_weights", onnx.TensorProto.FLOAT, shape)
    )


def _compare(served: Served, path: Path, example: Tensor) -> None:
    with torch.inference_mode():
        expected = served(example)
    outputs = run(open_session(path), example.numpy())
    for name, tensor in zip(OUTPUTS, expected, strict=True):
        # the feature map is bounded by 6 (ReLU6); logits and scores are near 1
        distance = float(np.abs(outputs[name] - tensor.numpy()).max())
        if not distance <= TOLERANCE * max(1.0, float(tensor.abs().max())):
            raise ValueError(f"{name} of the graph is {distance:.2g} away from torch")


def open_session(path: Path) -> ort.InferenceSession:
    """The graph in onnxruntime, as it is served: on the CPU with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, images: npt.NDArray[np.float32]) -> Outputs:
    """All outputs by name for images (N, 1, rows, columns)."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))
