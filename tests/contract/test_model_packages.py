"""Every bundled model package: whole, measured, and as good as its card says."""

from __future__ import annotations

import csv
import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from inference.runtime import Runtime
from models.attributes import UNKNOWN
from models.build.card import card_files
from models.build.packs import as_input, load
from models.build.recipe import read_recipe
from models.contract import FloatArray, SeriesFacts
from models.errors import ModelError
from models.manifest import FP32, INT8
from models.outlines import kept_regions
from models.preprocess import prepare
from models.reference import check_references, read_cases, read_image
from models.registry import ModelPackage, load_registry
from tests.reference.toy import toy_cells

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
REGISTRY = load_registry()
IDS = [package.manifest.id for package in REGISTRY.packages]
GRAPHS = [(package, name) for package in REGISTRY.packages for name in package.precisions]
BATCHES = (1, 2, 4, 8)


def of_task(task: str) -> list[ModelPackage]:
    return [package for package in REGISTRY.packages if package.manifest.task == task]


def explained_by(method: str) -> list[ModelPackage]:
    return [p for p in REGISTRY.packages if p.manifest.explanation.method == method]


def named(package: ModelPackage) -> str:
    return package.manifest.id


each_package = pytest.mark.parametrize("package", REGISTRY.packages, ids=named)
each_classification = pytest.mark.parametrize("package", of_task("classification"), ids=named)
each_graph = pytest.mark.parametrize(
    ("package", "precision"), GRAPHS, ids=[f"{named(p)}-{name}" for p, name in GRAPHS]
)


def report_of(package: ModelPackage) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(package.read("report.json"))
    return report


def references(package: ModelPackage) -> FloatArray:
    """The prepared reference pictures, float32 (N, 1, rows, columns)."""
    images = [
        prepare(read_image(package, case), package.manifest.input, case.pixel_aspect)
        for case in read_cases(package).cases
    ]
    return np.concatenate(images)


def softmax(logits: FloatArray, temperature: float) -> FloatArray:
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def sigmoid(logits: FloatArray, temperature: float) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64) / temperature)))


def test_the_brain_model_is_bundled() -> None:
    assert "brain-mri-tumour" in IDS


@each_package
def test_nothing_of_a_bundled_package_is_at_fault(package: ModelPackage) -> None:
    assert not package.faults


@each_graph
def test_a_package_answers_its_reference_cases(package: ModelPackage, precision: str) -> None:
    runtime = Runtime(package, precision)
    assert check_references(package, runtime.named_outputs, precision) >= 3


@each_graph
def test_a_wrong_answer_would_be_noticed(package: ModelPackage, precision: str) -> None:
    runtime, names = Runtime(package, precision), package.manifest.outputs

    def shifted(images: FloatArray) -> dict[str, FloatArray]:
        outputs = runtime.named_outputs(images)
        name = names.logits or names.mask_logits or ""
        return outputs | {name: outputs[name] + np.float32(4)}

    with pytest.raises(ModelError):
        check_references(package, shifted, precision)


@each_graph
def test_the_graph_has_the_inputs_and_outputs_the_manifest_names(
    package: ModelPackage, precision: str
) -> None:
    session = ort.InferenceSession(
        package.read(f"{precision}.onnx"), providers=["CPUExecutionProvider"]
    )
    spec, names = package.manifest.input, package.manifest.outputs
    (given,) = session.get_inputs()
    assert (given.name, given.type) == (spec.name, "tensor(float)")
    assert isinstance(given.shape[0], str)
    assert given.shape[1:] == [1, spec.rows, spec.columns]
    stated = [output.name for output in session.get_outputs()]
    assert set(filter(None, dataclasses.astuple(names))) == set(stated)
    images = np.zeros((2, 1, spec.rows, spec.columns), np.float32)
    outputs = dict(zip(stated, session.run(stated, {spec.name: images}), strict=True))
    labels = len(package.manifest.labels)
    if names.logits:
        assert outputs[names.logits].shape == (2, labels)
    if names.class_weights and names.feature_map:
        channels = outputs[names.feature_map].shape[1]
        assert outputs[names.class_weights].shape == (labels, channels)
    if names.ood_score:
        assert outputs[names.ood_score].shape == (2,)
    if names.mask_logits:
        assert outputs[names.mask_logits].shape[:2] == (2, 1)


@each_graph
@pytest.mark.parametrize("count", BATCHES)
def test_a_batch_is_answered_as_each_of_its_slices(
    package: ModelPackage, precision: str, count: int
) -> None:
    """The same class, and a probability that moves by a thousandth at most."""
    runtime, manifest = Runtime(package, precision), package.manifest
    pictures = references(package)
    images = np.resize(pictures, (count, *pictures.shape[1:]))
    together = runtime.named_outputs(images)
    alone = [runtime.named_outputs(image[np.newaxis]) for image in images]
    name = manifest.outputs.logits or manifest.outputs.mask_logits or ""
    chances = softmax if manifest.outputs.logits else sigmoid
    first = chances(together[name], manifest.calibration.temperature)
    second = np.concatenate([chances(one[name], manifest.calibration.temperature) for one in alone])
    assert np.abs(first - second).max() <= 1e-3
    if manifest.outputs.logits:
        assert (first.argmax(axis=1) == second.argmax(axis=1)).all()


@pytest.mark.parametrize("package", explained_by("cam"), ids=named)
def test_the_class_activation_map_averages_to_the_logit_less_a_constant(
    package: ModelPackage,
) -> None:
    runtime, biases = Runtime(package, "fp32"), []
    for image in references(package):
        outputs = runtime.run(image[np.newaxis])
        maps = np.tensordot(runtime.class_weights, outputs.feature_map, 1)
        biases.append(outputs.logits - maps.mean(axis=(1, 2)))
    assert np.ptp(biases, axis=0).max() < 1e-3


@pytest.mark.parametrize("package", [toy_cells(), *explained_by("cells")], ids=named)
def test_the_head_alone_answers_as_the_whole(package: ModelPackage) -> None:
    runtime = Runtime(package, "fp32")
    for image in references(package):
        outputs = runtime.run(image[np.newaxis])
        logits = runtime.head_logits(outputs.feature_map[np.newaxis])[0]
        assert np.abs(logits - outputs.logits).max() < 1e-3


@each_classification
def test_noise_is_out_of_distribution(package: ModelPackage) -> None:
    for case in read_cases(package).cases:
        if case.image == "noise.png":
            scores = [answer.ood_score for answer in case.answers.values()]
            assert all(score and score > package.manifest.ood_limit for score in scores)
            return
    pytest.fail("there is no picture of noise")


@each_package
def test_a_package_is_small_enough_to_be_kept_in_the_source(package: ModelPackage) -> None:
    sizes = {name: len(package.read(name)) for name in package.manifest.files}
    assert max(sizes.values()) < 16e6


@each_package
def test_a_package_holds_no_code(package: ModelPackage) -> None:
    kinds = {path.suffix for path in package.folder.rglob("*") if path.is_file()}
    assert kinds <= {".toml", ".onnx", ".json", ".md", ".png", ".xml"}


@each_package
def test_the_recipe_is_kept_beside_the_graph(package: ModelPackage) -> None:
    recipe = tomllib.loads((package.folder / "recipe.toml").read_text(encoding="utf-8"))
    assert isinstance(recipe["seed"], int)


@each_classification
def test_the_negative_is_never_easier_to_state_than_a_finding(package: ModelPackage) -> None:
    manifest = package.manifest
    negative = manifest.labels[manifest.negative].threshold
    assert all(negative >= manifest.labels[index].threshold >= 0.5 for index in manifest.findings)


@each_classification
def test_the_negative_does_not_claim_a_normal_image(package: ModelPackage) -> None:
    label = package.manifest.labels[package.manifest.negative]
    assert label.coding is None
    assert "normal" not in label.display.lower()


@each_package
def test_what_a_hospital_must_know_is_mostly_known(package: ModelPackage) -> None:
    """ "unknown" may be said, but not of what the developer alone can know."""
    stated = dataclasses.asdict(package.manifest.attributes)
    assert sum(text != UNKNOWN for text in stated.values()) > len(stated) / 2
    for key in ("developer_and_contact", "intended_use", "output_type", "training_criteria"):
        assert stated[key] != UNKNOWN


def test_the_brain_model_states_its_shortcut() -> None:
    package = next(p for p in REGISTRY.packages if p.manifest.id == "brain-mri-tumour")
    risks = package.manifest.attributes.risks_and_limitations.lower()
    assert "shortcut" in risks
    assert "collection" in risks


@pytest.mark.parametrize(
    ("description", "image_type", "read"),
    [
        ("AX T1 POST GAD", ("ORIGINAL", "PRIMARY", "M", "ND"), True),
        ("t1_mprage_sag_p2_iso", ("ORIGINAL", "PRIMARY"), True),
        ("FLAIR cor", (), True),
        ("", (), True),
        ("3-plane LOC", (), False),
        ("AAHead_Scout", (), False),
        ("localizer", (), False),
        ("ep2d_diff_b1000_ADC", ("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), False),
        ("GE EPI 2mm", (), False),
        ("SWI_Images", ("ORIGINAL", "PRIMARY", "P", "ND"), False),
        ("TOF MIP", ("DERIVED", "SECONDARY", "PROJECTION IMAGE"), False),
        ("L-SPINE T1", (), False),
    ],
)
def test_the_brain_model_reads_plain_head_series_only(
    description: str, image_type: tuple[str, ...], read: bool
) -> None:
    series = SeriesFacts("1.2", "MR", description=description, image_type=image_type)
    applicable, refused = REGISTRY.candidates(series)
    chosen = [package.manifest.id for package in applicable]
    assert ("brain-mri-tumour" in chosen) is read
    assert all(refusal.reasons for refusal in refused)


@each_package
def test_the_whole_card_can_be_made_again_from_manifest_and_report(package: ModelPackage) -> None:
    for name, made in card_files(package.manifest, report_of(package)).items():
        assert made == (package.folder / name).read_text(encoding="utf-8")


@each_package
def test_the_manifest_repeats_what_was_measured(package: ModelPackage) -> None:
    report, manifest = report_of(package), package.manifest
    assert manifest.calibration.ece_test == report["test"]["ece"]
    assert (report["model"], report["task"]) == (manifest.id, manifest.task)
    stated, measured = manifest.precision, report["precision"]
    assert (stated.preferred, stated.reason) == (measured["preferred"], measured["reason"])
    if stated.int8:
        assert dataclasses.asdict(stated.int8) == measured["int8"]
    if manifest.prediction_set:
        assert manifest.prediction_set.coverage_test == report["prediction_set"]["coverage_test"]


@each_package
def test_a_served_int8_graph_is_as_much_smaller_as_it_says(package: ModelPackage) -> None:
    figures = package.manifest.precision.int8
    if figures is None:
        assert INT8 not in package.manifest.files
        return
    smaller = len(package.read(FP32)) / len(package.read(INT8))
    assert smaller == pytest.approx(figures.smaller, rel=0.01)


def test_half_of_all_tumours_from_elsewhere_were_once_called_tumour_free() -> None:
    """And now less than 3 %, after abstention: the failure this model must not have."""
    package = next(p for p in REGISTRY.packages if p.manifest.id == "brain-mri-tumour")
    assert report_of(package)["ext_dev"]["called_negative_abstaining"] < 0.03


def thinned(folder: Path, packs: set[str], every: int) -> Path:
    """The data folder again with every n-th test row of each label, and few of the others."""
    for pack in packs:
        (folder / f"{pack}.tar").symlink_to(DATA / f"{pack}.tar")
        with (DATA / f"{pack}.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        strata: dict[tuple[str, ...], int] = {}
        kept = []
        for row in rows:
            stratum = tuple(row.get(key, "") for key in ("label", "split", "site", "tb"))
            strata[stratum] = strata.get(stratum, -1) + 1
            if strata[stratum] % (every if row["split"] == "test" else 100) == 0:
                kept.append(row)
        with (folder / f"{pack}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(kept)
    return folder


def dice_of(mask: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


@pytest.mark.data
@pytest.mark.parametrize("package", REGISTRY.packages, ids=named)
def test_the_served_path_is_as_good_as_the_report_says(
    package: ModelPackage, tmp_path: Path
) -> None:
    """Raw pixels through `prepare` and the preferred graph, on a part of the test split."""
    manifest = package.manifest
    data = read_recipe(package.folder / "recipe.toml").data
    if manifest.task == "classification":
        data = dataclasses.replace(data, outlines=None)
    packs = {data.pack, *filter(None, [data.outlines, data.empties and data.empties.pack])}
    absent = [name for name in packs if not (DATA / f"{name}.tar").exists()]
    if absent:
        pytest.skip(f"the data sets {absent} are not here")
    runtime = Runtime(package, manifest.precision.preferred)
    test = load(thinned(tmp_path, packs, every=4), data, manifest.input)["test"]
    figures = report_of(package)["test"]
    if manifest.task == "classification":
        given = [runtime.run(image[np.newaxis]).logits for image in as_input(test.images)]
        values = (np.argmax(given, axis=1) == test.labels).astype(float)
        stated = figures["accuracy"]["value"]
    else:
        assert manifest.outline is not None
        least, temperature = manifest.structure.threshold, manifest.calibration.temperature
        dices = []
        for image, truth in zip(as_input(test.images), test.masks, strict=True):
            chances = sigmoid(runtime.run(image[np.newaxis]).mask_logits, temperature)
            mask = kept_regions(chances >= least, manifest.outline)
            small = truth.reshape(
                mask.shape[0], truth.shape[0] // mask.shape[0], mask.shape[1], -1
            ).mean(axis=(1, 3))
            if truth.any():
                dices.append(dice_of(mask, small >= 0.5))
        values, stated = np.array(dices), figures["dice"]["value"]
    assert len(values) >= 20
    # three standard errors of a mean, and one hundredth where all values are alike
    assert abs(values.mean() - stated) < 3 * values.std() / np.sqrt(len(values)) + 0.01
