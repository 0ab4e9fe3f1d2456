"""The report: what the exported graphs are worth, in both precisions, on every split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.build.calibrate import Floats, Operating, choose_operating, describe, softmax
from models.build.compress.figures import Bench, outputs_of
from models.build.conformal import conformal_report, conformal_threshold
from models.build.evaluate.classes import (
    Answers,
    answers,
    report_external,
    report_test,
    report_val,
)
from models.build.evaluate.faithfulness import report_faithfulness
from models.build.evaluate.figures import Report, rounded
from models.build.evaluate.maps import explained
from models.build.evaluate.outlines import (
    OutlineOperating,
    at_size,
    choose_outline,
    outlined,
    report_outlines,
)
from models.build.export import Outputs, open_session
from models.build.gates import Gate, fp32_gates, int8_may_be_served, judge, must_hold
from models.build.packs import Samples
from models.build.recipe import Recipe
from models.build.template import Frame
from models.build.witness import Witness, add_witness

INTERVALS = "95 %, bootstrap over groups, which are drawn whole"
_OF_RUNS = (
    f"{INTERVALS}; a group is a run of neighbouring slices, of which a patient may have several, "
    "so the true intervals are somewhat wider"
)
_SMOKE = "A smoke run: these figures say nothing about the model."


@dataclass(frozen=True)
class Material:
    """What is measured: graphs, samples, and what earlier steps found out about them."""

    frame: Frame
    recipe: Recipe
    samples: Mapping[str, Samples]
    fp32: Path
    head: Path | None
    int8: Path | None
    exported: Report
    compressed: Report
    witness: Witness | None = None
    smoke: bool = False


def measure(material: Material, progress: Callable[[str], None]) -> Report:
    """Choose the operating point on `val` and measure everything else on `test`.

    Raises GateError for a gate that stops the build, but for a smoke run.
    """
    progress("measuring fp32")
    task = _Classes(material) if material.recipe.task == "classification" else _Outlines(material)
    report = _about(material) | task.report(material.fp32)
    if material.int8:
        progress("measuring int8")
        gates = _gates(material, task.operating)
        if not material.smoke:  # whose figures are of no use
            must_hold(gates)
        report |= {"gates": [_gate(gate) for gate in gates], "int8": task.again(material.int8)}
        report["precision"] = _precision(material, gates)
    else:
        reason = "No int8 graph was made."
        report["precision"] = {"preferred": "fp32", "reason": reason, "int8": None}
    return report


class _Classes:
    """A classifier's part of the report."""

    def __init__(self, material: Material) -> None:
        self.material, self.recipe = material, material.recipe
        self.outputs = _outputs(material.fp32, material.samples)
        val, data = material.samples["val"], self.recipe.data
        if data.negative is None:
            raise ValueError("a classifier has a negative label")
        self.operating = choose_operating(
            self.outputs["val"]["logits"],
            val.labels,
            _scores(self.outputs["val"]),
            data.keys,
            data.keys.index(data.negative),
            self.recipe.calibrate,
        )
        self.set_threshold = conformal_threshold(
            self._probabilities("val"), val.labels, self.recipe.calibrate.prediction_set_coverage
        )

    def report(self, graph: Path) -> Report:
        """All of it, of the fp32 graph."""
        data, calibrate, seed = self.recipe.data, self.recipe.calibrate, self.recipe.seed
        found = self._answers(self.outputs)
        report: Report = {
            "operating_point": describe(calibrate),
            "test": report_test(found["test"], calibrate.bootstrap, seed),
            "val": report_val(found["val"]),
            "prediction_set": conformal_report(
                found["test"].probabilities,
                found["test"].labels,
                data.keys,
                calibrate.prediction_set_coverage,
                self.set_threshold,
            ),
            "faithfulness": self._faithfulness(graph),
        }
        if data.external:
            figures = report_external(found[data.external], calibrate.bootstrap, seed)
            report |= {"external_split": data.external, data.external: figures}
        if self.material.witness:
            add_witness(report, found, self.material.witness, data.external)
        report["measured"] = self.material.exported["measured"] | {
            "temperature": self.operating.temperature,
            "ood_threshold": self.operating.ood_threshold,
            "thresholds": dict(zip(data.keys, self.operating.thresholds, strict=True)),
        }
        return report

    def again(self, graph: Path) -> Report:
        """The int8 graph at the same operating point: figures, no curves."""
        found = self._answers(_outputs(graph, self.material.samples))
        calibrate, seed = self.recipe.calibrate, self.recipe.seed
        test = report_test(found["test"], calibrate.bootstrap, seed)
        for name in ("curves", "reliability", "coverage_risk"):
            del test[name]
        external = self.recipe.data.external
        away = (
            {external: report_external(found[external], calibrate.bootstrap, seed)}
            if external
            else {}
        )
        return {"test": test, **away}

    def _answers(self, outputs: Mapping[str, Outputs]) -> dict[str, Answers]:
        samples = self.material.samples
        return {
            name: answers(given, samples[name].labels, samples[name].groups, self.operating)
            for name, given in outputs.items()
        }

    def _probabilities(self, split: str) -> Floats:
        return softmax(self.outputs[split]["logits"], self.operating.temperature)

    def _faithfulness(self, graph: Path) -> Report | None:
        test = self.material.samples["test"]
        if not test.masks.any():
            return None
        model = explained(graph, self.material.head, self.operating.temperature, self.recipe.seed)
        bootstrap, seed = self.recipe.calibrate.bootstrap, self.recipe.seed
        return report_faithfulness(model, test, self.operating.negative, bootstrap, seed)


class _Outlines:
    """A segmentation's part of the report."""

    def __init__(self, material: Material) -> None:
        self.material, self.recipe = material, material.recipe
        self.outputs = _outputs(material.fp32, material.samples)
        rows, columns = self.outputs["val"]["mask_logits"].shape[2:]
        self.masks = {
            name: at_size(material.samples[name].masks, rows, columns) for name in self.outputs
        }
        known = material.samples["val"].masked
        planes = self.outputs["val"]["mask_logits"][known, 0]
        self.operating = choose_outline(planes, self.masks["val"][known], material.frame.parts)

    def report(self, graph: Path) -> Report:
        """All of it, of the fp32 graph."""
        measured = self.material.exported["measured"] | dataclasses.asdict(self.operating)
        return {
            "operating_point": _OUTLINE_POINT,
            "test": self._figures(self.outputs["test"], "test"),
            "val": self._of_val(),
            "measured": measured,
        }

    def again(self, graph: Path) -> Report:
        """The int8 graph at the same operating point."""
        test = self._figures(outputs_of(open_session(graph), self.material.samples["test"]), "test")
        return {"test": {name: test[name] for name in test if name != "reliability"}}

    def _figures(self, outputs: Outputs, split: str) -> Report:
        calibrate = self.recipe.calibrate
        figures = report_outlines(
            outputs["mask_logits"][:, 0],
            self.material.samples[split],
            self.masks[split],
            self.operating,
            self.recipe.data.strata,
            calibrate.bootstrap,
            self.recipe.seed,
        )
        limit = self.material.exported["measured"].get("ood_threshold")
        if limit is not None:
            figures["in_distribution"] = rounded(float((_scores(outputs) <= limit).mean()))
        return figures

    def _of_val(self) -> Report:
        samples = self.material.samples["val"]
        known = samples.masked
        planes = self.outputs["val"]["mask_logits"][known, 0]
        found = outlined(planes, self.masks["val"][known], self.operating)
        dice = [one.dice for one in found if one.truth]
        return {"images": len(found), "dice": rounded(float(np.mean(dice)))}


_OUTLINE_POINT = (
    "Threshold and smallest region were chosen together on val, for the mean Dice less the share "
    "of images that are missed and of those outlined though there is nothing."
)


def _about(material: Material) -> Report:
    report: Report = {
        "schema": 2,
        "model": material.frame.id,
        "task": material.recipe.task,
        "intervals": _OF_RUNS if material.recipe.data.number else INTERVALS,
        "images": {name: len(samples) for name, samples in material.samples.items()},
        "score": material.exported.get("score"),
        "score_comparison": material.exported.get("score_comparison", {}),
        "compression": material.compressed or None,
    }
    return report | ({"placeholder": _SMOKE} if material.smoke else {})


def _outputs(graph: Path, samples: Mapping[str, Samples]) -> dict[str, Outputs]:
    session = open_session(graph)
    return {name: outputs_of(session, some) for name, some in samples.items() if name != "train"}


def _scores(outputs: Outputs) -> Floats:
    return np.asarray(outputs["ood_score"], np.float64)


def _gates(material: Material, operating: Operating | OutlineOperating) -> tuple[Gate, ...]:
    """Those of both graphs, asked once more on the split that nothing was chosen on.

    Outlines are those of the operating point, since they are what is served.
    """
    assert material.int8 is not None  # noqa: S101  # the caller has asked
    how = operating if isinstance(operating, OutlineOperating) else None
    bench = Bench(material.fp32, material.samples["test"], material.recipe.data.keys, how)
    before, after = bench.fp32.figures, bench.row("int8", material.int8).figures
    parities = bench.parity(material.fp32), bench.parity(material.int8)
    return (*fp32_gates(before, parities[0]), *judge(before, after, parities[1]))


def _gate(gate: Gate) -> Report:
    return dataclasses.asdict(gate) | {"value": rounded(gate.value, 6)}


def _precision(material: Material, gates: tuple[Gate, ...]) -> Report:
    """int8 is preferred if every gate held on `val`, where it was chosen, and on `test`."""
    values = {gate.name: gate.value for gate in gates}
    chosen, held = material.compressed["choice"] == "int8", int8_may_be_served(gates)
    missed = " ".join(gate.sentence for gate in gates if gate.scope == "int8" and not gate.held)
    if not chosen:
        reason = f"int8 missed a gate on val: {material.compressed['reason']}"
    elif not held:
        reason = f"int8 missed a gate on test: {missed}"
    else:
        reason = f"int8 held every gate on val and on test ({material.compressed['step']})."
    return {
        "preferred": "int8" if chosen and held else "fp32",
        "reason": reason,
        "int8": {
            "agreement": rounded(values["agreement"]),
            "speed_up": rounded(values["speed"], 2),
            "smaller": rounded(values["size"], 2),
            "gates_held": chosen and held,
        },
    }
