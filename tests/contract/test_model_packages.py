"""Every bundled model package: whole, measured, and as good as its card says."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from models.contract import FloatArray, SeriesFacts
from models.errors import ModelError
from models.preprocess import prepare
from models.reference import check_references, read_cases, read_image
from models.registry import ModelPackage, load_registry

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
REGISTRY = load_registry()
IDS = [package.manifest.id for package in REGISTRY.packages]
NAMES = {"notumor": "no-tumour"}  # the data set's name of a label, where the package's differs


@pytest.fixture(scope="module", params=REGISTRY.packages, ids=IDS)
def package(request: pytest.FixtureRequest) -> ModelPackage:
    found: ModelPackage = request.param
    return found


@pytest.fixture(scope="module")
def session(package: ModelPackage) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(package.read("fp32.onnx"), options, ["CPUExecutionProvider"])


def outputs_of(session: ort.InferenceSession, image: FloatArray) -> dict[str, FloatArray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))


def test_the_brain_model_is_bundled() -> None:
    assert "brain-mri-tumour" in IDS


def test_a_package_answers_its_reference_cases(
    package: ModelPackage, session: ort.InferenceSession
) -> None:
    assert check_references(package, lambda image: outputs_of(session, image)) >= 3


def test_a_wrong_answer_would_be_noticed(
    package: ModelPackage, session: ort.InferenceSession
) -> None:
    def shifted(image: FloatArray) -> dict[str, FloatArray]:
        outputs = outputs_of(session, image)
        name = package.manifest.outputs.logits
        return outputs | {name: outputs[name] + np.float32(0.05)}

    with pytest.raises(ModelError):
        check_references(package, shifted)


def test_the_graph_has_the_inputs_and_outputs_the_manifest_names(
    package: ModelPackage, session: ort.InferenceSession
) -> None:
    spec, names = package.manifest.input, package.manifest.outputs
    (given,) = session.get_inputs()
    assert (given.name, given.type) == (spec.name, "tensor(float)")
    assert isinstance(given.shape[0], str)
    assert given.shape[1:] == [1, spec.rows, spec.columns]
    outputs = outputs_of(session, np.zeros((2, 1, spec.rows, spec.columns), np.float32))
    labels = len(package.manifest.labels)
    channels = outputs[names.feature_map].shape[1]
    assert outputs[names.logits].shape == (2, labels)
    assert outputs[names.class_weights].shape == (labels, channels)
    assert outputs[names.ood_score].shape == (2,)


def test_the_class_activation_map_averages_to_the_logit_less_a_constant(
    package: ModelPackage, session: ort.InferenceSession
) -> None:
    names, biases = package.manifest.outputs, []
    for case in read_cases(package).cases:
        image = prepare(read_image(package, case), package.manifest.input, case.pixel_aspect)
        outputs = outputs_of(session, image)
        maps = np.tensordot(outputs[names.class_weights], outputs[names.feature_map][0], 1)
        biases.append(outputs[names.logits][0] - maps.mean(axis=(1, 2)))
    assert np.ptp(biases, axis=0).max() < 1e-3


def test_noise_is_out_of_distribution(package: ModelPackage, session: ort.InferenceSession) -> None:
    limit = package.manifest.out_of_distribution.threshold
    cases = {case.image: case for case in read_cases(package).cases}
    assert cases["noise.png"].ood_score > limit


def test_a_package_is_small_enough_to_be_kept_in_the_source(package: ModelPackage) -> None:
    sizes = {name: len(package.read(name)) for name in package.manifest.files}
    assert max(sizes.values()) < 16e6


def test_a_package_holds_no_code(package: ModelPackage) -> None:
    kinds = {path.suffix for path in package.folder.rglob("*") if path.is_file()}
    assert kinds <= {".toml", ".onnx", ".json", ".md", ".png"}


def test_the_recipe_is_kept_beside_the_graph(package: ModelPackage) -> None:
    recipe = tomllib.loads((package.folder / "recipe.toml").read_text(encoding="utf-8"))
    assert isinstance(recipe["seed"], int)


def test_the_negative_is_never_easier_to_state_than_a_finding(package: ModelPackage) -> None:
    manifest = package.manifest
    negative = manifest.labels[manifest.negative].threshold
    assert all(negative >= manifest.labels[index].threshold >= 0.5 for index in manifest.findings)


def test_the_negative_does_not_claim_a_normal_image(package: ModelPackage) -> None:
    label = package.manifest.labels[package.manifest.negative]
    assert label.coding is None
    assert "normal" not in label.display.lower()


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


def test_the_card_states_the_figures_of_the_report(package: ModelPackage) -> None:
    card = (package.folder / "CARD.md").read_text(encoding="utf-8")
    report = json.loads(package.read("report.json"))
    test, external = report["test"], report["ext_dev"]
    shares = [
        test["accuracy"]["value"],
        test["abstaining"]["accuracy"],
        test["abstaining"]["coverage"],
        external["called_negative"],
        external["called_negative_abstaining"],
    ]
    for figures in test["per_class"].values():
        shares += [figures["sensitivity"]["value"], figures["specificity"]["value"]]
    stated = set(re.findall(r"\d+\.\d %", card))
    assert {f"{100 * share:.1f} %" for share in shares} <= stated
    assert f"{test['ece']:.3f}" in card


def test_the_whole_card_can_be_made_again_from_manifest_and_report(package: ModelPackage) -> None:
    pytest.importorskip("torch", reason="the extra [build] is not installed")
    from models.build.card import write_card

    made = write_card(package.manifest, json.loads(package.read("report.json")))
    assert made == (package.folder / "CARD.md").read_text(encoding="utf-8")


def test_the_manifest_repeats_what_was_measured(package: ModelPackage) -> None:
    report = json.loads(package.read("report.json"))
    assert package.manifest.calibration.ece_test == report["test"]["ece"]
    assert report["model"] == package.manifest.id


def test_half_of_all_tumours_from_elsewhere_were_once_called_tumour_free() -> None:
    """And now at most one in twenty, after abstention: the failure this model must not have."""
    package = next(p for p in REGISTRY.packages if p.manifest.id == "brain-mri-tumour")
    assert json.loads(package.read("report.json"))["ext_dev"]["called_negative_abstaining"] < 0.05


def sampled_test_slices(every: int) -> Iterator[tuple[str, FloatArray]]:
    """(label, pixels) of every n-th slice of the test split."""
    with (DATA / "brain_cls.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"][::every]
    with tarfile.open(DATA / "brain_cls.tar") as archive:
        for row in rows:
            stream_of_file = archive.extractfile(f"brain_cls/{row['file']}")
            assert stream_of_file is not None
            pixels = np.asarray(Image.open(io.BytesIO(stream_of_file.read())).convert("L"))
            yield NAMES.get(row["label"], row["label"]), pixels


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "brain_cls.tar").exists(), reason="the data set is not here")
def test_the_served_path_is_as_accurate_as_the_report_says() -> None:
    """Raw pixels through `prepare` and the graph, on a sixth of the test split."""
    package = next(p for p in REGISTRY.packages if p.manifest.id == "brain-mri-tumour")
    session = ort.InferenceSession(package.read("fp32.onnx"), providers=["CPUExecutionProvider"])
    keys, hits = [label.key for label in package.manifest.labels], []
    for label, pixels in sampled_test_slices(every=6):
        outputs = outputs_of(session, prepare(pixels, package.manifest.input))
        hits.append(keys[int(outputs[package.manifest.outputs.logits][0].argmax())] == label)
    assert len(hits) >= 120
    stated = json.loads(package.read("report.json"))["test"]["accuracy"]["value"]
    # three standard errors of a share of 130
    assert abs(np.mean(hits) - stated) < 3 * np.sqrt(stated * (1 - stated) / len(hits))
