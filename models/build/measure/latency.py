"""Engines side by side: each in its own process, timed in turns, so that they share the noise."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any, Literal

Kind = Literal["torch", "onnxruntime", "openvino"]
Report = dict[str, Any]

ROUNDS, IMAGES = 9, 5
_PATIENCE_S = 120.0  # for an answer
_COMMAND = (sys.executable, "-m", "models.build.measure.worker")


@dataclass(frozen=True)
class Engine:
    """What runs which file, under a name for people; `served` marks the one that a package uses."""

    name: str
    kind: Kind
    file: Path
    served: bool = False


@dataclass(frozen=True)
class Timing:
    """One engine's times for one image, in ms; `failed` says why there are none.

    `cpu_ms` is the median of the processor's time, which others on the machine hardly change.
    `slices` has each round's median. `values` are the first numbers it answered.
    """

    engine: Engine
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    min_ms: float = 0.0
    cpu_ms: float = 0.0
    load_ms: float = 0.0
    peak_bytes: int = 0
    slices: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    failed: str = ""


@dataclass(frozen=True)
class Latency:
    """One interleaved run; `load` is how many processes wanted a core when it ended."""

    timings: tuple[Timing, ...]
    machine: str
    load: float

    def of(self, name: str) -> Timing | None:
        """The times of the engine of that name, None where it is absent or failed."""
        return next((t for t in self.timings if t.engine.name == name and not t.failed), None)

    def of_files_in(self, folder: Path) -> Latency:
        """The engines that ran files of the folder."""
        own = tuple(timing for timing in self.timings if timing.engine.file.parent == folder)
        return replace(self, timings=own)

    def faster(self, name: str, than: str) -> float | None:
        """How many times as fast `name` is as `than`: the median of the rounds' ratios."""
        one, other = self.of(name), self.of(than)
        if one is None or other is None:
            return None
        return statistics.median(b / a for a, b in zip(one.slices, other.slices, strict=True))

    def as_dict(self, reference: str) -> Report:
        """For a report: each engine's row, with how many times as fast as `reference` it is."""
        rows = [self._row(timing, reference) for timing in self.timings if not timing.failed]
        failed = {t.engine.name: t.failed for t in self.timings if t.failed}
        how = f"one image at a time, one thread, {ROUNDS} rounds in turns"
        report: Report = {"title": f"Time for {how}", "machine": self.machine, "engines": rows}
        return report | {"load": round(self.load, 2), "reference": reference, "failed": failed}

    def _row(self, timing: Timing, reference: str) -> Report:
        ratio = self.faster(timing.engine.name, reference)
        return {
            "engine": timing.engine.name,
            "served": timing.engine.served,
            "p50_ms": round(timing.p50_ms, 3),
            "p90_ms": round(timing.p90_ms, 3),
            "min_ms": round(timing.min_ms, 3),
            "cpu_ms": round(timing.cpu_ms, 3),
            "load_ms": round(timing.load_ms, 1),
            "peak_megabytes": round(timing.peak_bytes / 1e6, 1),
            "times_as_fast": None if ratio is None else round(ratio, 3),
        }


def side_by_side(
    engines: Sequence[Engine], size: int, rounds: int = ROUNDS, images: int = IMAGES
) -> Latency:
    """Time the engines on images of (size, size): `rounds` of `images` each, in rotating order.

    An engine that cannot be started, crashes or does not answer is a Timing that says so.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(engine, size)) for engine in engines]
        for number in range(rounds):
            first = number % len(workers) if workers else 0
            for worker in (*workers[first:], *workers[:first]):
                worker.time(images)
        timings = tuple(worker.timing() for worker in workers)
    return Latency(timings, machine(), os.getloadavg()[0])


def engines_for(network: Path | None, fp32: Path, int8: Path | None, served: Path) -> list[Engine]:
    """Every engine that is installed, on the files that there are.

    `network` is what `save_network` wrote.
    """
    found = [Engine("PyTorch eager fp32", "torch", network)] if network else []
    kinds: tuple[tuple[str, Kind], ...] = (
        ("ONNX Runtime", "onnxruntime"),
        ("OpenVINO", "openvino"),
    )
    for title, kind in kinds:
        if find_spec(kind) is None:
            continue
        for precision, file in (("fp32", fp32), ("int8", int8)):
            if file is not None:
                is_served = kind == "onnxruntime" and file == served
                found.append(Engine(f"{title} {precision}", kind, file, is_served))
    return found


def machine() -> str:
    """The processor's name and the number of its cores that this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else sys.platform}, {cores} cores"


class _Worker:
    """One engine's process. Whatever goes wrong is kept in `failed`."""

    def __init__(self, engine: Engine, size: int) -> None:
        self.engine, self.failed = engine, ""
        self.rounds: list[list[tuple[float, float]]] = []
        self.ready: dict[str, Any] = {}
        self._order = {"engine": engine.kind, "file": str(engine.file), "size": size}

    def __enter__(self) -> _Worker:
        self._process = subprocess.Popen(  # noqa: S603  # our own worker
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self._ask(json.dumps(self._order)) or {}
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def time(self, images: int) -> None:
        """One round."""
        if not self.failed and (times := self._ask(str(images))):
            self.rounds.append(times)

    def timing(self) -> Timing:
        """What came of all rounds."""
        if self.failed:
            return Timing(self.engine, failed=self.failed)
        every = sorted(wall for times in self.rounds for wall, _ in times)
        return Timing(
            engine=self.engine,
            p50_ms=statistics.median(every),
            p90_ms=every[int(0.9 * (len(every) - 1))],
            min_ms=every[0],
            cpu_ms=statistics.median(cpu for times in self.rounds for _, cpu in times),
            load_ms=self.ready["load_ms"],
            peak_bytes=self.ready["peak_bytes"],
            slices=tuple(statistics.median(wall for wall, _ in times) for times in self.rounds),
            values=tuple(self.ready["values"]),
        )

    def _ask(self, line: str) -> Any:
        """The answer to a line, or None and a reason in `failed`."""
        assert self._process.stdin is not None  # noqa: S101  # both are pipes
        assert self._process.stdout is not None  # noqa: S101
        watch = Timer(_PATIENCE_S, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            self.failed = self._reason()
            return None
        finally:
            watch.cancel()

    def _reason(self) -> str:
        self._process.kill()
        _, errors = self._process.communicate()
        last = errors.strip().splitlines()[-1:] or [f"exit code {self._process.returncode}"]
        return last[0][:200]
