"""Training with quantisation: the weights and the steps of the int8 graph, learnt together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.build.compress.graph import Graph
from models.build.compress.quantise import quantise, quantised_ranges, quantised_weights
from models.build.compress.trainable import GraphModule
from models.build.compress.tune import Tuning, imitated, tune
from models.build.packs import Samples


def trained_for_int8(
    teacher: Graph,
    start: tuple[Graph, Path, int],
    train: Samples,
    how: Tuning,
    path: Path,
    progress: Callable[[str], None],
) -> Graph:
    """Write to `path` an int8 graph whose weights know of the rounding; give its float twin.

    `start` is a graph, its int8 file and how many of its first convolutions are fp32: the ranges
    of that file are where training starts from, and what it quantises is what is trained for.
    `teacher` is the fp32 graph to be imitated. The learnt ranges and weights go through the same
    quantisation as any others. Raises UntrainableGraph for one that cannot be trained.
    """
    graph, int8, fp32_convolutions = start
    outputs = imitated(graph.outputs)
    weights = quantised_weights(int8, graph)
    known = quantised_ranges(int8)
    student = GraphModule(graph, outputs, known, weights)
    tune(student, GraphModule(teacher, outputs), train, how, progress)
    trained = student.write_to(graph)
    quantise(trained, known | student.ranges(), fp32_convolutions, path)
    return trained
