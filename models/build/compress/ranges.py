"""Between which values each activation lies: by its extremes, by percentile, by entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from models.build.compress.graph import Graph
from models.build.packs import Images, as_input

Method = Literal["minmax", "entropy", "percentile"]
Ranges = Mapping[str, tuple[float, float]]
Floats = npt.NDArray[np.float64]

_PERCENTILE = 99.99
_LEVELS, _BINS = 256, 2048
_SAMPLE = 8192  # values kept of each tensor and image, at a regular stride
_LEAST_SHARE, _STEPS = 0.5, 51


class Activations:
    """What the tensors of a graph look like on some images.

    One run of the calibration images; any of the three methods can then be asked for.
    """

    def __init__(self, graph: Graph, images: Images) -> None:
        session, names = _watching(graph)
        self._low = dict.fromkeys(names, np.inf)
        self._high = dict.fromkeys(names, -np.inf)
        kept: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}
        entry = session.get_inputs()[0].name
        for image in images:
            plane = as_input(image[np.newaxis])
            outputs = [plane, *session.run(names[1:], {entry: plane})]
            for name, values in zip(names, outputs, strict=True):
                flat = np.ravel(values)
                self._low[name] = min(self._low[name], float(flat.min()))
                self._high[name] = max(self._high[name], float(flat.max()))
                kept[name].append(flat[:: max(1, flat.size // _SAMPLE)])
        self._sample = {name: np.concatenate(parts) for name, parts in kept.items()}

    def ranges(self, method: Method) -> dict[str, tuple[float, float]]:
        """(low, high) of every tensor by name; 0 is always inside."""
        return {name: self._range(name, method) for name in self._sample}

    def _range(self, name: str, method: Method) -> tuple[float, float]:
        low, high = min(self._low[name], 0.0), max(self._high[name], 0.0)
        sample = self._sample[name]
        if method == "percentile":
            bottom, top = np.percentile(sample, (100 - _PERCENTILE, _PERCENTILE))
            return min(float(bottom), 0.0), max(float(top), 0.0)
        if method == "entropy" and high > low:
            share = least_divergent_share(sample, low, high)
            return low * share, high * share
        return low, high


def least_divergent_share(values: npt.NDArray[np.float32], low: float, high: float) -> float:
    """The share of the range from low to high whose 256 levels lose the least information.

    The information lost is the Kullback-Leibler divergence of the quantised histogram from the
    histogram itself, with what lies outside counted at the ends. Zeros are left out: an activation
    cut at 0 is mostly zeros, zero is always represented exactly, and counting it would make any
    narrowing look harmless.
    """
    histogram, edges = np.histogram(values[values != 0], _BINS, (low, high))
    if not histogram.any():
        return 1.0
    centres = (edges[1:] + edges[:-1]) / 2
    shares = np.linspace(1.0, _LEAST_SHARE, _STEPS)
    return float(
        min(shares, key=lambda share: _divergence(histogram, centres, share * low, share * high))
    )


def _divergence(
    histogram: npt.NDArray[np.int64], centres: Floats, low: float, high: float
) -> float:
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    true = histogram[inside].astype(np.float64)
    narrowed = true.copy()
    narrowed[0] += histogram[: inside[0]].sum()
    narrowed[-1] += histogram[inside[-1] + 1 :].sum()
    levels = np.rint((centres[inside] - low) / (high - low) * (_LEVELS - 1)).astype(np.int64)
    filled = true > 0
    mass = np.bincount(levels, true, _LEVELS)
    places = np.bincount(levels[filled], minlength=_LEVELS)
    spread = np.where(filled, mass[levels] / np.maximum(places[levels], 1), 0.0)
    p, q = narrowed / narrowed.sum(), spread / max(spread.sum(), 1.0)
    some = p > 0
    return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-12))).sum())


def _watching(graph: Graph) -> tuple[ort.InferenceSession, list[str]]:
    """A session that gives every float tensor up to the outputs, and their names.

    The first name is the input's. Optimisations are off, so that no tensor is merged away.
    """
    model = graph.copy().model
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {item.name: item for item in (*inferred.value_info, *inferred.output)}
    names = [
        name
        for node in graph.nodes
        for name in node.output
        if node.op_type != "Constant"
        and name in known
        and known[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    del model.graph.output[:]
    model.graph.output.extend(known[name] for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session, [model.graph.input[0].name, *names]
