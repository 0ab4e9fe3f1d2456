"""One file with everything a package promises: torch network to checked ONNX graph."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import onnxsim
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.networks import Classifier, Network, Outliner

OPSET = 17
TOLERANCE = 1e-4

Outputs = dict[str, npt.NDArray[np.float32]]


class _Served(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A fused copy of the network and its out-of-distribution score; gives named outputs."""

    names: tuple[str, ...]

    def __init__(self, network: Network, ood: nn.Module | None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        self.network.fuse()
        self.ood = None if ood is None else copy.deepcopy(ood).cpu()
        self.names += ("ood_score",) if self.ood is not None else ()
        self.eval().to(memory_format=torch.contiguous_format)

    def _scored(self, seen: Tensor, pooled: Tensor) -> tuple[Tensor, ...]:
        return () if self.ood is None else (self.ood(seen, pooled),)


class _ServedClassifier(_Served):
    """Image (N, 1, H, W) to logits (N, L), feature map (N, C, h, w) and maybe the score (N,)."""

    names = ("logits", "feature_map")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        feature_map = self.network.encoder.widen(self.network.encoder(image).deep)
        logits, pooled = self.network.classify(feature_map)
        return logits, feature_map, *self._scored(logits, pooled)


class _ServedOutliner(_Served):
    """Image (N, 1, H, W) to mask logits (N, K, H, W) and maybe the score (N,).

    The score's "logits" are all the pixels of the decoder, (N, K h w).
    """

    names = ("mask_logits",)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        heads = self.network(image)
        scale = image.shape[-1] // heads.mask_logits.shape[-1]
        outlines = heads.mask_logits
        if scale > 1:
            outlines = functional.interpolate(outlines, scale_factor=float(scale), mode="bilinear")
        return outlines, *self._scored(heads.mask_logits.flatten(1), heads.pooled)


class _ServedHead(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A classifier behind its feature map: (N, C, h, w) to logits (N, L)."""

    names = ("logits",)

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        self.eval()  # the exporter leaves a module as it found it, with all that it holds

    def forward(self, feature_map: Tensor) -> tuple[Tensor]:
        return (self.network.classify(feature_map)[0],)


def export(network: Network, ood: nn.Module | None, size: int, path: Path) -> tuple[Path, ...]:
    """Write the graph for images of (size, size); give the files that were written.

    A classifier whose head is pooling and one linear layer also gives its `class_weights`; any
    other gets `head.onnx` beside `path`, from feature map to logits, for the ablation of its cells.
    The network itself is left as it is. Raises ValueError where the graph differs from torch.
    """
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    if isinstance(network, Outliner):
        _write(_ServedOutliner(network, ood), example, "image", path)
        return (path,)
    if not isinstance(network, Classifier):
        raise TypeError(f"{type(network).__name__} is neither a classifier nor an outliner")
    served = _ServedClassifier(network, ood)
    served.network.decoder = None
    _write(served, example, "image", path)
    if network.explains == "cam":
        _add_class_weights(path)
        return (path,)
    with torch.inference_mode():
        feature_map = served(example)[1].clone()
    head = path.with_name("head.onnx")
    _write(_ServedHead(served.network), feature_map, "feature_map", head)
    return path, head


def _write(served: nn.Module, example: Tensor, name: str, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own successor
        torch.onnx.export(
            served,
            (example,),
            str(path),
            input_names=[name],
            output_names=list(served.names),
            dynamic_axes={axis: {0: "n"} for axis in (name, *served.names)},
            opset_version=OPSET,
            dynamo=False,
        )
    simple, same = onnxsim.simplify(onnx.load(path))
    if not same:
        raise ValueError("the simplified graph differs from the exported one")
    _keep_constants_together(simple.graph)
    onnx.checker.check_model(simple)
    onnx.save(simple, path)
    _compare(served, path, example)


def _keep_constants_together(graph: onnx.GraphProto) -> None:
    """Make initialisers of constant nodes: a quantiser takes the latter for activations."""
    constants = [node for node in graph.node if node.op_type == "Constant"]
    for node in (node for node in constants if node.attribute[0].name == "value"):
        constant = graph.initializer.add()
        constant.CopyFrom(node.attribute[0].t)
        constant.name = node.output[0]
        graph.node.remove(node)


def _add_class_weights(path: Path) -> None:
    """Give the classifier's weights (L, C) as an output, for class activation maps."""
    model = onnx.load(path)
    linear = next(node for node in model.graph.node if "logits" in node.output)
    if linear.op_type != "Gemm":
        raise ValueError("the classifier is not one linear layer")
    name = linear.input[1]
    shape = next(list(item.dims) for item in model.graph.initializer if item.name == name)
    model.graph.node.append(onnx.helper.make_node("Identity", [name], ["class_weights"]))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("class_weights", onnx.TensorProto.FLOAT, shape)
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _compare(served: nn.Module, path: Path, example: Tensor) -> None:
    """Raise ValueError if any output, in a batch or alone, is not torch's."""
    session = open_session(path)
    for batch in (example, example[:1]):
        with torch.inference_mode():
            expected = served(batch)
        outputs = run(session, batch.numpy())
        for name, tensor in zip(served.names, expected, strict=True):
            distance = float(np.abs(outputs[name] - tensor.numpy()).max())
            if not distance <= TOLERANCE * max(1.0, float(tensor.abs().max())):
                raise ValueError(f"{name} of the graph is {distance:.2g} away from torch")


def open_session(graph: Path | bytes) -> ort.InferenceSession:
    """The graph in onnxruntime, as it is served: on the CPU with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, images: npt.NDArray[np.float32]) -> Outputs:
    """All outputs by name for images (N, 1, rows, columns), or a head's feature maps."""
    names = [output.name for output in session.get_outputs()]
    feed = {session.get_inputs()[0].name: images}
    return dict(zip(names, session.run(names, feed), strict=True))
