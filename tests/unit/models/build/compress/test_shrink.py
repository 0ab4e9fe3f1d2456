from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.build.compress.graph import Graph, groups_of, macs
from models.build.compress.low_rank import factorised, rank_for
from models.build.compress.prune import chains, pruned
from models.build.export import open_session, run
from models.build.packs import as_input
from tests.unit.models.build.compress.graphs import classifier, outliner, samples


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph.read(classifier(tmp_path / "fp32.onnx"))


def _logits(graph: Graph) -> np.ndarray:
    session = open_session(graph.model.SerializeToString())
    return run(session, as_input(samples(12).images))["logits"]


def test_a_pruned_graph_is_really_smaller_and_still_runs(graph: Graph) -> None:
    smaller = pruned(graph, 0.5)
    wide = [groups_of(node) for node in smaller.of_type("Conv") if groups_of(node) > 1]
    assert wide == [16]
    assert macs(smaller.model) < macs(graph.model)
    assert smaller.model.ByteSize() < graph.model.ByteSize()
    assert _logits(smaller).shape == _logits(graph).shape


def test_channels_that_do_nothing_go_first_and_change_nothing(graph: Graph) -> None:
    (chain,) = chains(graph)
    weight = graph.constants[chain.taker.input[1]].copy()
    dead = np.arange(0, 32, 2)
    weight[:, dead] = 0
    graph.set_constant(chain.taker.input[1], weight)
    assert np.allclose(_logits(pruned(graph, 0.5)), _logits(graph), atol=1e-4)


def test_what_leaves_a_block_keeps_its_channels(graph: Graph) -> None:
    smaller = pruned(graph, 0.5)
    made = {n.output[0]: smaller.constants[n.input[1]].shape[0] for n in smaller.of_type("Conv")}
    first, *_, last = made.values()
    assert (first, last) == (16, 64)


def test_pruning_nothing_gives_the_same_graph(graph: Graph) -> None:
    assert (_logits(pruned(graph, 0.0)) == _logits(graph)).all()


def test_an_outline_graph_is_pruned_inside_its_blocks_only(tmp_path: Path) -> None:
    whole = Graph.read(outliner(tmp_path / "fp32.onnx"))
    smaller = pruned(whole, 0.5)
    masks = run(open_session(smaller.model.SerializeToString()), as_input(samples(3).images))
    assert masks["mask_logits"].shape == (3, 1, 32, 32)
    assert macs(smaller.model) < macs(whole.model)


def test_a_layer_of_low_rank_is_factorised_without_loss(tmp_path: Path) -> None:
    graph = Graph.read(classifier(tmp_path / "fp32.onnx", width=128))
    expand = graph.of_type("Conv")[1]
    rng = np.random.default_rng(0)
    thin = (rng.normal(size=(128, 4)) @ rng.normal(size=(4, 16))).astype(np.float32)
    graph.set_constant(expand.input[1], thin[:, :, None, None])
    smaller = factorised(graph, 0.9999)
    assert len(smaller.of_type("Conv")) == len(graph.of_type("Conv")) + 1
    assert macs(smaller.model) < macs(graph.model)
    assert np.allclose(_logits(smaller), _logits(graph), atol=0.05)


def test_a_layer_of_full_rank_stays_whole(graph: Graph) -> None:
    same = factorised(graph, 0.9999)
    assert [node.op_type for node in same.nodes] == [node.op_type for node in graph.nodes]


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.9, 2), (1.0, 3)])
def test_the_rank_is_the_least_that_keeps_the_energy(energy: float, rank: int) -> None:
    assert rank_for(np.array([3.0, 2.0, 1.0]), energy) == rank


def test_a_changed_copy_leaves_the_graph_it_came_from(graph: Graph) -> None:
    before = graph.model.SerializeToString()
    pruned(graph, 0.5)
    factorised(graph, 0.5)
    assert graph.model.SerializeToString() == before
    onnx.checker.check_model(graph.model)
