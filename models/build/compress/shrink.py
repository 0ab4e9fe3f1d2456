"""Fewer channels and thinner layers, and then a tuning back to the answers of before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from models.build.compress.graph import Graph, macs
from models.build.compress.low_rank import factorised
from models.build.compress.prune import pruned
from models.build.compress.trainable import GraphModule, UntrainableGraph
from models.build.compress.tune import Tuning, imitated, tune
from models.build.packs import Samples
from models.build.recipe import Recipe


def shrunk(
    fp32: Path, train: Samples, recipe: Recipe, work: Path, progress: Callable[[str], None]
) -> list[tuple[str, Path]]:
    """(what was done, the graph after it) of each step the recipe asks for, in fp32.

    The last graph is tuned to imitate the one in `fp32`, for the epochs of the training with
    quantisation and at least one. There is no step where none is asked for, or where none makes
    the graph do less.
    """
    asked, start = recipe.compress, Graph.read(fp32)
    graph, steps = start, list[tuple[str, Path]]()
    if asked.prune:
        graph = _step(
            f"pruned by {100 * asked.prune:.0f} %", pruned(graph, asked.prune), steps, work
        )
    if asked.low_rank:
        name = f"factorised to {100 * asked.low_rank:.0f} % of the energy"
        graph = _step(name, factorised(graph, asked.low_rank), steps, work)
    if not steps or macs(graph.model) >= macs(start.model):
        return []
    how = Tuning(max(1, asked.qat_epochs), asked.qat_learning_rate, recipe.seed)
    try:
        tuned = _tuned(graph, start, train, how, progress)
    except UntrainableGraph as error:
        progress(error.sentence)
        return steps
    _step(f"{' and '.join(name for name, _ in steps)}, tuned", tuned, steps, work)
    return steps


def _step(name: str, graph: Graph, steps: list[tuple[str, Path]], work: Path) -> Graph:
    path = work / f"shrunk-{len(steps)}.onnx"
    onnx.save(graph.model, path)
    steps.append((name, path))
    return graph


def _tuned(
    graph: Graph, start: Graph, train: Samples, how: Tuning, progress: Callable[[str], None]
) -> Graph:
    outputs = imitated(graph.outputs)
    student = GraphModule(graph, outputs)
    tune(student, GraphModule(start, outputs), train, how, progress)
    return student.write_to(graph)
