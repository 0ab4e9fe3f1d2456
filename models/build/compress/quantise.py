"""From the fp32 graph and ranges of its activations to an int8 graph (QDQ) in one small file."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from models.build.compress.compact import compact
from models.build.compress.graph import ACTIVATIONS, CONVOLUTIONS, Graph
from models.build.compress.ranges import Ranges

QUANTISED = (*CONVOLUTIONS, *ACTIVATIONS, "Add", "Concat", "MaxPool", "Resize")
_RENAMED = "_QuantizeLinear_Input"  # what the quantiser adds where a quantised tensor is an output


def quantise(graph: Graph, ranges: Ranges, fp32_convolutions: int, path: Path) -> None:
    """Write the int8 graph of `graph` to `path`.

    Activations are QUInt8 and weights QInt8 with a scale for each output channel: signed
    activations (S8S8) miss the VNNI kernels and leave Clip outside of the convolution. The first
    `fp32_convolutions` and everything behind the last convolution stay float, and the outputs do.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        table = Path(folder) / "ranges.json"
        save_tensors_data(_as_table(_completed(graph, ranges)), table)
        quantize_static(
            onnx.shape_inference.infer_shapes(graph.model),
            path,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(float_nodes(graph, fp32_convolutions)),
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=table,
        )
    onnx.save(compact(onnx.load(path)), path)


def float_nodes(graph: Graph, fp32_convolutions: int) -> set[str]:
    """The names of the nodes that are not quantised: the first convolutions, and the heads.

    Heads are what no convolution depends on (pooling, the linear layer, the score) and the
    convolution that makes mask logits: their steps of 1/255 of the range would move every outline.
    """
    outlining = _outlining(graph)
    inner = [node for node in graph.of_type(*CONVOLUTIONS) if node.name not in outlining]
    body = graph.upstream([node.output[0] for node in inner])
    for node in inner:
        taker = graph.only_consumer(node.output[0])
        if taker is not None and taker.op_type in ACTIVATIONS:
            body.add(taker.name)
    return {node.name for node in graph.nodes} - body | _first(graph, fp32_convolutions)


def quantised_ranges(path: Path) -> dict[str, tuple[float, float]]:
    """The range of each quantised activation of an int8 file, under its name in the fp32 graph."""
    graph = Graph.read(path)
    ranges = {}
    for node in graph.of_type("QuantizeLinear"):
        scale, zero = (float(graph.constants[name].item()) for name in node.input[1:3])
        name = node.input[0].removesuffix(_RENAMED)
        ranges[name] = (-zero * scale, (255 - zero) * scale)
    return ranges


def quantised_weights(path: Path, graph: Graph) -> set[str]:
    """The names, in the fp32 `graph`, of the weights that an int8 file holds as int8."""
    quantised = Graph.read(path)
    names = set()
    for node in quantised.of_type(*CONVOLUTIONS):
        maker = quantised.producers.get(node.input[1])
        if maker is not None and maker.op_type == "DequantizeLinear":
            names.add(node.name)
    return {node.input[1] for node in graph.of_type(*CONVOLUTIONS) if node.name in names}


def _outlining(graph: Graph) -> set[str]:
    """The convolutions whose values, only resized, are mask logits."""
    names, waiting = set(), ["mask_logits"]
    while waiting:
        node = graph.producers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in CONVOLUTIONS:
            names.add(node.name)
        else:
            waiting.extend(node.input[:1])
    return names


def _first(graph: Graph, convolutions: int) -> set[str]:
    names, seen = set(), 0
    for node in graph.nodes:
        seen += node.op_type in CONVOLUTIONS
        if seen <= convolutions:
            names.add(node.name)
    return names


def _completed(graph: Graph, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """The ranges, with one for what goes into each activation: the quantiser asks for it.

    It merges the activation into the convolution and does not use it.
    """
    whole = dict(ranges)
    for node in graph.of_type(*ACTIVATIONS):
        if node.output[0] in whole:
            whole.setdefault(node.input[0], whole[node.output[0]])
    return whole


def _as_table(ranges: Ranges) -> TensorsData:
    pairs = {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, pairs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice to itself: it advises what was done before."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
