"""A model package -> numbers for one slice: the only place that runs ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime

from inference.boundary import contained
from inference.errors import ModelFailed
from inference.machine import CPU, CUDA, OPENVINO
from models.contract import FloatArray
from models.manifest import HEAD
from models.registry import ModelPackage

_OPTIONS: dict[str, dict[str, str]] = {
    # 19-bit products would take the answers out of their tolerance
    CUDA: {"use_tf32": "0"},
    OPENVINO: {"device_type": "CPU", "num_of_threads": "1"},
}


def _nothing(dimensions: int) -> FloatArray:
    return np.zeros((0,) * dimensions, np.float32)


@dataclass(frozen=True)
class SliceOutputs:
    """The graph's outputs for one slice; what the model does not have is empty.

    `logits` is (labels,), `feature_map` (channels, cells down, cells across), `mask_logits`
    (rows, columns) of the mask. `ood_score` is 0 where the manifest states no such score.
    """

    logits: FloatArray = field(default_factory=lambda: _nothing(1))
    feature_map: FloatArray = field(default_factory=lambda: _nothing(3))
    ood_score: float = 0.0
    mask_logits: FloatArray = field(default_factory=lambda: _nothing(2))


class Runtime:
    """One session, loaded and warmed once, shared by every thread.

    Each run uses one thread: a run per core keeps all cores busy and does not suffer when
    another process takes one. `class_weights` is (labels, channels), empty without them. `reason`
    says why this precision is run. Raises ModelFailed when the graph cannot be loaded on
    `provider`, or lacks an output; HashMismatch when a file is not the one that was measured.
    """

    def __init__(
        self, package: ModelPackage, precision: str, reason: str = "", provider: str = CPU
    ) -> None:
        manifest = package.manifest
        self.package, self.precision, self.reason = package, precision, reason
        self.provider = provider
        self.sha256 = package.sha256(f"{precision}.onnx")
        names = manifest.outputs
        wanted = (names.logits, names.feature_map, names.ood_score, names.mask_logits)
        self._names = tuple(name for name in wanted if name)
        self._session = _session(package.read(f"{precision}.onnx"), provider)
        self._head = _session(package.read(HEAD), CPU) if HEAD in manifest.files else None
        blank = np.zeros((1, 1, manifest.input.rows, manifest.input.columns), np.float32)
        self.class_weights = _nothing(2)
        if names.class_weights:
            self.class_weights = self._outputs(blank, (names.class_weights,))[0]
        self._check_shapes(self.run(blank))

    def run(self, image: FloatArray) -> SliceOutputs:
        """Run one prepared slice, float32 (1, 1, rows, columns).

        Raises ModelFailed when the runtime fails or a number is not finite.
        """
        outputs, names = self.named_outputs(image), self.package.manifest.outputs
        parts: dict[str, FloatArray] = {}
        if names.logits:
            parts["logits"] = outputs[names.logits][0]
        if names.feature_map:
            parts["feature_map"] = outputs[names.feature_map][0]
        if names.mask_logits:
            parts["mask_logits"] = outputs[names.mask_logits][0, 0]
        score = float(outputs[names.ood_score][0]) if names.ood_score else 0.0
        return SliceOutputs(ood_score=score, **parts)

    def named_outputs(self, images: FloatArray) -> dict[str, FloatArray]:
        """The outputs by name for N prepared slices, float32 (N, 1, rows, columns).

        The batch axis is kept. Raises ModelFailed.
        """
        return dict(zip(self._names, self._outputs(images, self._names), strict=True))

    def head_logits(self, feature_maps: FloatArray) -> FloatArray:
        """The head alone: (N, channels, down, across) -> logits (N, labels).

        Raises ModelFailed, also when the package has no graph of its head.
        """
        names = self.package.manifest.outputs
        if self._head is None or not names.feature_map or not names.logits:
            raise ModelFailed("The model has no graph of its head.")
        with contained(_not_run):
            (logits,) = self._head.run([names.logits], {names.feature_map: feature_maps})
        return _finite([logits])[0]

    def _outputs(self, images: FloatArray, names: Sequence[str]) -> list[FloatArray]:
        with contained(_not_run):
            outputs = self._session.run(list(names), {self.package.manifest.input.name: images})
        return _finite(outputs)

    def _check_shapes(self, outputs: SliceOutputs) -> None:
        manifest = self.package.manifest
        labels = len(manifest.labels) if manifest.outputs.logits else 0
        right = outputs.logits.shape == (labels,)
        if manifest.outputs.class_weights:
            channels = outputs.feature_map.shape[0]
            right = right and self.class_weights.shape == (labels, channels)
        if manifest.outputs.mask_logits:
            down, across = outputs.mask_logits.shape
            right = right and 0 < down <= manifest.input.rows
            right = right and 0 < across <= manifest.input.columns
        if self._head is not None:
            right = right and self.head_logits(outputs.feature_map[np.newaxis]).shape == (1, labels)
        if not right:
            raise ModelFailed("The model's outputs are not those its manifest describes.")


def _session(graph: bytes, provider: str) -> onnxruntime.InferenceSession:
    """From bytes, never from a path: nothing of the graph can then point to another file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # OpenVINO has passes of its own, and cannot read what ONNX Runtime's leave behind
    level = "ORT_DISABLE_ALL" if provider == OPENVINO else "ORT_ENABLE_ALL"
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    wanted = [(provider, _OPTIONS.get(provider, {})), *([CPU] if provider != CPU else [])]
    with contained(_not_loaded):
        session = onnxruntime.InferenceSession(graph, options, providers=wanted)
    if session.get_providers()[0] != provider:  # it falls back to the CPU without a word
        raise ModelFailed(f"{provider} cannot be used on this machine.")
    return session


def _finite(outputs: Sequence[FloatArray]) -> list[FloatArray]:
    if not all(np.isfinite(output).all() for output in outputs):
        raise ModelFailed("The model gave a number that is not finite.")
    return list(outputs)


def _not_loaded(reason: str) -> ModelFailed:
    return ModelFailed("The model cannot be loaded.")


def _not_run(reason: str) -> ModelFailed:
    return ModelFailed("The model could not be run.")
