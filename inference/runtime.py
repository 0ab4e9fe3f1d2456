"""A model package -> numbers for one slice: the only place that talks to ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from inference.boundary import contained
from inference.errors import ModelFailed
from models.contract import FloatArray
from models.registry import ModelPackage


@dataclass(frozen=True)
class SliceOutputs:
    """The graph's outputs for one slice.

    `logits` is (labels,), `feature_map` (channels, cells down, cells across).
    """

    logits: FloatArray
    feature_map: FloatArray
    ood_score: float


class Runtime:
    """One session, loaded and warmed once, shared by every thread.

    Each run uses one thread: a run per core keeps all cores busy and does not suffer when
    another process takes one. Raises ModelFailed when the graph cannot be loaded or lacks an
    output.
    """

    def __init__(self, package: ModelPackage, precision: str) -> None:
        manifest = package.manifest
        self.package, self.precision = package, precision
        self.sha256 = package.sha256(f"{precision}.onnx")
        self._names = (
            manifest.outputs.logits,
            manifest.outputs.feature_map,
            manifest.outputs.ood_score,
        )
        with contained(_not_loaded):
            self._session = _session(package.read(f"{precision}.onnx"))
        blank = np.zeros((1, 1, manifest.input.rows, manifest.input.columns), np.float32)
        self.class_weights = self._outputs(blank, (manifest.outputs.class_weights,))[0]
        self._check_shapes(self.run(blank), len(manifest.labels))

    def run(self, image: FloatArray) -> SliceOutputs:
        """Run one prepared slice, float32 (1, 1, rows, columns).

        Raises ModelFailed when the runtime fails or a number is not finite.
        """
        logits, feature_map, ood_score = self._outputs(image, self._names)
        return SliceOutputs(logits[0], feature_map[0], float(ood_score[0]))

    def named_outputs(self, image: FloatArray) -> dict[str, FloatArray]:
        """The outputs of one run by name, batch axis included: for the reference check."""
        return dict(zip(self._names, self._outputs(image, self._names), strict=True))

    def _outputs(self, image: FloatArray, names: Sequence[str]) -> list[FloatArray]:
        with contained(_not_run):
            outputs = self._session.run(list(names), {self.package.manifest.input.name: image})
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelFailed("The model gave a number that is not finite.")
        return list(outputs)

    def _check_shapes(self, outputs: SliceOutputs, labels: int) -> None:
        channels = outputs.feature_map.shape[0]
        if outputs.logits.shape != (labels,) or self.class_weights.shape != (labels, channels):
            raise ModelFailed("The model's outputs are not those its manifest describes.")


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    """From bytes, never from a path: external data of the graph then has nowhere to point."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _not_loaded(reason: str) -> ModelFailed:
    return ModelFailed("The model cannot be loaded.")


def _not_run(reason: str) -> ModelFailed:
    return ModelFailed("The model could not be run.")
