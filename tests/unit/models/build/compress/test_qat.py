from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.build.compress.graph import Graph
from models.build.compress.qat import trained_for_int8
from models.build.compress.quantise import quantise, quantised_ranges, quantised_weights
from models.build.compress.ranges import Activations
from models.build.compress.trainable import GraphModule, UntrainableGraph
from models.build.compress.tune import Tuning, tune
from models.build.export import open_session, run
from models.build.packs import as_input
from tests.unit.models.build.compress.graphs import classifier, outliner, samples


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("graph") / "fp32.onnx")


def _says(module: GraphModule, name: str, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(module.eval()(torch.from_numpy(images))[name].numpy())


@pytest.mark.parametrize(("make", "output"), [(classifier, "logits"), (outliner, "mask_logits")])
def test_the_torch_twin_of_a_graph_answers_the_same(make, output: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # pytest gives it
    path, images = make(tmp_path / "fp32.onnx"), as_input(samples(6).images)
    twin = GraphModule(Graph.read(path), [output])
    expected = run(open_session(path), images)[output]
    assert np.abs(_says(twin, output, images) - expected).max() < 1e-4


def test_fake_quantisation_foretells_the_int8_file(fp32: Path, tmp_path: Path) -> None:
    graph, images, int8 = Graph.read(fp32), samples(12).images, tmp_path / "int8.onnx"
    quantise(graph, Activations(graph, images).ranges("minmax"), 0, int8)
    twin = GraphModule(graph, ["logits"], quantised_ranges(int8), quantised_weights(int8, graph))
    plain, real = (run(open_session(p), as_input(images))["logits"] for p in (fp32, int8))
    off = np.abs(_says(twin, "logits", as_input(images)) - real).mean()
    assert off < 0.35 * np.abs(plain - real).mean()


def test_training_brings_a_badly_ranged_int8_graph_back(fp32: Path, tmp_path: Path) -> None:
    graph, given, int8 = Graph.read(fp32), samples(24), tmp_path / "int8.onnx"
    ranges = Activations(graph, given.images).ranges("minmax")
    narrow = {name: (low * 0.4, high * 0.4) for name, (low, high) in ranges.items()}
    quantise(graph, narrow, 0, int8)
    after = tmp_path / "after.onnx"
    how = Tuning(epochs=12, learning_rate=3e-3, seed=0)
    lines: list[str] = []
    trained_for_int8(graph, (graph, int8, 0), given, how, after, lines.append)
    images = as_input(samples(24, seed=5).images)
    expected, before, learnt = (run(open_session(p), images)["logits"] for p in (fp32, int8, after))
    assert np.abs(learnt - expected).mean() < 0.6 * np.abs(before - expected).mean()
    assert len(lines) == 12
    assert quantised_ranges(after).keys() == quantised_ranges(int8).keys()


def test_the_same_seed_trains_the_same_weights(fp32: Path) -> None:
    graph, given = Graph.read(fp32), samples(16)
    trained = []
    for _ in range(2):
        student = GraphModule(graph, ["logits"], {"image": (0.0, 0.5)})
        tune(student, GraphModule(graph, ["logits"]), given, Tuning(1, 1e-3, 4), lambda line: None)
        trained.append(student.write_to(graph).constants["head.weight"])
    assert (trained[0] == trained[1]).all()
    assert (trained[0] != graph.constants["head.weight"]).any()


def test_a_graph_with_an_unknown_operator_is_refused_by_name(fp32: Path) -> None:
    with pytest.raises(UntrainableGraph, match="MatMul"):
        GraphModule(Graph.read(fp32), ["ood_score"])
