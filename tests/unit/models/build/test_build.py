"""The whole chain, in small: from a folder of drawn images to a package that is served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from inference.pipeline import check_package  # noqa: E402 only with torch
from models.build import networks  # noqa: E402
from models.build.cli import build  # noqa: E402
from models.build.errors import DataError  # noqa: E402
from models.build.networks.tasks import Classifier, Outliner  # noqa: E402
from models.build.pipeline import Order  # noqa: E402
from models.build.pipeline import build as run  # noqa: E402
from models.registry import ModelPackage, load_registry  # noqa: E402
from tests.unit.models.build.discs import TinyEncoder  # noqa: E402
from tests.unit.models.build.own_model import write_model  # noqa: E402

NETWORKS = {"classification": "tiny", "segmentation": "tiny-outline"}


def tiny(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Classifier:
    return Classifier(name, TinyEncoder(), labels, dropout, masks)


def tiny_outline(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Outliner:
    encoder = TinyEncoder()
    return Outliner(name, encoder, labels, dropout, widths=(16, 8), convolutions=1)


@pytest.fixture(scope="module", autouse=True)
def small_networks() -> Iterator[None]:
    """Two networks of some thousand weights, known by name as all others are."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.CLASSIFIERS, "tiny", tiny)
        patch.setitem(networks.OUTLINERS, "tiny-outline", tiny_outline)
        yield
    torch.set_num_threads(threads)


def command(folder: Path, *more: str) -> Result:
    places = ["--data", str(folder / "data"), "--work", str(folder / "work")]
    out = ["--out", str(folder / "models" / "discs")]
    return CliRunner().invoke(
        build, [str(folder / "model"), *places, *out, "--quick", *more], catch_exceptions=False
    )


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp(request.param)
    write_model(folder, task=request.param, network=NETWORKS[request.param])
    return folder, command(folder)


@pytest.fixture
def package(built: tuple[Path, Result]) -> ModelPackage:
    assert built[1].exit_code == 0, built[1].output
    (found,) = load_registry(bundled=built[0] / "models").packages
    return found


def test_the_build_says_what_it_does_and_where_the_package_is(built: tuple[Path, Result]) -> None:
    assert built[1].exit_code == 0, built[1].output
    for step in ("data ...", "train ...", "export ...", "compress ...", "evaluate ..."):
        assert step in built[1].output
    assert built[1].output.splitlines()[-1].endswith("is in discs")


def test_the_service_loads_the_package_and_it_answers_its_cases(package: ModelPackage) -> None:
    assert check_package(package) == []


def test_the_package_has_all_its_parts(package: ModelPackage) -> None:
    names = {path.name for path in package.folder.iterdir()}
    assert {"fp32.onnx", "report.json", "recipe.toml", "reliability.png"} <= names
    assert {"CARD.md", "card.json", "card.xml", "reference", "latency.png"} <= names


def test_the_report_holds_every_step(package: ModelPackage) -> None:
    report = json.loads(package.read("report.json"))
    assert report["images"]["test"] == report["test"]["images"]
    assert report["compression"]["rows"][0]["step"] == "fp32"
    assert {gate["scope"] for gate in report["gates"]} == {"build", "int8"}
    assert report["graph_gate"]["held"]
    assert report["score"] in report["score_comparison"]
    assert report["latency"]["engines"]
    assert report["placeholder"].startswith("A smoke run")


def test_the_report_of_a_classifier_measures_maps_sets_and_elsewhere(package: ModelPackage) -> None:
    report = json.loads(package.read("report.json"))
    if report["task"] == "segmentation":
        assert report["test"]["with_structure"] == report["test"]["images"]
        return
    assert report["external_split"] == "elsewhere"
    assert report["elsewhere"]["images"] == 4
    assert report["prediction_set"]["coverage"] == 0.95
    assert "faithfulness" in report


def test_an_int8_graph_that_missed_a_gate_is_not_in_the_package(package: ModelPackage) -> None:
    """So small a network gains nothing, which two gates notice."""
    report = json.loads(package.read("report.json"))
    held = report["precision"]["int8"]["gates_held"]
    assert (package.folder / "int8.onnx").exists() is held
    assert package.manifest.precision.preferred == ("int8" if held else "fp32")
    assert held or "missed a gate" in package.manifest.precision.reason


def test_a_smoke_run_says_so_in_its_card(package: ModelPackage) -> None:
    assert "smoke run" in (package.folder / "CARD.md").read_text(encoding="utf-8")


def test_a_second_run_repeats_only_the_packaging(built: tuple[Path, Result]) -> None:
    again = command(built[0])
    assert again.exit_code == 0
    assert again.output.count("done before") == 5
    assert "epoch" not in again.output


def test_a_step_is_repeated_when_asked(built: tuple[Path, Result]) -> None:
    again = command(built[0], "--step", "data", "--again")
    assert again.exit_code == 0
    assert "data ..." in again.output
    assert "train" not in again.output.replace("train 1", "").replace("train 2", "")


def test_a_changed_recipe_repeats_what_depends_on_it(
    built: tuple[Path, Result], tmp_path: Path
) -> None:
    """In a copy, whose ledger nobody else reads."""
    copy = shutil.copytree(built[0], tmp_path / "copy")
    recipe = copy / "model" / "recipe.toml"
    recipe.write_text(
        recipe.read_text().replace("[calibrate]", "[calibrate]\nood_percentile = 90.0")
    )
    changed = command(copy, "--step", "export")
    assert changed.exit_code == 0
    assert "train: done before" in changed.output
    assert "export ..." in changed.output
    assert "compress" not in changed.output


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path, network="tiny")
    return tmp_path


def ends(folder: Path, code: int, *words: str) -> None:
    result = command(folder)
    assert result.exit_code == code, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert [word for word in words if word not in last] == [], last
    assert "Traceback" not in result.output
    assert not (folder / "models").exists()


def test_a_wrong_label_is_named_with_file_and_line(model: Path) -> None:
    path = model / "data" / "discs.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",disc,", ",disk,")
    path.write_text("\n".join(lines) + "\n")
    ends(model, 3, "discs.csv, line 4", "disk")


def test_an_image_that_is_none_is_named(model: Path) -> None:
    (model / "data" / "discs" / "images" / "test-disc-0.png").write_bytes(b"not a picture")
    ends(model, 3, "discs.csv, line", "test-disc-0.png")


def test_an_unknown_key_of_the_recipe_is_named(model: Path) -> None:
    recipe = model / "model" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[train]", "[train]\nspeed = 9"))
    ends(model, 3, "recipe.toml, line", "train.speed")


def test_an_unknown_network_is_named(model: Path) -> None:
    recipe = model / "model" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"tiny"', '"resnet-9000"'))
    ends(model, 1, "resnet-9000")


def test_a_network_for_the_other_task_is_refused(model: Path) -> None:
    recipe = model / "model" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"tiny"', '"tiny-outline"'))
    ends(model, 1, "tiny-outline", "classification")


def test_a_model_that_has_to_be_built_first_is_named_before_anything_is_done(model: Path) -> None:
    recipe = model / "model" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"tiny"', '"tiny"\nencoder_of = "other"'))
    places = (model / "model" / "template.toml", model / "data", model / "work", model / "models")
    with pytest.raises(DataError, match=r"^other/network\.pt is missing: .* built first"):
        run(Order(recipe, *places), lambda _: None)


def test_what_is_no_model_is_told_what_there_is() -> None:
    result = CliRunner().invoke(build, ["brain-ct", "--data", ".", "--work", "w"])
    assert result.exit_code == 3
    assert "brain-mri-tumour" in result.stderr


def test_a_folder_of_data_that_is_not_there_is_a_wrong_use(tmp_path: Path) -> None:
    arguments = ["brain-mri-tumour", "--data", str(tmp_path / "gone"), "--work", "w"]
    result = CliRunner().invoke(build, arguments)
    assert result.exit_code == 2
    assert "gone" in result.stderr
    assert "does not exist" in result.stderr


def test_a_work_folder_that_cannot_be_made_is_told(model: Path) -> None:
    (model / "taken").write_text("a file")
    places = ["--data", str(model / "data"), "--work", str(model / "taken" / "work")]
    result = CliRunner().invoke(build, [str(model / "model"), *places])
    assert result.exit_code == 3
    assert result.stderr == "work: the folder cannot be made: Not a directory.\n"


def test_a_smoke_run_never_replaces_a_real_model() -> None:
    arguments = ["brain-mri-tumour", "--data", ".", "--work", "w", "--quick"]
    result = CliRunner().invoke(build, arguments)
    assert result.exit_code == 2
    assert "--out" in result.output
