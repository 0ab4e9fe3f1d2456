"""Small graphs of the kinds that are compressed, and images they can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.build.export import open_session
from models.build.packs import Samples, as_input

SIZE = 32
KEYS = ("bars", "blob", "nothing")


def samples(count: int = 48, seed: int = 0) -> Samples:
    """Bars, a bright blob, or noise alone, by turns; the blob has its outline."""
    rng = np.random.default_rng(seed)
    images = rng.integers(20, 60, (count, SIZE, SIZE)).astype(np.uint8)
    labels = np.arange(count) % len(KEYS)
    masks = np.zeros(images.shape, np.bool_)
    for image, label, mask in zip(images, labels, masks, strict=True):
        if label == 0:
            image[:, int(rng.integers(0, 4)) :: 4] = rng.integers(120, 200)
        if label == 1:
            row, column = rng.integers(4, 16, 2)
            mask[row : row + 12, column : column + 12] = True
            image[mask] = rng.integers(150, 250)
    known = labels != 0
    names = tuple(str(number) for number in range(count))
    return Samples(images, labels.astype(np.int64), masks, known, names, names)


class Builder:
    """Adds nodes with random weights, one after the other."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        }

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(
            helper.make_node(kind, inputs, [output], f"{kind}_{len(self.nodes)}", **attributes)
        )
        return output

    def convolution(
        self, source: str, inputs: int, outputs: int, size: int = 3, stride: int = 1, group: int = 1
    ) -> str:
        name = f"c{len(self.nodes)}"
        fan = inputs // group * size * size
        shape = (outputs, inputs // group, size, size)
        weight = self.rng.normal(0, np.sqrt(2 / fan), shape)
        self.constants[f"{name}.weight"] = weight.astype(np.float32)
        self.constants[f"{name}.bias"] = self.rng.normal(0, 0.1, outputs).astype(np.float32)
        edge = size // 2
        return self.node(
            "Conv",
            [source, f"{name}.weight", f"{name}.bias"],
            name,
            pads=[edge] * 4,
            strides=[stride] * 2,
            group=group,
        )

    def clip(self, source: str, name: str | None = None) -> str:
        return self.node("Clip", [source, "low", "high"], name or f"{source}.clip")

    def model(self, outputs: dict[str, list[object]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def body(build: Builder, width: int = 32) -> str:
    """A stem and one inverted residual, as EfficientNet-Lite has them: (N, 16, 16, 16)."""
    stem = build.clip(build.convolution("image", 1, 16, stride=2))
    wide = build.clip(build.convolution(stem, 16, width, size=1))
    wide = build.clip(build.convolution(wide, width, width, group=width))
    narrow = build.convolution(wide, width, 16, size=1)
    return build.node("Add", [stem, narrow], "residual")


def classifier(path: Path, seed: int = 0, width: int = 32) -> Path:
    """Random features with a head fitted to `samples`; all outputs of a class package."""
    build = Builder(seed)
    build.clip(build.convolution(body(build, width), 16, 64, size=1), "feature_map")
    build.node("GlobalAveragePool", ["feature_map"], "pooled_map")
    build.node("Flatten", ["pooled_map"], "pooled")
    build.constants["head.weight"] = np.zeros((len(KEYS), 64), np.float32)
    build.constants["head.bias"] = np.zeros(len(KEYS), np.float32)
    build.node("Gemm", ["pooled", "head.weight", "head.bias"], "logits", transB=1)
    build.constants["axes"] = build.rng.normal(0, 1, (64, 512)).astype(np.float32)
    build.node("MatMul", ["pooled", "axes"], "projected")
    build.node("ReduceMax", ["projected"], "ood_score", axes=[1], keepdims=0)
    build.node("Identity", ["head.weight"], "class_weights")
    outputs: dict[str, list[object]] = {
        "logits": ["n", len(KEYS)],
        "feature_map": ["n", 64, SIZE // 2, SIZE // 2],
        "class_weights": [len(KEYS), 64],
        "ood_score": ["n"],
    }
    _fit_head(build, outputs)
    onnx.save(build.model(outputs), path)
    return path


def outliner(path: Path, seed: int = 0) -> Path:
    """A small U-Net: down, up with a skip, mask logits at full size that find what is bright."""
    build = Builder(seed)
    down = body(build)
    deep = build.clip(build.convolution(down, 16, 24, stride=2))
    build.constants["scales"] = np.array([1, 1, 2, 2], np.float32)
    up = build.node("Resize", [deep, "", "scales"], "up", mode="nearest")
    wide = build.node("Concat", [up, down], "wide", axis=1)
    last = build.clip(build.convolution(wide, 40, 16))
    coarse = build.convolution(last, 16, 1, size=1)
    build.node("Resize", [coarse, "", "scales"], "mask_logits", mode="linear")
    outputs: dict[str, list[object]] = {"mask_logits": ["n", 1, SIZE, SIZE]}
    _fit_pixels(build, last, coarse, outputs)
    onnx.save(build.model(outputs), path)
    return path


def _fit_head(build: Builder, outputs: dict[str, list[object]]) -> None:
    """Least squares of one-hot labels on the pooled features, as logits."""
    given = samples(96, seed=7)
    session = open_session(build.model(outputs).SerializeToString())
    pooled = session.run(["feature_map"], {"image": as_input(given.images)})[0].mean(axis=(2, 3))
    wanted = 6 * np.eye(len(KEYS))[given.labels]
    solution = _ridge(pooled, wanted)
    build.constants["head.weight"] = solution[:-1].T.astype(np.float32)
    build.constants["head.bias"] = solution[-1].astype(np.float32)


def _fit_pixels(build: Builder, last: str, coarse: str, outputs: dict[str, list[object]]) -> None:
    """Least squares of the outline on the last features, pixel by pixel, as logits."""
    given = samples(48, seed=7)
    model = build.model(outputs | {last: ["n", 16, SIZE // 2, SIZE // 2]})
    features = open_session(model.SerializeToString()).run(
        [last], {"image": as_input(given.images)}
    )[0]
    known = given.masked
    wanted = np.where(given.masks[known][:, ::2, ::2], 5.0, -5.0).reshape(-1, 1)
    solution = _ridge(features[known].transpose(0, 2, 3, 1).reshape(-1, 16), wanted)
    build.constants[f"{coarse}.weight"] = solution[:-1].T.reshape(1, 16, 1, 1).astype(np.float32)
    build.constants[f"{coarse}.bias"] = solution[-1].astype(np.float32)


def _ridge(features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    rows = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
    return np.linalg.solve(rows.T @ rows + 0.3 * np.eye(rows.shape[1]), rows.T @ wanted)
