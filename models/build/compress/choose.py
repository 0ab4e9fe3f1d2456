"""Make int8 graphs in several ways, measure each, and take the best that passes the gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from models.build.compress.calibration_set import CalibrationSet, calibration_set
from models.build.compress.doubling import quick_doublings
from models.build.compress.figures import Bench, Row
from models.build.compress.graph import Graph, macs
from models.build.compress.qat import trained_for_int8
from models.build.compress.quantise import quantise
from models.build.compress.ranges import Activations
from models.build.compress.shrink import shrunk
from models.build.compress.trainable import UntrainableGraph
from models.build.compress.tune import Tuning
from models.build.gates import Gate, int8_may_be_served, judge
from models.build.packs import Samples
from models.build.recipe import Recipe

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Compressed:
    """What came of a compression.

    `int8` is the best graph made, served only where `choice` is "int8"; `step` names it, and
    `gates` are its gates on `val`. `rows` has every step that was tried, fp32 first.
    `calibration` counts the calibration images by class and difficulty.
    """

    int8: Path
    choice: Literal["int8", "fp32"]
    step: str
    reason: str
    gates: tuple[Gate, ...]
    rows: tuple[Row, ...]
    calibration: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class _Candidate:
    path: Path
    row: Row
    gates: tuple[Gate, ...]
    graph: Graph
    fp32_convolutions: int

    @property
    def merit(self) -> tuple[bool, int, int, float, float]:
        """Larger is better: passes, the fewest gates missed, the least work, agreement, speed.

        Only pruning and factorising change the work; where they pass they are taken.
        """
        missed = sum(not gate.held for gate in self.gates)
        row = self.row.figures
        served = int8_may_be_served(self.gates)
        return (served, -missed, -macs(self.graph.model), row.agreement, row.speed_up)


def compress(
    fp32: Path, samples: Mapping[str, Samples], recipe: Recipe, work: Path, progress: Progress
) -> Compressed:
    """Make the int8 graph of `fp32` (written as `work`/int8.onnx), choosing on `val`.

    The recipe's pruning and factorising come first, where it asks for them. Each graph is then
    quantised by each method with none, half and all of the recipe's first convolutions kept in
    fp32. Of those that pass every gate the one that agrees best with fp32 is taken, for val is
    small and a drop that just passes there may not elsewhere. Where none passes, or the recipe
    wants it always, training with quantisation is tried from the best; where nothing passes, the
    choice is fp32.
    """
    return _Compression(fp32, samples, recipe, work, progress).run()


class _Compression:
    def __init__(
        self,
        fp32: Path,
        samples: Mapping[str, Samples],
        recipe: Recipe,
        work: Path,
        progress: Progress,
    ) -> None:
        self.fp32, self.samples, self.recipe = fp32, samples, recipe
        self.work, self.progress = work, progress
        self.bench = Bench(fp32, samples["val"], recipe.data.keys)
        count, seed = recipe.compress.calibration_images, recipe.seed
        self.calibration: CalibrationSet = calibration_set(samples["train"], count, seed)
        self.rows: list[Row] = []
        self._note(self.bench.fp32)

    def run(self) -> Compressed:
        """Try everything; give the best."""
        candidates = [
            candidate for name, graph in self._graphs() for candidate in self._ptq(name, graph)
        ]
        best = max(candidates, key=lambda candidate: candidate.merit)
        if self._qat_is_wanted(best):
            best = max(best, self._qat(best), key=lambda candidate: candidate.merit)
        for path in self.work.glob("int8-*.onnx"):
            if path != best.path:
                path.unlink()
        return self._chosen(best)

    def _qat_is_wanted(self, best: _Candidate) -> bool:
        asked = self.recipe.compress
        needed = asked.qat == "always" or not int8_may_be_served(best.gates)
        return needed and asked.qat_epochs > 0

    def _graphs(self) -> Iterator[tuple[str, Graph]]:
        yield "", Graph.read(self.fp32)
        steps = shrunk(self.fp32, self.samples["train"], self.recipe, self.work, self.progress)
        for name, path in steps:
            self._note(self.bench.row(name, path))
        if steps:
            name, path = steps[-1]
            yield f"{name}, ", Graph.read(path)

    def _ptq(self, name: str, graph: Graph) -> Iterator[_Candidate]:
        activations = Activations(graph, self.calibration.images)
        keep = self.recipe.compress.keep_fp32_convs
        for kept in sorted({0, keep // 2, keep}):
            for method in self.recipe.compress.methods:
                path = self.work / f"int8-{len(self.rows)}.onnx"
                quantise(graph, activations.ranges(method), kept, path)
                yield self._judged(f"{name}int8 {method}{_kept(kept)}", path, graph, kept)

    def _qat(self, start: _Candidate) -> _Candidate:
        epochs = self.recipe.compress.qat_epochs
        path = self.work / f"int8-{len(self.rows)}.onnx"
        how = Tuning(epochs, self.recipe.compress.qat_learning_rate, self.recipe.seed)
        begin = (start.graph, start.path, start.fp32_convolutions)
        train = self.samples["train"]
        try:
            graph = trained_for_int8(Graph.read(self.fp32), begin, train, how, path, self.progress)
        except UntrainableGraph as error:
            self.progress(error.sentence)
            return start
        step = f"{start.row.step}, {epochs} epochs of training with quantisation"
        return self._judged(step, path, graph, start.fp32_convolutions)

    def _judged(self, step: str, path: Path, graph: Graph, kept: int) -> _Candidate:
        row = self._note(self.bench.row(step, path))
        gates = judge(self.bench.fp32.figures, row.figures, self.bench.parity(path))
        return _Candidate(path, row, gates, graph, kept)

    @property
    def _names(self) -> tuple[str, ...]:
        """Of the labels of the samples: of an outline's they are strata, and no keys."""
        data = self.recipe.data
        return data.keys if self.recipe.task == "classification" else data.labels

    def _note(self, row: Row) -> Row:
        self.rows.append(row)
        figures = row.figures
        quality = figures.dice if figures.accuracy is None else figures.accuracy
        self.progress(
            f"{row.step}: {quality:.4f}, agreement {figures.agreement:.4f}, "
            f"{figures.bytes / 1e6:.2f} MB, {figures.speed_up:.2f}x"
        )
        return row

    def _chosen(self, best: _Candidate) -> Compressed:
        held = int8_may_be_served(best.gates)
        failed = " ".join(gate.sentence for gate in best.gates if not gate.held)
        reason = f"{best.row.step} passed every gate." if held else failed
        return Compressed(
            int8=self._finished(best.path),
            choice="int8" if held else "fp32",
            step=best.row.step,
            reason=reason,
            gates=best.gates,
            rows=tuple(self.rows),
            calibration=self.calibration.counts(self._names),
        )

    def _finished(self, best: Path) -> Path:
        """The graph as it is served: what was measured, with quicker doublings."""
        path = self.work / "int8.onnx"
        onnx.save(quick_doublings(onnx.load(best)), path)
        best.unlink()
        return path


def _kept(convolutions: int) -> str:
    return f", first {convolutions} convolutions fp32" if convolutions else ""
