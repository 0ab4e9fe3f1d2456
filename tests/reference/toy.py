"""A model of 2 kB with a known answer, for tests of everything around a model.

It calls large bright areas "glow": the more cells of the image are brighter than half,
the more probable. Noise is unlike its "training data". `python -m tests.reference.toy`
writes the package again; that needs onnx, which is in the extra `build`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from models.reference import CASES
from models.registry import ModelPackage, Registry, load_package

FOLDER = Path(__file__).with_name("toy_model")


def toy_package() -> ModelPackage:
    """The package, verified."""
    return load_package(FOLDER)


def toy_registry() -> Registry:
    """A registry of the toy model alone."""
    return Registry((toy_package(),))


def _graph() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: object) -> object:
        return numpy_helper.from_array(np.asarray(value, np.float32), name)

    # cell brightness above a half speaks for glow, brightness between for glimmer
    weights = [[60.0, 0.0], [0.0, 6.0], [-60.0, 0.0]]
    nodes = [
        helper.make_node(
            "AveragePool", ["image"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]
        ),
        helper.make_node("Sub", ["cells", "half"], ["above"]),
        helper.make_node("Relu", ["above"], ["bright"]),
        helper.make_node("Concat", ["bright", "cells"], ["feature_map"], axis=1),
        helper.make_node("ReduceMean", ["feature_map", "axes"], ["pooled"], keepdims=0),
        helper.make_node("Gemm", ["pooled", "weights", "bias"], ["logits"], transB=1),
        helper.make_node("Identity", ["weights"], ["class_weights"]),
        helper.make_node(
            "AveragePool", ["image"], ["smooth"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Sub", ["image", "smooth"], ["rough"]),
        helper.make_node("Abs", ["rough"], ["roughness"]),
        helper.make_node("ReduceMean", ["roughness", "all"], ["ood_score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 224, 224])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("feature_map", TensorProto.FLOAT, ["N", 2, 7, 7]),
            helper.make_tensor_value_info("class_weights", TensorProto.FLOAT, [3, 2]),
            helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, ["N"]),
        ],
        [
            constant("half", 0.5),
            constant("weights", weights),
            constant("bias", [-3.0, 0.0, 3.0]),
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "all"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def write_references(folder: Path) -> None:
    """Draw two pictures and write down what the graph says of them."""
    import onnxruntime

    from models.preprocess import prepare

    package = load_package(folder)
    session = onnxruntime.InferenceSession(
        package.read("fp32.onnx"), providers=["CPUExecutionProvider"]
    )
    (folder / "reference").mkdir(exist_ok=True)
    cases = []
    ramp = np.arange(64, dtype=np.uint8) * np.ones((64, 1), np.uint8)
    for name, picture in {"ramp.png": ramp, "block.png": np.where(ramp > 40, 200, 20)}.items():
        Image.fromarray(picture.astype(np.uint8)).save(folder / "reference" / name)
        image = prepare(picture.astype(np.uint8), package.manifest.input)
        logits, score = session.run(["logits", "ood_score"], {"image": image})
        answer = {"logits": logits[0].tolist(), "ood_score": float(score[0])}
        cases.append(
            {"image": name, "shows": name, "pixel_aspect": 1.0, "answers": {"fp32": answer}}
        )
    table = {"tolerance": {"fp32": 0.001}, "cases": cases}
    (folder / CASES).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _write() -> None:
    graph = _graph()
    (FOLDER / "fp32.onnx").write_bytes(graph)
    manifest = FOLDER / "model.toml"
    lines = [
        f'"fp32.onnx" = "{hashlib.sha256(graph).hexdigest()}"' if '"fp32.onnx"' in line else line
        for line in manifest.read_text().splitlines()
    ]
    manifest.write_text("\n".join(lines) + "\n")
    write_references(FOLDER)


if __name__ == "__main__":
    _write()
