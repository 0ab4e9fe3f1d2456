from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.build import gates
from models.build.compress.choose import compress
from models.build.compress.figures import Bench, dice_of
from models.build.evaluate.outlines import OutlineOperating
from models.build.recipe import CompressRecipe, DataRecipe, NetworkRecipe, Recipe, TrainRecipe
from tests.unit.models.build.compress.graphs import KEYS, classifier, outliner, samples


def _recipe(**changes: object) -> Recipe:
    asked: dict[str, object] = {"calibration_images": 12, "methods": ("minmax", "entropy")}
    return Recipe(
        task="classification",
        seed=1,
        data=DataRecipe(pack="drawn", labels=KEYS, keys=KEYS),
        network=NetworkRecipe(name="efficientnet-lite0"),
        train=TrainRecipe(augmentation="head-mr", cycles=()),
        compress=CompressRecipe(**(asked | changes)),  # type: ignore[arg-type]  # by key
    )


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gain is asked for: graphs this small gain nothing."""
    monkeypatch.setattr(gates, "SMALLER", 0.01)
    monkeypatch.setattr(gates, "FASTER", 0.0)


SPLITS = {"train": samples(24, seed=1), "val": samples(36, seed=2)}


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize("make", [classifier, outliner])
def test_a_graph_that_passes_every_gate_is_chosen(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # pytest gives it
    made = compress(
        make(tmp_path / "fp32.onnx"),
        SPLITS,
        _recipe(keep_fp32_convs=2),
        tmp_path,
        lambda line: None,
    )
    assert made.choice == "int8", made.reason
    assert all(gate.held for gate in made.gates)
    assert made.int8 == tmp_path / "int8.onnx"
    assert not list(tmp_path.glob("int8-*"))
    assert len(made.rows) == 1 + 3 * 2
    assert made.rows[0].step == "fp32"
    assert made.step in [row.step for row in made.rows]
    model = onnx.load(made.int8, load_external_data=False)
    assert not any(item.external_data for item in model.graph.initializer)


def test_where_no_graph_passes_fp32_is_the_choice_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "FASTER", 1000.0)
    made = compress(
        classifier(tmp_path / "fp32.onnx"), SPLITS, _recipe(), tmp_path, lambda line: None
    )
    assert made.choice == "fp32"
    assert "1000" in made.reason
    assert made.int8.exists()


def test_training_is_tried_where_nothing_passes_or_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(methods=("minmax",), qat_epochs=1)
    monkeypatch.setattr(gates, "FASTER", 1000.0)
    fp32 = classifier(tmp_path / "fp32.onnx")
    made = compress(fp32, SPLITS, recipe, tmp_path, lambda line: None)
    assert "training with quantisation" in made.rows[-1].step
    monkeypatch.setattr(gates, "FASTER", 0.0)
    monkeypatch.setattr(gates, "SMALLER", 0.01)
    made = compress(fp32, SPLITS, recipe, tmp_path, lambda line: None)
    assert "training with quantisation" not in made.rows[-1].step
    always = dataclasses.replace(recipe.compress, qat="always")
    wanted = dataclasses.replace(recipe, compress=always)
    made = compress(fp32, SPLITS, wanted, tmp_path, lambda line: None)
    assert "training with quantisation" in made.rows[-1].step
    assert sorted(path.name for path in tmp_path.glob("int8*.onnx")) == ["int8.onnx"]


@pytest.mark.usefixtures("easy")
def test_pruning_and_factorising_are_rows_with_less_work(tmp_path: Path) -> None:
    recipe = _recipe(prune=0.5, low_rank=0.5, methods=("minmax",))
    made = compress(classifier(tmp_path / "fp32.onnx"), SPLITS, recipe, tmp_path, lambda line: None)
    work = {row.step: row.figures.macs for row in made.rows}
    cut, thin = "pruned by 50 %", "factorised to 50 % of the energy"
    tuned = f"{cut} and {thin}, tuned"
    assert list(work) == ["fp32", "int8 minmax", cut, thin, tuned, f"{tuned}, int8 minmax"]
    assert work["fp32"] == work["int8 minmax"] > work[cut] > work[thin] == work[tuned]


def test_the_rows_can_be_written_down(tmp_path: Path) -> None:
    bench = Bench(classifier(tmp_path / "fp32.onnx"), SPLITS["val"], KEYS)
    row = bench.fp32.as_dict()
    assert json.loads(json.dumps(row)) == row
    assert row["agreement"] == row["speed_up"] == 1.0
    assert row["accuracy"] > 0.9
    assert set(row["sensitivity"]) == set(KEYS)


def test_a_graph_with_a_wrong_class_is_measured_as_such(tmp_path: Path) -> None:
    path = classifier(tmp_path / "fp32.onnx")
    bench = Bench(path, SPLITS["val"], KEYS)
    model = onnx.load(path)
    for item in model.graph.initializer:
        if item.name == "head.bias":
            value = onnx.numpy_helper.to_array(item).copy()
            value[0] -= 100
            item.CopyFrom(onnx.numpy_helper.from_array(value, item.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    figures = bench.row("wrong", tmp_path / "wrong.onnx").figures
    assert figures.sensitivity["bars"] == 0
    assert figures.agreement == pytest.approx(2 / 3, abs=0.05)
    assert figures.ood_agreement == 1


def test_batches_give_what_single_images_give(tmp_path: Path) -> None:
    path = classifier(tmp_path / "fp32.onnx")
    parity = Bench(path, SPLITS["val"], KEYS).parity(path)
    assert parity.same
    assert parity.largest_difference < 1e-5


def test_outlines_are_measured_at_the_operating_point_once_there_is_one(tmp_path: Path) -> None:
    """Regions that are all too small are none: nothing is touched, and empty images stay empty."""
    path = outliner(tmp_path / "fp32.onnx")
    usual = OutlineOperating(temperature=1.0, threshold=0.5, min_area_fraction=0.001, parts=9)
    strict = dataclasses.replace(usual, min_area_fraction=0.9)
    touched = []
    for how in (None, usual, strict):
        figures = Bench(path, SPLITS["val"], KEYS, how).fp32.figures
        touched.append(figures.sensitivity["structure"])
    assert touched[0] == touched[1] > 0.5
    assert touched[2] == 0.0


def test_dice_is_by_hand() -> None:
    first, second = np.zeros((3, 2, 2), np.bool_), np.zeros((3, 2, 2), np.bool_)
    first[0, 0] = second[0, 0, 0] = True
    first[1] = True
    assert dice_of(first, second).tolist() == [pytest.approx(2 / 3), 0.0, 1.0]
