"""The maps of a graph as the service makes them, and those of its shuffled copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from models.build.evaluate.faithfulness import Explained, Maps, Planes
from models.build.export import open_session, run

_SHUFFLED = {"classifier": 1, "last quarter": 0.25, "all weights": 1.0}


def explained(graph: Path, head: Path | None, temperature: float, seed: int) -> Explained:
    """A classifier's graph with its maps; `head`, where its logits are not linear in the map.

    Shuffled are the classifier alone, the last quarter of the layers with weights, and all.
    """
    model = onnx.load(graph)
    weights = _weights(model)
    copies: dict[str, Maps] = {}
    for name, how_many in _SHUFFLED.items():
        count = 1 if name == "classifier" else max(1, round(how_many * len(weights)))
        chosen = weights[-count:]
        content = _shuffled(model, chosen, seed)
        tail = _shuffled_head(head, chosen, seed) if head else None
        copies[name] = maps_of(open_session(content), tail)
    tail = open_session(head) if head else None
    return Explained(maps_of(open_session(graph), tail), temperature, copies)


def maps_of(session: ort.InferenceSession, head: ort.InferenceSession | None) -> Maps:
    """Logits and maps by class activation, or by the ablation of each cell for the head alone."""

    def maps(images: Planes) -> tuple[Planes, Planes]:
        outputs = run(session, images)
        features = outputs["feature_map"]
        if head is None:
            return outputs["logits"], np.einsum("lc,nchw->nlhw", outputs["class_weights"], features)
        return outputs["logits"], np.stack(
            [
                ablated(head, one, logits)
                for one, logits in zip(features, outputs["logits"], strict=True)
            ]
        )

    return maps


def ablated(head: ort.InferenceSession, feature_map: Planes, logits: Planes) -> Planes:
    """How far each logit (L,) falls without each cell of a map (C, h, w): (L, h, w)."""
    channels, down, across = feature_map.shape
    batch = np.repeat(feature_map[np.newaxis], down * across, axis=0).reshape(
        -1, channels, down * across
    )
    cells = np.arange(down * across)
    batch[cells, :, cells] = 0
    without = run(head, batch.reshape(-1, channels, down, across))["logits"]
    return np.asarray((logits - without).T.reshape(-1, down, across), np.float32)


def _weights(model: onnx.ModelProto) -> list[str]:
    """The names of the weights of convolutions and linear layers, in the order they are used."""
    stored = {item.name for item in model.graph.initializer}
    return [
        node.input[1]
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul")
        and len(node.input) > 1
        and node.input[1] in stored
        and not node.output[0].startswith("ood")
        and _feeds_logits(model, node)
    ]


def _feeds_logits(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether the logits depend on the node, and not only the out-of-distribution score."""
    wanted = {"logits"}
    for other in reversed(model.graph.node):
        if wanted & set(other.output):
            wanted |= set(other.input)
    return bool(wanted & set(node.output))


def _shuffled(model: onnx.ModelProto, names: Sequence[str], seed: int) -> bytes:
    """The graph with the values of these weights in another order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    rng = np.random.default_rng(seed)
    for item in copy.graph.initializer:
        if item.name in names:
            values: npt.NDArray[np.generic] = numpy_helper.to_array(item)
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(mixed), item.name))
    return bytes(copy.SerializeToString())


def _shuffled_head(head: Path, names: Sequence[str], seed: int) -> ort.InferenceSession:
    """The head with its last weight shuffled alike; its other weights keep their names' values."""
    model = onnx.load(head)
    own = _weights(model)
    return open_session(_shuffled(model, [n for n in own if n in names] or own[-1:], seed))
