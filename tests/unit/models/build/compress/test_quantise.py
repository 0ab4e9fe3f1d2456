from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.build.compress.compact import compact
from models.build.compress.graph import Graph, macs
from models.build.compress.quantise import float_nodes, quantise, quantised_ranges
from models.build.compress.ranges import Activations, least_divergent_share
from models.build.export import open_session, run
from models.build.packs import as_input
from tests.unit.models.build.compress.graphs import classifier, outliner, samples


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("graph") / "fp32.onnx")


@pytest.fixture(scope="module")
def activations(fp32: Path) -> Activations:
    return Activations(Graph.read(fp32), samples(16).images)


def test_the_extremes_contain_what_was_seen_and_zero(activations: Activations) -> None:
    ranges = activations.ranges("minmax")
    low, high = ranges["image"]
    images = as_input(samples(16).images)
    assert low == 0
    assert high == pytest.approx(images.max())
    assert all(low <= 0 <= high for low, high in ranges.values())
    assert ranges["feature_map"][0] == 0


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_the_other_methods_only_narrow(activations: Activations, method: str) -> None:
    widest, ranges = activations.ranges("minmax"), activations.ranges(method)
    assert ranges.keys() == widest.keys()
    assert all(ranges[n][0] >= widest[n][0] - 1e-6 for n in ranges)
    assert all(ranges[n][1] <= widest[n][1] + 1e-6 for n in ranges)


def test_entropy_cuts_off_a_far_outlier_and_not_a_level_distribution() -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 1, 20_000).astype(np.float32)
    tailed = np.abs(rng.normal(0, 1, 20_000)).astype(np.float32)
    tailed[0] = 40
    assert least_divergent_share(level, 0, 1) > 0.95
    assert least_divergent_share(tailed, 0, 40) < 0.6


def test_zeros_do_not_make_narrowing_look_harmless() -> None:
    values = np.random.default_rng(0).uniform(0, 6, 20_000).astype(np.float32)
    values[:18_000] = 0
    assert least_divergent_share(values, 0, 6) > 0.95


@pytest.mark.parametrize("kept", [0, 2])
def test_int8_answers_nearly_as_fp32_with_every_output(
    fp32: Path, activations: Activations, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "int8.onnx"
    quantise(Graph.read(fp32), activations.ranges("minmax"), kept, path)
    images = as_input(samples(24, seed=3).images)
    expected, outputs = (run(open_session(p), images) for p in (fp32, path))
    assert outputs.keys() == expected.keys()
    for name, values in outputs.items():
        assert values.dtype == np.float32
        off = np.abs(values - expected[name]).mean()
        assert off < 0.06 * max(np.ptp(expected[name]), 1e-6), name
    assert (outputs["class_weights"] == expected["class_weights"]).all()


def test_activations_are_unsigned_and_weights_signed_by_channel(
    fp32: Path, activations: Activations, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    quantise(Graph.read(fp32), activations.ranges("minmax"), 0, path)
    graph = Graph.read(path)
    zeros = {graph.constants[node.input[2]].dtype for node in graph.of_type("QuantizeLinear")}
    assert zeros == {np.dtype(np.uint8)}
    for node in graph.of_type("Conv"):
        weight = graph.producers[node.input[1]]
        assert graph.constants[weight.input[0]].dtype == np.int8
        assert len(graph.constants[weight.input[1]]) == len(graph.constants[weight.input[0]])


@pytest.mark.parametrize(("kept", "quantised"), [(0, 5), (1, 4), (3, 2)])
def test_the_first_convolutions_stay_float(
    fp32: Path, activations: Activations, tmp_path: Path, kept: int, quantised: int
) -> None:
    path = tmp_path / "int8.onnx"
    quantise(Graph.read(fp32), activations.ranges("minmax"), kept, path)
    graph = Graph.read(path)
    assert sum(n.input[1] in graph.producers for n in graph.of_type("Conv")) == quantised


def test_the_convolution_of_the_mask_logits_stays_float(tmp_path: Path) -> None:
    graph = Graph.read(outliner(tmp_path / "fp32.onnx"))
    kept = float_nodes(graph, 0)
    last = graph.of_type("Conv")[-1]
    assert last.name in kept
    assert graph.of_type("Conv")[-2].name not in kept
    assert graph.of_type("Concat")[0].name not in kept


def test_the_ranges_can_be_read_back_under_their_names(
    fp32: Path, activations: Activations, tmp_path: Path
) -> None:
    path, ranges = tmp_path / "int8.onnx", activations.ranges("minmax")
    quantise(Graph.read(fp32), ranges, 0, path)
    known = quantised_ranges(path)
    assert "feature_map" in known
    for name, (low, high) in known.items():
        step = (high - low) / 255
        assert low == pytest.approx(ranges[name][0], abs=step)
        assert high == pytest.approx(ranges[name][1], abs=step)


def test_a_large_matrix_is_held_as_int8_and_the_score_stays(fp32: Path) -> None:
    model = onnx.load(fp32)
    small = compact(model)
    assert len(small.SerializeToString()) < 0.5 * len(model.SerializeToString())
    images = as_input(samples(12).images)
    before, after = (
        run(open_session(m.SerializeToString()), images)["ood_score"] for m in (model, small)
    )
    assert np.abs(after - before).max() < 0.01 * before.mean()


def test_the_work_of_a_graph_is_counted_by_hand(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "fp32.onnx"))
    pixels = 16 * 16
    block = 9 * 16 + 16 * 32 + 9 * 32 + 32 * 16 + 16 * 64
    assert macs(model) == pixels * block + 64 * 3 + 64 * 512


def test_int8_does_the_same_work(fp32: Path, activations: Activations, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    quantise(Graph.read(fp32), activations.ranges("minmax"), 0, path)
    assert macs(onnx.load(path)) == macs(onnx.load(fp32))


def test_constants_that_nothing_takes_are_dropped(
    fp32: Path, activations: Activations, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    quantise(Graph.read(fp32), activations.ranges("minmax"), 0, path)
    model = onnx.load(path)
    used = {name for node in model.graph.node for name in node.input}
    assert {item.name for item in model.graph.initializer} <= used
