"""Structured pruning: the least of the channels between two convolutions go, and are gone.

Only channels that stay inside of a block are touched (the expansion of an inverted residual, the
first of two convolutions of a step), so the block's input and output keep their shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from models.build.compress.graph import ACTIVATIONS, Graph, attributes, groups_of

_MULTIPLE = 8  # channels: the width of the kernels' blocks
_LEAST = 16


@dataclass(frozen=True)
class Chain:
    """A convolution that makes channels, those that work on each alone, and the one taking them."""

    maker: onnx.NodeProto
    depthwise: tuple[onnx.NodeProto, ...]
    taker: onnx.NodeProto


def pruned(graph: Graph, share: float) -> Graph:
    """A copy of the graph without the `share` of the channels inside each block that matter least.

    What a channel matters is the product of the absolute sums of the weights that make it, filter
    it and take it: rescaling a channel between two layers does not change it, and the batch norms,
    folded into the weights, are counted. What is left is a multiple of 8 channels, at least 16.
    """
    smaller = graph.copy()
    for chain in chains(smaller):
        importance = _importance(smaller, chain)
        kept = _kept(importance, share)
        if len(kept) < len(importance):
            _cut(smaller, chain, kept)
    del smaller.model.graph.value_info[:]
    onnx.checker.check_model(smaller.model)
    return Graph(smaller.model)


def chains(graph: Graph) -> Iterator[Chain]:
    """Every chain whose channels are seen by nobody else."""
    for node in graph.of_type("Conv"):
        if groups_of(node) != 1:
            continue
        depthwise, follower = [], _next(graph, node)
        while follower is not None and _is_depthwise(graph, follower):
            depthwise.append(follower)
            follower = _next(graph, follower)
        if follower is not None and groups_of(follower) == 1:
            yield Chain(node, tuple(depthwise), follower)


def _next(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The convolution that alone takes this one's output, with or without an activation between."""
    taker = graph.only_consumer(node.output[0])
    if taker is not None and taker.op_type in ACTIVATIONS:
        taker = graph.only_consumer(taker.output[0])
    return taker if taker is not None and taker.op_type == "Conv" else None


def _is_depthwise(graph: Graph, node: onnx.NodeProto) -> bool:
    shape = graph.constants[node.input[1]].shape
    return groups_of(node) > 1 and shape[0] == groups_of(node) and shape[1] == 1


def _importance(graph: Graph, chain: Chain) -> npt.NDArray[np.float64]:
    made = np.abs(graph.constants[chain.maker.input[1]]).sum(axis=(1, 2, 3), dtype=np.float64)
    for node in chain.depthwise:
        made *= np.abs(graph.constants[node.input[1]]).sum(axis=(1, 2, 3), dtype=np.float64)
    taken = np.abs(graph.constants[chain.taker.input[1]]).sum(axis=(0, 2, 3), dtype=np.float64)
    return np.asarray(made * taken)


def _kept(importance: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.int64]:
    wanted = len(importance) * (1 - share)
    count = max(_LEAST, _MULTIPLE * round(wanted / _MULTIPLE))
    return np.sort(np.argsort(-importance, kind="stable")[: min(count, len(importance))])


def _cut(graph: Graph, chain: Chain, kept: npt.NDArray[np.int64]) -> None:
    for node in (chain.maker, *chain.depthwise):
        for name in node.input[1:]:
            graph.set_constant(name, graph.constants[name][kept])
    for node in chain.depthwise:
        for item in node.attribute:
            if item.name == "group":
                item.i = len(kept)
    name = chain.taker.input[1]
    graph.set_constant(name, graph.constants[name][:, kept])


def unit_convolution(node: onnx.NodeProto) -> bool:
    """Whether a convolution is a plain matrix product at every pixel, but for its weight's size."""
    given = attributes(node)
    plain = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    return groups_of(node) == 1 and all(given.get(k, v) == v for k, v in plain.items())
