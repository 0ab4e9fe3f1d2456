"""A package is asked its own reference cases, through whatever runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.contract import FloatArray
from models.errors import ManifestError, ReferenceMismatch
from models.reference import check_references, read_cases, read_image
from models.registry import ModelPackage, load_package
from tests.unit.models.facts import write_package

CASE = {
    "image": "ramp.png",
    "shows": "a ramp",
    "pixel_aspect": 1.0,
    "logits": [1.0, -1.0],
    "ood_score": 0.5,
}


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    folder = write_package(tmp_path / "spots")
    (folder / "reference").mkdir()
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(folder / "reference" / "ramp.png")
    write_cases(folder, [CASE])
    return load_package(folder)


def write_cases(folder: Path, cases: list[dict[str, object]]) -> None:
    table = {"tolerance": 0.01, "cases": cases}
    (folder / "reference" / "cases.json").write_text(json.dumps(table))


def answering(logit: float, ood: float) -> dict[str, FloatArray]:
    return {
        "logits": np.array([[logit, -1.0]], np.float32),
        "ood_score": np.array([ood], np.float32),
    }


def test_a_model_that_answers_as_written_passes(package: ModelPackage) -> None:
    assert check_references(package, lambda _: answering(1.005, 0.5)) == 1


def test_the_picture_reaches_the_model_prepared(package: ModelPackage) -> None:
    seen: list[FloatArray] = []

    def run(image: FloatArray) -> dict[str, FloatArray]:
        seen.append(image)
        return answering(1.0, 0.5)

    check_references(package, run)
    assert seen[0].shape == (1, 1, 224, 224)
    assert seen[0].max() == 1


@pytest.mark.parametrize(
    ("logit", "ood"), [(1.02, 0.5), (1.0, 0.52), (float("nan"), 0.5), (1.0, float("nan"))]
)
def test_an_answer_outside_the_tolerance_is_a_mismatch(
    package: ModelPackage, logit: float, ood: float
) -> None:
    with pytest.raises(ReferenceMismatch, match=r"ramp\.png"):
        check_references(package, lambda _: answering(logit, ood))


def test_another_precision_may_have_another_tolerance(package: ModelPackage) -> None:
    assert check_references(package, lambda _: answering(1.3, 0.5), tolerance=0.5) == 1


def test_pictures_keep_their_sixteen_bits(package: ModelPackage) -> None:
    image = read_image(package, read_cases(package).cases[0])
    assert image.max() == 64 * 64 - 1


def test_a_package_without_cases_cannot_pass(package: ModelPackage) -> None:
    write_cases(package.folder, [])
    with pytest.raises(ManifestError, match="no reference cases"):
        check_references(package, lambda _: answering(1.0, 0.5))


@pytest.mark.parametrize("missing", ["cases.json", "ramp.png"])
def test_a_missing_file_is_named(package: ModelPackage, missing: str) -> None:
    (package.folder / "reference" / missing).unlink()
    with pytest.raises(ManifestError, match="reference"):
        check_references(package, lambda _: answering(1.0, 0.5))


def test_a_case_cannot_point_outside_its_folder(package: ModelPackage) -> None:
    write_cases(package.folder, [CASE | {"image": "../fp32.onnx"}])
    with pytest.raises(ManifestError, match="picture"):
        check_references(package, lambda _: answering(1.0, 0.5))
