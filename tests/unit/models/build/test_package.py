"""A package is written whole or not at all, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.build import package as writing
from models.build import plots
from models.build.errors import PackageError
from models.build.package import Parts, as_json, write_package
from models.errors import HashMismatch
from models.manifest import read_manifest
from models.registry import load_package, load_registry
from tests.unit.models.build.made_reports import classes_report
from tests.unit.models.build.own_model import write_model

pytest.importorskip("matplotlib", reason="the extra [build] is not installed")


def write_graph(path: Path) -> Path:
    """A classifier of the mean brightness with every output that a manifest may name."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["feature_map"]),
        helper.make_node("Flatten", ["feature_map"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
        helper.make_node("Identity", ["w"], ["class_weights"]),
        helper.make_node("ReduceSum", ["flat", "axis"], ["ood_score"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(np.array([[2.0], [-2.0]], np.float32), "w"),
        numpy_helper.from_array(np.array([-1.0, 1.0], np.float32), "b"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    shapes = {
        "logits": ["n", 2],
        "feature_map": ["n", 1, 1, 1],
        "class_weights": [2, 1],
        "ood_score": ["n"],
    }
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 64, 64])
    graph = helper.make_graph(nodes, "mean", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


REPORT = classes_report(("disc", "no-disc"), "no-disc") | {"model": "discs"}


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return plots.draw(REPORT)


@pytest.fixture(autouse=True)
def drawn_once(pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all else here, and is tested elsewhere."""
    monkeypatch.setattr(plots, "draw", lambda report: pictures)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    model = write_model(tmp_path)
    graph = write_graph(tmp_path / "made.onnx")
    graphs = {"fp32.onnx": graph, "int8.onnx": graph}
    return Parts(graphs, model / "recipe.toml", model / "template.toml", REPORT)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_package_is_what_the_registry_takes(parts: Parts, tmp_path: Path) -> None:
    write_package(tmp_path / "models" / "discs", parts)
    (package,) = load_registry(bundled=tmp_path / "models").packages
    assert package.precisions == ("fp32", "int8")
    assert set(package.manifest.files) >= {"fp32.onnx", "int8.onnx", "report.json", "roc.png"}
    cases = json.loads((package.folder / "reference" / "cases.json").read_text())
    assert set(cases["tolerance"]) == {"fp32", "int8"}
    assert all(set(case["answers"]) == {"fp32", "int8"} for case in cases["cases"])


def test_every_reference_file_is_listed(parts: Parts, tmp_path: Path) -> None:
    manifest = write_package(tmp_path / "discs", parts)
    made = {f"reference/{path.name}" for path in (tmp_path / "discs" / "reference").iterdir()}
    assert len(made) > 2
    assert {name for name in manifest.files if "/" in name} == made
    package = load_package(tmp_path / "discs")
    assert json.loads(package.read("reference/cases.json"))["tolerance"]["fp32"] == 0.01


def test_a_package_whose_tolerance_was_raised_is_refused(parts: Parts, tmp_path: Path) -> None:
    write_package(tmp_path / "models" / "discs", parts)
    cases = tmp_path / "models" / "discs" / "reference" / "cases.json"
    cases.write_text(cases.read_text().replace('"fp32": 0.01', '"fp32": 9.99'))
    with pytest.raises(HashMismatch, match=r"'reference/cases\.json' of discs is not the file"):
        load_registry(bundled=tmp_path / "models")


def test_the_same_parts_give_the_same_package(parts: Parts, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_package(tmp_path / name, parts)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_nothing_but_the_package_is_left(parts: Parts, tmp_path: Path) -> None:
    place = tmp_path / "models"
    for _ in range(2):  # the second replaces the first
        write_package(place / "discs", parts)
        assert [path.name for path in place.iterdir()] == ["discs"]


@pytest.mark.parametrize("step", ["_write_references", "_check", "card_files"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_package_and_nothing_else(
    parts: Parts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    place = tmp_path / "models"
    write_package(place / "discs", parts)
    before = contents(place)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writing, step, fail)
    with pytest.raises((PackageError, KeyboardInterrupt)):
        write_package(place / "discs", parts)
    assert contents(place) == before


def test_what_a_kill_left_behind_is_no_package_and_goes_with_the_next_build(
    parts: Parts, tmp_path: Path
) -> None:
    place = tmp_path / "models"
    half = place / ".scanhook-build-discs" / "new"
    half.mkdir(parents=True)
    (half / "model.toml").write_text("half")
    assert load_registry(bundled=place).packages == ()
    write_package(place / "discs", parts)
    assert [path.name for path in place.iterdir()] == ["discs"]


def test_a_kill_between_the_two_renames_loses_no_package(parts: Parts, tmp_path: Path) -> None:
    place = tmp_path / "models"
    write_package(place / "discs", parts)
    staging = place / ".scanhook-build-discs"
    staging.mkdir()
    (place / "discs").rename(staging / "old")
    broken = Parts({"fp32.onnx": tmp_path / "absent.onnx"}, *_rest(parts))
    with pytest.raises(PackageError, match="cannot be written"):
        write_package(place / "discs", broken)
    assert read_manifest(place / "discs").id == "discs"


def _rest(parts: Parts) -> tuple[Path, Path, dict[str, object]]:
    return parts.recipe, parts.template, parts.report


def test_a_card_that_lacks_an_attribute_is_not_built(parts: Parts, tmp_path: Path) -> None:
    text = parts.template.read_text()
    parts.template.write_text(text.replace('funding_source = "unknown"\n', ""))
    with pytest.raises(Exception, match=r"attributes\.funding_source.*missing"):
        write_package(tmp_path / "models" / "discs", parts)
    assert not list((tmp_path / "models").iterdir())


def test_a_graph_that_answers_differently_every_time_is_not_packaged(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter(range(10_000))

    def unsteady(session: object, images: np.ndarray) -> dict[str, np.ndarray]:
        shift = np.float32(next(given))
        rows = len(images)
        return {"logits": np.full((rows, 2), shift), "ood_score": np.zeros(rows, np.float32)}

    monkeypatch.setattr(writing, "run", unsteady)
    with pytest.raises(PackageError, match="away from its reference case"):
        write_package(tmp_path / "models" / "discs", parts)


def test_a_figure_that_is_not_a_number_is_named() -> None:
    with pytest.raises(PackageError, match=r"report\.json: the figure test\.rows\[1\]\.ece is not"):
        as_json({"test": {"rows": [{"ece": 0.1}, {"ece": float("nan")}]}})


def test_the_reference_pictures_suit_what_the_model_reads(parts: Parts, tmp_path: Path) -> None:
    text = parts.template.read_text()
    parts.template.write_text(text.replace('modalities = ["MR"]', 'modalities = ["DX"]'))
    write_package(tmp_path / "chest", parts)
    drawn = {
        path.name for path in (load_package(tmp_path / "chest").folder / "reference").iterdir()
    }
    assert {"chest.png", "noise.png"} <= drawn
