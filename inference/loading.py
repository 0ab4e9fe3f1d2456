"""A package -> a runtime that has shown that it answers as it should, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from inference.errors import InferenceError, ModelFailed
from inference.machine import CPU, CUDA, OPENVINO, TENSORRT, Machine
from inference.precision import Choice, choose_precision, other_precision
from inference.runtime import Runtime
from models.errors import ModelError
from models.reference import check_references
from models.registry import ModelPackage

# TensorRT after CUDA: it builds an engine for each shape at every start, for up to minutes
_GPU = (CUDA, TENSORRT)
_PROCESSOR = (OPENVINO,)
_TIMED_RUNS = 5


def load_runtime(
    package: ModelPackage, machine: Machine, wish: str = "auto", forced: str | None = None
) -> Runtime:
    """Load the graph that `choose_precision` chooses, on the fastest provider that answers right.

    Every provider of the machine is asked the reference cases, alone and in twos, before it may
    serve; what fails is passed over, then the other precision is tried if it may be served. The
    runtime's `reason` tells of each thing that failed. Another engine for the same processor serves
    only where it is the quicker one, too. Raises ModelFailed when nothing is left:
    the model must not be served.
    """
    failures: list[str] = []
    for choice in _choices(package, machine, wish, forced):
        for provider in providers_of(machine, choice.precision):
            told = " ".join((choice.reason, *failures))
            try:
                runtime = tested(Runtime(package, choice.precision, told, provider))
                return _quicker(runtime) if provider in _PROCESSOR else runtime
            except (InferenceError, ModelError) as error:
                failures.append(
                    f"{choice.precision} on {_short(provider)} failed: {error.sentence}"
                )
    raise ModelFailed(f"{package.manifest.id} is not served. {' '.join(failures)}")


def tested(runtime: Runtime) -> Runtime:
    """The runtime, once its reference cases are answered. Raises ReferenceMismatch, ModelFailed."""
    check_references(runtime.package, runtime.named_outputs, runtime.precision)
    return runtime


def providers_of(machine: Machine, precision: str) -> tuple[str, ...]:
    """The providers to try, in this order; the CPU is always the last.

    The int8 graph is made for processors: its activations are unsigned, which suits no GPU.
    """
    wanted = _PROCESSOR if precision == "int8" else _GPU + _PROCESSOR
    return (*(name for name in wanted if name in machine.providers), CPU)


def _quicker(runtime: Runtime) -> Runtime:
    """The runtime, or the same graph on ONNX Runtime's own kernels where those take less time."""
    own = tested(Runtime(runtime.package, runtime.precision, runtime.reason, CPU))
    return min(own, runtime, key=_least_s)


def _least_s(runtime: Runtime) -> float:
    """The shortest of a few runs: what another process takes is not the engine's fault."""
    spec = runtime.package.manifest.input
    blank = np.zeros((1, 1, spec.rows, spec.columns), np.float32)
    times = []
    for _ in range(_TIMED_RUNS):
        since = time.perf_counter()
        runtime.run(blank)
        times.append(time.perf_counter() - since)
    return min(times)


def _choices(
    package: ModelPackage, machine: Machine, wish: str, forced: str | None
) -> Iterator[Choice]:
    choice = choose_precision(package, machine, wish, forced)
    yield choice
    other = other_precision(package, choice.precision)
    if other:
        yield Choice(other, f"{choice.precision} was chosen, but {other} is run.")


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
