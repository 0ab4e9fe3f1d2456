"""Models of 1 kB with known answers, for tests of everything around a model.

`toy_model` calls large bright areas "glow": the more cells of the image are brighter than half,
the more probable. Noise is unlike its "training data". `toy_cells` answers alike, with its head in
a graph of its own. `toy_outline` outlines what is brighter than half, after `toy_model` has found
glow or denied it. `python -m tests.reference.toy` writes the packages again; that needs onnx, which
is in the extra `build`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from models.preprocess import prepare
from models.reference import CASES, answers_of
from models.registry import ModelPackage, Registry, load_package

FOLDER = Path(__file__).with_name("toy_model")
CELLS = FOLDER.with_name("toy_cells")
OUTLINE = FOLDER.with_name("toy_outline")


def toy_package() -> ModelPackage:
    """The classification, verified."""
    return load_package(FOLDER)


def toy_cells() -> ModelPackage:
    """The classification with a head of its own, verified."""
    return load_package(CELLS)


def toy_outline() -> ModelPackage:
    """The segmentation that follows the classification, verified."""
    return load_package(OUTLINE)


def write_int8(folder: Path, *, gates_held: bool = True, preferred: str = "int8") -> Path:
    """The classification again, with an int8 graph that is the fp32 graph in disguise."""
    shutil.copytree(FOLDER, folder)
    graph = (folder / "fp32.onnx").read_bytes()
    (folder / "int8.onnx").write_bytes(graph)
    manifest = folder / "model.toml"
    figures = f"""[precision]
preferred = "{preferred}"
reason = "The gates of the build held."
disagreement_limit = 0.05

[precision.int8]
agreement = 0.99
speed_up = 2.0
smaller = 3.6
gates_held = {str(gates_held).lower()}

[attributes]"""
    listed = f'[files]\n"int8.onnx" = "{hashlib.sha256(graph).hexdigest()}"'
    text = manifest.read_text(encoding="utf-8").replace("[files]", listed)
    text = re.sub(r"\[precision\].*?\[attributes\]", figures, text, flags=re.DOTALL)
    manifest.write_text(text, encoding="utf-8")
    answer_as(folder, {"fp32": 0.0, "int8": 0.0})
    return folder


def answer_as(folder: Path, shift: Mapping[str, float]) -> None:
    """State answers by precision; all but a shift of 0 are not those of the graph."""
    cases = json.loads((folder / CASES).read_text(encoding="utf-8"))
    for case in cases["cases"]:
        right = case["answers"]["fp32"]
        case["answers"] = {
            name: right | {"logits": [value + by for value in right["logits"]]}
            for name, by in shift.items()
        }
    cases["tolerance"] = dict.fromkeys(shift, 0.001)
    (folder / CASES).write_text(json.dumps(cases), encoding="utf-8")


def toy_registry() -> Registry:
    """A registry of the toy model alone."""
    return Registry((toy_package(),))


def _graph(*, cam: bool) -> bytes:
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
        *([helper.make_node("Identity", ["weights"], ["class_weights"])] if cam else []),
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
            *(
                [helper.make_tensor_value_info("class_weights", TensorProto.FLOAT, [3, 2])]
                if cam
                else []
            ),
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


_HEAD = """
<ir_version: 9, opset_import: ["" : 18]>
head (float[N,2,h,w] feature_map) => (float[N,3] logits)
<int64[2] axes = {2, 3}, float[3,2] weights = {60, 0, 0, 6, -60, 0}, float[3] bias = {-3, 0, 3}>
{
  pooled = ReduceMean <keepdims = 0> (feature_map, axes)
  logits = Gemm <transB = 1> (pooled, weights, bias)
}
"""

# 40 (brightness of a quarter as many rows and columns - 0.5)
_OUTLINE = """
<ir_version: 9, opset_import: ["" : 18]>
outline (float[N,1,224,224] image) => (float[N,1,56,56] mask_logits)
<float half = {0.5}, float steep = {40}>
{
  cells = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (image)
  above = Sub (cells, half)
  mask_logits = Mul (above, steep)
}
"""

_STRUCTURE = """[outputs]
mask_logits = "mask_logits"

[[labels]]
key = "glow-area"
display = "Glow"
role = "structure"
threshold = 0.5
coding = { system = "http://example.org/toy", code = "glow", display = "Glow" }

[outline]
min_area_fraction = 0.001
measure = "area"
parts = 1

[chain]
after = "toy-glow"
when = ["glow", "none"]
witnesses = ["none"]

"""


def _write() -> None:
    from onnx import parser

    def graph(text: str) -> bytes:
        return bytes(parser.parse_model(text).SerializeToString())

    text = (FOLDER / "model.toml").read_text(encoding="utf-8")
    _write_package(FOLDER, text, {"fp32.onnx": _graph(cam=True)})
    cells = text.replace("toy-glow", "toy-cells").replace('"cam"', '"cells"')
    cells = cells.replace('class_weights = "class_weights"\n', "")
    _write_package(CELLS, cells, {"fp32.onnx": _graph(cam=False), "head.onnx": graph(_HEAD)})
    outline = text.replace("toy-glow", "toy-outline").replace('"classification"', '"segmentation"')
    outline = outline.replace('"cam"', '"outline"')
    classes = outline[outline.index("[outputs]") : outline.index("[calibration]")]
    series = outline[outline.index("[out_of_distribution]") : outline.index("[explanation]")]
    outline = outline.replace(classes, _STRUCTURE).replace(series, "")
    _write_package(OUTLINE, outline, {"fp32.onnx": graph(_OUTLINE)})


def _write_package(folder: Path, manifest: str, graphs: Mapping[str, bytes]) -> None:
    (folder / "reference").mkdir(parents=True, exist_ok=True)
    for name, content in graphs.items():
        (folder / name).write_bytes(content)
    hashes = "".join(
        f'"{name}" = "{hashlib.sha256(content).hexdigest()}"\n' for name, content in graphs.items()
    )
    text = re.sub(r"\[files\]\n.*?\n\n", f"[files]\n{hashes}\n", manifest, flags=re.DOTALL)
    (folder / "model.toml").write_text(text, encoding="utf-8")
    _write_references(load_package(folder))


def _write_references(package: ModelPackage) -> None:
    """Draw two pictures and write down what the graph says of them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        package.read("fp32.onnx"), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    ramp = (np.arange(64) * np.ones((64, 1))).astype(np.uint8)
    block = np.where(ramp > 40, 200, 20).astype(np.uint8)
    cases = []
    for name, picture in {"ramp.png": ramp, "block.png": block}.items():
        Image.fromarray(picture).save(package.folder / "reference" / name)
        image = prepare(picture, package.manifest.input)
        outputs = dict(zip(names, session.run(names, {"image": image}), strict=True))
        (answer,) = answers_of(package.manifest, outputs)
        stated = {key: value for key, value in asdict(answer).items() if value is not None}
        cases.append(
            {"image": name, "shows": name, "pixel_aspect": 1.0, "answers": {"fp32": stated}}
        )
    table = {"tolerance": {"fp32": 0.001}, "cases": cases}
    (package.folder / CASES).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
