"""The whole build, in small: from slices in a tar to a package that the registry takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.build.cli import build
from models.contract import FloatArray
from models.reference import check_references
from models.registry import ModelPackage, load_registry
from tests.unit.models.build.slices import write_data

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.export import open_session, run  # noqa: E402 only with torch


def command(folder: Path) -> Result:
    data, work, out = (str(folder / name) for name in ("data", "work", "models/tiny"))
    arguments = ["brain-mri-tumour", "--data", data, "--work", work, "--out", out, "--quick"]
    return CliRunner().invoke(build, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    folder = tmp_path_factory.mktemp("build")
    (folder / "data").mkdir()
    write_data(folder / "data")
    threads = torch.get_num_threads()
    yield folder, command(folder)
    torch.set_num_threads(threads)


@pytest.fixture
def package(built: tuple[Path, Result]) -> ModelPackage:
    return load_registry(bundled=built[0] / "models").packages[0]


def test_the_build_says_where_it_is(built: tuple[Path, Result]) -> None:
    assert built[1].exit_code == 0
    assert "val accuracy" in built[1].output
    assert "brain-mri-tumour is in tiny" in built[1].output


def test_the_registry_takes_what_was_built(package: ModelPackage) -> None:
    assert package.manifest.id == "brain-mri-tumour"
    assert len(package.read("fp32.onnx")) < 16e6


def test_the_graph_keeps_the_contract(package: ModelPackage) -> None:
    session = open_session(package.folder / "fp32.onnx")
    images = np.random.default_rng(0).random((3, 1, 224, 224), np.float32)
    outputs = run(session, images)
    shapes = {name: array.shape for name, array in outputs.items()}
    assert shapes == {
        "logits": (3, 4),
        "feature_map": (3, 1280, 7, 7),
        "class_weights": (4, 1280),
        "ood_score": (3,),
    }


def test_slices_do_not_influence_each_other_in_a_batch(package: ModelPackage) -> None:
    session = open_session(package.folder / "fp32.onnx")
    images = np.random.default_rng(1).random((4, 1, 224, 224), np.float32)
    batch = run(session, images)
    for index in range(4):
        alone = run(session, images[index : index + 1])
        for name in ("logits", "ood_score"):
            assert np.allclose(alone[name][0], batch[name][index], atol=1e-4)


def test_the_class_activation_map_adds_up_to_the_logits(package: ModelPackage) -> None:
    """CAM is exact for a pooled linear head: its mean is the logit up to the class's bias."""
    session = open_session(package.folder / "fp32.onnx")
    images = np.random.default_rng(2).random((2, 1, 224, 224), np.float32)
    outputs = run(session, images)
    maps = np.einsum("lc,nchw->nlhw", outputs["class_weights"], outputs["feature_map"])
    bias = outputs["logits"] - maps.mean(axis=(2, 3))
    assert np.allclose(bias[0], bias[1], atol=1e-4)


def test_the_package_answers_its_own_reference_cases(package: ModelPackage) -> None:
    session = open_session(package.folder / "fp32.onnx")

    def outputs(image: FloatArray) -> dict[str, FloatArray]:
        return run(session, image)

    assert check_references(package, outputs) == 5


def test_a_smoke_run_says_so_in_its_card(package: ModelPackage) -> None:
    assert "smoke run" in (package.folder / "CARD.md").read_text(encoding="utf-8")


def test_the_report_counts_every_slice_of_the_test_split(package: ModelPackage) -> None:
    report = json.loads(package.read("report.json"))
    confusion = np.array(report["test"]["confusion"]["true_by_stated"])
    assert confusion.sum() == report["test"]["images"] == 16
    assert confusion.sum(axis=1).tolist() == [4, 4, 4, 4]
    assert np.trace(confusion) / 16 == report["test"]["accuracy"]["value"]


def test_a_second_run_takes_the_training_up_where_it_was(built: tuple[Path, Result]) -> None:
    again = command(built[0])
    assert again.exit_code == 0
    assert "val accuracy" not in again.output


def test_a_smoke_run_never_replaces_a_real_model(tmp_path: Path) -> None:
    arguments = ["brain-mri-tumour", "--data", str(tmp_path), "--work", str(tmp_path), "--quick"]
    result = CliRunner().invoke(build, arguments)
    assert result.exit_code == 2
    assert "--out" in result.output
