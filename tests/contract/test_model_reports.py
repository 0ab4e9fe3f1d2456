"""What the shipped packages say was measured: consistent, at its aims or honest about it, and so.

Where the data are there, a part of each report is measured again through the build's own code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.build.calibrate import Operating
from models.build.duplicates import part
from models.build.evaluate.classes import answers, report_external, report_test
from models.build.evaluate.outlines import OutlineOperating, at_size, report_outlines
from models.build.gates import ECE, int8_may_be_served
from models.build.packs import Samples, load
from models.build.recipe import DataRecipe, read_recipe
from models.manifest import INT8
from models.registry import ModelPackage, load_registry

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PACKAGES = load_registry().packages
Report = dict[str, Any]
Outputs = dict[str, Any]


def named(package: ModelPackage) -> str:
    return package.manifest.id


def of_task(task: str) -> list[ModelPackage]:
    return [package for package in PACKAGES if package.manifest.task == task]


each_package = pytest.mark.parametrize("package", PACKAGES, ids=named)
each_classification = pytest.mark.parametrize("package", of_task("classification"), ids=named)
each_segmentation = pytest.mark.parametrize("package", of_task("segmentation"), ids=named)


def report_of(package: ModelPackage) -> Report:
    report: Report = json.loads(package.read("report.json"))
    return report


def figures(value: object, path: str = "") -> Iterator[tuple[str, Report]]:
    """Every figure with an interval, by its path."""
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            yield path, value
            return
        for name, item in value.items():
            yield from figures(item, f"{path}.{name}")


@each_package
def test_no_shipped_report_is_of_a_smoke_run(package: ModelPackage) -> None:
    assert "placeholder" not in report_of(package)


@each_package
def test_every_interval_holds_its_value(package: ModelPackage) -> None:
    wrong = [
        path
        for path, one in figures(report_of(package))
        if one["value"] is not None and not one["low"] <= one["value"] <= one["high"]
    ]
    assert wrong == []


@each_package
def test_every_picture_of_the_card_is_in_the_package_and_small(package: ModelPackage) -> None:
    card = (package.folder / "CARD.md").read_text(encoding="utf-8")
    pictures = [path.name for path in package.folder.glob("*.png")]
    assert len(pictures) >= 3
    for name in pictures:
        assert f"({name})" in card
        assert len(package.read(name)) < 60_000


@each_package
def test_the_report_names_the_steps_of_compression_and_every_gate(package: ModelPackage) -> None:
    report = report_of(package)
    rows = report["compression"]["rows"]
    assert rows[0]["step"] == "fp32"
    assert len(rows) > 3
    assert all(set(rows[0]) == set(row) for row in rows)
    names = {gate["name"] for gate in report["gates"]}
    assert {"agreement", "batch answers", "batch probabilities", "size", "speed"} <= names
    assert report["graph_gate"]["held"]


@each_package
def test_int8_is_preferred_only_where_every_gate_held(package: ModelPackage) -> None:
    report = report_of(package)
    held = all(gate["held"] for gate in report["gates"] if gate["scope"] == "int8")
    chosen = report["compression"]["choice"] == "int8"
    assert report["precision"]["int8"]["gates_held"] is (held and chosen)
    assert (package.manifest.precision.preferred == "int8") is (held and chosen)
    assert (INT8 in package.manifest.files) is (held and chosen)
    assert not int8_may_be_served(())


@each_package
def test_a_gate_that_is_said_to_hold_does(package: ModelPackage) -> None:
    """Each gate states a value and a limit: a drop or a distance at most, a gain at least."""
    at_least = {"agreement", "out of distribution", "size", "speed", "torch eager"}
    report = report_of(package)
    for gate in (*report["gates"], *report["speed_gates"], report["graph_gate"]):
        value, limit = gate["value"], gate["limit"]
        close = math.isclose(value, limit, rel_tol=1e-3)
        within = value >= limit if gate["name"] in at_least else value <= limit
        assert close or gate["held"] is within, gate


@each_package
def test_the_served_precision_is_calibrated(package: ModelPackage) -> None:
    report = report_of(package)
    served = report["int8"] if package.manifest.precision.preferred == "int8" else report
    assert served["test"]["ece"] <= ECE


@each_package
def test_the_score_that_is_served_was_compared_with_another(package: ModelPackage) -> None:
    report, stated = report_of(package), package.manifest.out_of_distribution
    assert stated is not None
    assert stated.method == report["score"]
    assert len(report["score_comparison"]) >= 2
    assert report["score_comparison"][stated.method]["strange_in_distribution"] < 0.1


@each_classification
def test_the_confusion_gives_accuracy_and_sensitivities(package: ModelPackage) -> None:
    test = report_of(package)["test"]
    counts = np.array(test["confusion"]["true_by_stated"])
    assert counts.sum() == test["images"]
    assert np.trace(counts) / counts.sum() == pytest.approx(test["accuracy"]["value"], abs=1e-4)
    for index, key in enumerate(test["confusion"]["order"]):
        row, column = counts[index], counts[:, index]
        stated = test["per_class"][key]
        assert row[index] / row.sum() == pytest.approx(stated["sensitivity"]["value"], abs=1e-4)
        wrongly = (column.sum() - row[index]) / (counts.sum() - row.sum())
        assert 1 - wrongly == pytest.approx(stated["specificity"]["value"], abs=1e-4)
        assert stated["images"] == row.sum()


@each_classification
def test_the_prediction_sets_keep_their_promise_on_test(package: ModelPackage) -> None:
    """Within what so few independent groups allow."""
    sets, test = report_of(package)["prediction_set"], report_of(package)["test"]
    allowed = 3 * math.sqrt(sets["coverage"] * (1 - sets["coverage"]) / test["groups"])
    assert sets["coverage_test"] >= sets["coverage"] - allowed
    assert package.manifest.prediction_set is not None
    assert package.manifest.prediction_set.threshold == sets["threshold"]


@each_classification
def test_the_map_beats_chance_and_depends_on_the_weights(package: ModelPackage) -> None:
    faithful = report_of(package)["faithfulness"]
    if not read_recipe(package.folder / "recipe.toml").data.outlines:
        assert faithful is None  # without outlines there is nothing to hold it against
        return
    assert faithful["pointing_game"]["low"] > faithful["pointing_game_by_chance"]
    assert faithful["energy_in_mask"]["low"] > faithful["energy_by_chance"]
    assert faithful["deletion_auc"] < faithful["deletion_auc_random"]
    assert faithful["insertion_auc"] > faithful["insertion_auc_random"]
    assert abs(faithful["randomisation"]["all weights"]) < 0.5


@each_segmentation
def test_the_parts_of_an_outline_s_figures_add_up(package: ModelPackage) -> None:
    test = report_of(package)["test"]
    assert test["with_structure"] + test["without_structure"] == test["images"]
    assert sum(test["dice_histogram"]) == test["with_structure"]
    by_size = test["per_size"].values()
    assert sum(row["images"] for row in by_size) == test["with_structure"]
    mean = sum(row["images"] * row["dice"] for row in by_size) / test["with_structure"]
    assert mean == pytest.approx(test["dice"]["value"], abs=1e-3)
    assert test["dice_5th_percentile"]["value"] <= test["dice_median"]


@each_package
def test_the_kept_recipe_is_the_one_that_was_built(package: ModelPackage) -> None:
    recipe, report = read_recipe(package.folder / "recipe.toml"), report_of(package)
    assert recipe.task == report["task"]
    if recipe.task == "classification":
        assert tuple(report["test"]["confusion"]["order"]) == recipe.data.keys
    assert report.get("external_split") == recipe.data.external


def packs_of(package: ModelPackage) -> set[str]:
    data = read_recipe(package.folder / "recipe.toml").data
    return {data.pack, *filter(None, [data.outlines, data.empties and data.empties.pack])}


@pytest.mark.data
@each_package
def test_the_manifests_of_the_data_are_those_that_were_measured(package: ModelPackage) -> None:
    absent = [name for name in packs_of(package) if not (DATA / f"{name}.csv").exists()]
    if absent:
        pytest.skip(f"the data sets {absent} are not here")
    measured = report_of(package)["data"]["packs"]
    for pack in packs_of(package):
        content = (DATA / f"{pack}.csv").read_bytes()
        assert measured[f"{pack}.csv"] == hashlib.sha256(content).hexdigest()


@pytest.mark.data
@each_package
def test_the_images_of_each_split_are_as_many_as_the_report_says(package: ModelPackage) -> None:
    absent = [name for name in packs_of(package) if not (DATA / f"{name}.tar").exists()]
    if absent:
        pytest.skip(f"the data sets {absent} are not here")
    report, data = report_of(package), read_recipe(package.folder / "recipe.toml").data
    tiny = dataclasses.replace(package.manifest.input, rows=32, columns=32)
    splits = load(DATA, dataclasses.replace(data, outlines=None), tiny)
    left_out = report["data"]["left_out"]
    counted = {name: len(samples) - left_out[name] for name, samples in splits.items()}
    assert counted == report["images"]


def measured_again(package: ModelPackage) -> tuple[DataRecipe, dict[str, Samples], list[Outputs]]:
    """What the served graph answers on `test` and on the images from elsewhere."""
    absent = [name for name in packs_of(package) if not (DATA / f"{name}.tar").exists()]
    if absent:
        pytest.skip(f"the data sets {absent} are not here")
    pytest.importorskip("torch", reason="the extra [build] is not installed")
    from models.build.compress.figures import outputs_of
    from models.build.export import open_session

    data = read_recipe(package.folder / "recipe.toml").data
    if package.manifest.task == "classification":
        data = dataclasses.replace(data, outlines=None)
    splits = part(load(DATA, data, package.manifest.input), data).splits
    session = open_session(package.read(f"{package.manifest.precision.preferred}.onnx"))
    wanted = ("test", *filter(None, [data.external]))
    return data, splits, [outputs_of(session, splits[name]) for name in wanted]


def served(package: ModelPackage) -> Report:
    """The report's part on the graph that is served."""
    report = report_of(package)
    part: Report = report["int8"] if package.manifest.precision.preferred == "int8" else report
    return part


@pytest.mark.data
@each_classification
def test_the_served_graph_answers_as_its_report_says(package: ModelPackage) -> None:
    """All of `test` and of the images from elsewhere, at the manifest's operating point.

    Of int8 another processor may turn one answer in a hundred.
    """
    data, splits, outputs = measured_again(package)
    manifest, stated = package.manifest, served(package)
    assert manifest.out_of_distribution is not None
    assert data.negative is not None
    operating = Operating(
        data.keys,
        data.keys.index(data.negative),
        manifest.calibration.temperature,
        tuple(label.threshold for label in manifest.labels),
        manifest.out_of_distribution.threshold,
    )
    test = splits["test"]
    found = report_test(answers(outputs[0], test.labels, test.groups, operating), 10, 0)
    counts = [np.array(one["confusion"]["true_by_stated"]) for one in (found, stated["test"])]
    assert np.abs(counts[0] - counts[1]).sum() / 2 <= 0.01 * len(test)
    assert found["ece"] == pytest.approx(stated["test"]["ece"], abs=0.01)
    for name in ("coverage", "accuracy", "negative_answered", "findings_called_negative"):
        now, then = found["abstaining"][name], stated["test"]["abstaining"][name]
        assert now == pytest.approx(then, abs=0.01), name
    if data.external:
        away = splits[data.external]
        strangers = report_external(answers(outputs[1], away.labels, away.groups, operating), 10, 0)
        for name in ("images", "accuracy", "coverage_abstaining", "called_negative_abstaining"):
            then = stated[data.external][name]
            assert strangers[name] == pytest.approx(then, abs=0.02), name


@pytest.mark.data
@each_segmentation
def test_the_served_graph_outlines_as_its_report_says(package: ModelPackage) -> None:
    """All of `test`, at the manifest's operating point."""
    data, splits, outputs = measured_again(package)
    manifest, test, stated = package.manifest, splits["test"], served(package)["test"]
    assert manifest.outline is not None
    how = OutlineOperating(
        manifest.calibration.temperature,
        manifest.structure.threshold,
        manifest.outline.min_area_fraction,
        manifest.outline.parts,
    )
    logits = outputs[0]["mask_logits"][:, 0]
    truth = at_size(test.masks, *logits.shape[1:])
    found = report_outlines(logits, test, truth, how, data.labels, 10, 0)
    for name in ("dice", "dice_5th_percentile", "missed", "false_outlines"):
        if stated[name] is None:  # every image has the structure
            assert found[name] is None
            continue
        assert found[name]["value"] == pytest.approx(stated[name]["value"], abs=0.01), name
