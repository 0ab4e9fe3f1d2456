"""A package is asked its own reference cases, through whatever runs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.contract import FloatArray
from models.errors import HashMismatch, ManifestError, ReferenceMismatch
from models.manifest import parse_manifest
from models.reference import Answer, Run, answers_of, check_references, read_cases, read_image
from models.registry import ModelPackage, load_package
from tests.unit.models.facts import SEGMENTATION, write_package

CASE = {
    "image": "ramp.png",
    "shows": "a ramp",
    "pixel_aspect": 1.0,
    "answers": {
        "fp32": {"logits": [1.0, -1.0], "ood_score": 0.5},
        "int8": {"logits": [1.3, -1.0], "ood_score": 0.5},
    },
}


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    folder = write_package(tmp_path / "spots")
    (folder / "reference").mkdir()
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(folder / "reference" / "ramp.png")
    write_cases(folder, [CASE])
    return load_package(folder)


def write_cases(folder: Path, cases: list[dict[str, object]], **tolerance: float) -> None:
    table = {"tolerance": tolerance or {"fp32": 0.01, "int8": 0.2}, "cases": cases}
    (folder / "reference" / "cases.json").write_text(json.dumps(table))


def answering(logit: float, ood: float = 0.5) -> Run:
    """A model that always says the same, of however many pictures."""

    def run(images: FloatArray) -> dict[str, FloatArray]:
        count = len(images)
        return {
            "logits": np.array([[logit, -1.0]] * count, np.float32),
            "ood_score": np.array([ood] * count, np.float32),
        }

    return run


def test_a_model_that_answers_as_written_passes(package: ModelPackage) -> None:
    assert check_references(package, answering(1.005)) == 1


def test_the_picture_reaches_the_model_prepared_alone_and_in_twos(package: ModelPackage) -> None:
    seen: list[FloatArray] = []

    def run(images: FloatArray) -> Mapping[str, FloatArray]:
        seen.append(images)
        return answering(1.0)(images)

    check_references(package, run)
    assert [images.shape for images in seen] == [(1, 1, 224, 224), (2, 1, 224, 224)]
    assert seen[0].max() == 1


@pytest.mark.parametrize(
    ("logit", "ood"), [(1.02, 0.5), (1.0, 0.52), (float("nan"), 0.5), (1.0, float("nan"))]
)
def test_an_answer_outside_the_tolerance_is_a_mismatch(
    package: ModelPackage, logit: float, ood: float
) -> None:
    with pytest.raises(ReferenceMismatch, match=r"in fp32 .* 'ramp\.png'"):
        check_references(package, answering(logit, ood))


def test_a_model_that_answers_a_pair_otherwise_is_not_served(package: ModelPackage) -> None:
    def run(images: FloatArray) -> Mapping[str, FloatArray]:
        return answering(1.0 if len(images) == 1 else 1.5)(images)

    with pytest.raises(ReferenceMismatch):
        check_references(package, run)


def test_only_the_second_of_a_pair_may_be_wrong(package: ModelPackage) -> None:
    other = CASE | {"answers": {"fp32": {"logits": [2.0, -1.0], "ood_score": 0.5}}}
    write_cases(package.folder, [CASE, other])

    def run(images: FloatArray) -> Mapping[str, FloatArray]:
        outputs = dict(answering(1.0)(images))
        outputs["logits"][1:] = 7.0
        return outputs

    with pytest.raises(ReferenceMismatch):
        check_references(package, run)


def test_each_precision_has_answers_and_a_tolerance_of_its_own(package: ModelPackage) -> None:
    assert check_references(package, answering(1.2), "int8") == 1
    with pytest.raises(ReferenceMismatch):
        check_references(package, answering(1.2), "fp32")


@pytest.mark.parametrize("tolerance", [{"fp32": 0.01}, {"fp32": 0.01, "int8": 0.2}])
def test_a_precision_without_stated_answers_cannot_pass(
    package: ModelPackage, tolerance: dict[str, float]
) -> None:
    answers = {"fp32": {"logits": [1.0, -1.0], "ood_score": 0.5}}
    write_cases(package.folder, [CASE | {"answers": answers}], **tolerance)
    with pytest.raises(ManifestError, match="int8"):
        check_references(package, answering(1.0), "int8")


def test_an_answer_without_all_the_numbers_is_a_mismatch(package: ModelPackage) -> None:
    write_cases(package.folder, [CASE | {"answers": {"fp32": {"logits": [1.0, -1.0]}}}])
    with pytest.raises(ReferenceMismatch):
        check_references(package, answering(1.0))


def outlining(values: list[list[float]]) -> Run:
    def run(images: FloatArray) -> dict[str, FloatArray]:
        return {"mask_logits": np.array([[values]] * len(images), np.float32)}

    return run


@pytest.fixture
def outline_package(package: ModelPackage) -> ModelPackage:
    """One half of the pixels has a probability of 3/4, the other of 1/4."""
    answer = {"area_fraction": 0.5, "mean_probability": 0.5}
    write_cases(package.folder, [CASE | {"answers": {"fp32": answer}}])
    return replace(package, manifest=parse_manifest(SEGMENTATION))


def test_a_segmentation_answers_with_an_area_and_a_mean(outline_package: ModelPackage) -> None:
    third = float(np.log(3.0))
    assert check_references(outline_package, outlining([[third, -third]])) == 1
    for values in ([[third, third]], [[third, -third, -third]], [[9.0, -third]]):
        with pytest.raises(ReferenceMismatch):
            check_references(outline_package, outlining(values))


def test_answers_are_made_as_they_are_checked(package: ModelPackage) -> None:
    images = np.zeros((2, 1, 224, 224), np.float32)
    made = answers_of(package.manifest, answering(1.0)(images))
    assert made == (Answer((1.0, -1.0), 0.5), Answer((1.0, -1.0), 0.5))


def test_pictures_keep_their_sixteen_bits(package: ModelPackage) -> None:
    image = read_image(package, read_cases(package).cases[0])
    assert image.max() == 64 * 64 - 1


def test_a_package_without_cases_cannot_pass(package: ModelPackage) -> None:
    write_cases(package.folder, [])
    with pytest.raises(ManifestError, match="no reference cases"):
        check_references(package, answering(1.0))


@pytest.mark.parametrize("missing", ["cases.json", "ramp.png"])
def test_a_missing_file_is_named(package: ModelPackage, missing: str) -> None:
    (package.folder / "reference" / missing).unlink()
    with pytest.raises(ManifestError, match="reference"):
        check_references(package, answering(1.0))


def test_a_broken_picture_is_named(package: ModelPackage) -> None:
    picture = package.folder / "reference" / "ramp.png"
    content = picture.read_bytes()
    picture.write_bytes(content[: len(content) // 2])
    with pytest.raises(ManifestError, match=r"ramp\.png"):
        check_references(package, answering(1.0))


def test_an_unknown_key_is_named_with_its_file(package: ModelPackage) -> None:
    write_cases(package.folder, [CASE | {"colour": 1}])
    with pytest.raises(ManifestError, match=r"spots/reference/cases\.json: .*'cases\[0\]\.colour'"):
        check_references(package, answering(1.0))


@pytest.mark.parametrize("name", ["cases.json", "ramp.png"])
def test_a_listed_file_that_was_changed_after_loading_is_refused(
    package: ModelPackage, name: str
) -> None:
    files = {
        f"reference/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (package.folder / "reference").iterdir()
    }
    lines = "\n".join(f'"{file}" = "{digest}"' for file, digest in files.items())
    manifest = package.folder / "model.toml"
    manifest.write_text(manifest.read_text().replace("[files]", f"[files]\n{lines}"))
    listed = load_package(package.folder)
    assert check_references(listed, answering(1.0)) == 1
    with (package.folder / "reference" / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(HashMismatch, match=f"'reference/{name}' of spots"):
        check_references(listed, answering(1.0))


def test_a_case_cannot_point_outside_its_folder(package: ModelPackage) -> None:
    write_cases(package.folder, [CASE | {"image": "../fp32.onnx"}])
    with pytest.raises(ManifestError, match="picture"):
        check_references(package, answering(1.0))
