"""The comparison end to end on drawn discs, in small; only the stopwatch is a double."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.measure import backbones  # noqa: E402 only with torch
from models.build.measure.backbones import (  # noqa: E402 only with torch
    Candidate,
    budget,
    candidates,
    compare,
)
from models.build.measure.latency import Engine, Latency, Timing  # noqa: E402 only with torch
from models.build.packs import Samples, load  # noqa: E402 only with torch
from models.build.recipe import BackbonesRecipe, Recipe, read_recipe  # noqa: E402 only with torch
from models.build.template import read_frame  # noqa: E402 only with torch
from tests.unit.models.build.own_model import write_model  # noqa: E402 only with torch

NAMES = ("efficientnet-lite0", "state-space")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small work is quicker without waiting for a second core that others use."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def course(folder: Path, task: str) -> tuple[dict[str, Samples], Recipe]:
    model = write_model(folder, task=task)
    recipe = read_recipe(model / "recipe.toml")
    spec = read_frame(model / "template.toml", recipe).spec
    return load(folder / "data", recipe.data, spec), recipe


def stopwatch(engines: Sequence[Engine], size: int) -> Latency:
    """Every engine takes as many ms as the network's name is long."""
    assert size == 64
    assert all(engine.file.is_file() for engine in engines)
    timings = [
        Timing(one, *([float(len(one.file.parent.name))] * 5), slices=(1.0,)) for one in engines
    ]
    return Latency(tuple(timings), "a machine", 0.0)


def compared(folder: Path, task: str, names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    samples, recipe = course(folder, task)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "side_by_side", stopwatch)
        table = compare(samples, recipe, folder / "work", lines.append, names, 1)
        again: list[str] = []
        assert compare(samples, recipe, folder / "work", again.append, names, 1) == table
    assert not any("training" in line for line in again)
    return table, lines


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    folder = tmp_path_factory.mktemp("classes")
    return folder, *compared(folder, "classification", NAMES)


def test_every_network_has_a_row_and_the_worse_one_is_taught_by_the_better(
    classes: tuple[Path, dict[str, Any], list[str]],
) -> None:
    rows = classes[1]["rows"]
    assert [row["network"] for row in rows[:2]] == list(NAMES)
    best = max(rows[:2], key=lambda row: row["on_val"])["network"]
    assert [(row["network"], row["taught_by"]) for row in rows[2:]] == [
        (next(name for name in NAMES if name != best), best)
    ]
    for row in rows:
        assert 0 <= row["quality"] <= 1
        assert 0 <= row["quality_int8"] <= 1
        assert row["cost"]["macs"] > 1e6
        assert row["bytes_int8"] < row["cost"]["file_bytes"]
        assert row["latency"]["engines"]


def test_the_table_is_kept_as_json_and_as_a_page(
    classes: tuple[Path, dict[str, Any], list[str]],
) -> None:
    folder, table, _ = classes
    assert json.loads((folder / "work/backbones.json").read_text(encoding="utf-8")) == table
    page = (folder / "work/backbones.md").read_text(encoding="utf-8")
    assert page.count("| state-space |") == sum(
        r["network"] == "state-space" for r in table["rows"]
    )
    assert "1 epochs for each network (1 at 64 px)" in page


def test_a_network_that_was_trained_twice_is_timed_once(
    classes: tuple[Path, dict[str, Any], list[str]],
) -> None:
    rows = classes[1]["rows"]
    times = {row["network"]: row["latency"] for row in rows}
    assert len(rows) > len(times)
    assert all(row["latency"] == times[row["network"]] for row in rows)


def test_the_answers_are_from_one_run_of_all_graphs(
    classes: tuple[Path, dict[str, Any], list[str]],
) -> None:
    found = classes[1]["answers"]
    assert found["networks"] == 2
    assert set(found["billion_operations_a_second"]) == set(NAMES)
    assert found["compiler_gap"]["ONNX Runtime fp32"] > 0


def test_outliners_are_compared_by_dice(tmp_path: Path) -> None:
    table, _ = compared(tmp_path, "segmentation", ["unet-state-space"])
    assert table["quality"] == "Dice"
    assert [row["network"] for row in table["rows"]] == ["unet-state-space"]


def test_a_changed_recipe_is_measured_again(tmp_path: Path) -> None:
    _, recipe = course(tmp_path, "classification")
    one = Candidate("mobileone-s0", pretrained=False)
    other = dataclasses.replace(recipe, seed=recipe.seed + 1)
    assert one.recipe(recipe, 64) != one.recipe(other, 64)


def test_the_networks_with_imagenet_weights_are_also_tried_without(tmp_path: Path) -> None:
    _, recipe = course(tmp_path, "classification")
    network = dataclasses.replace(recipe.network, pretrained=True)
    found = candidates(dataclasses.replace(recipe, network=network))
    assert Candidate("efficientnet-lite0", pretrained=True) in found
    assert Candidate("efficientnet-lite0", pretrained=False) in found
    assert Candidate("efficientnet-lite2", pretrained=False) not in found
    assert len({one.folder for one in found}) == len(found) == 6


def test_a_long_recipe_is_cut_to_the_budget(tmp_path: Path) -> None:
    _, recipe = course(tmp_path, "classification")
    assert budget(recipe, 64) == recipe.train.cycles
    long = dataclasses.replace(recipe.train.cycles[0], sizes=(224,) * 40)
    train = dataclasses.replace(recipe.train, cycles=(long,))
    (cycle,) = budget(dataclasses.replace(recipe, train=train), 224)
    assert cycle.sizes == (128,) * 8 + (192,) * 3 + (224,)
    assert cycle.learning_rate == recipe.train.cycles[0].learning_rate


def test_a_recipe_may_state_a_smaller_budget(tmp_path: Path) -> None:
    samples, recipe = course(tmp_path, "segmentation")
    small = dataclasses.replace(recipe, backbones=BackbonesRecipe(sizes=(32,), images=10))
    assert budget(small, 64)[0].sizes == (32,)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "side_by_side", stopwatch)
        table = compare(samples, small, tmp_path, lambda _: None, ("unet-state-space",), 1)
    assert "1 epochs for each network (1 at 32 px)" in table["budget"]
    assert "the same 10 images" in table["budget"]
