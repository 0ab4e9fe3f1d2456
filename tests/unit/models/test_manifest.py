"""A manifest is read strictly: what is wrong with it is said in a sentence that names the key."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from models.errors import ManifestError
from models.manifest import (
    Int8Figures,
    Outline,
    SourceAttributes,
    parse_manifest,
    read_manifest,
)
from tests.unit.models.facts import MANIFEST, SEGMENTATION, write_package

OUTLINE = '[outline]\nmin_area_fraction = 0.1\nmeasure = "area"\nparts = 1\n'
AGGREGATION = MANIFEST[MANIFEST.index("[aggregation]") : MANIFEST.index("[explanation]")]
CONFORMAL = """
[prediction_set]
method = "split conformal (least ambiguous)"
coverage = 0.9
threshold = 0.7
coverage_test = 0.91
"""
CODED = 'coding = { system = "http://example.org/codes", code = "1", display = "Spot" }'


def test_a_complete_manifest_is_read_into_values() -> None:
    manifest = parse_manifest(MANIFEST)
    assert manifest.id == "spots"
    assert manifest.input.rows == 224
    assert manifest.calibration.temperature == 1.0
    assert isinstance(manifest.calibration.temperature, float)
    assert manifest.labels[0].coding is not None
    assert manifest.labels[0].coding.code == "1"
    assert (manifest.findings, manifest.negative) == ((0,), 1)


def test_the_list_of_files_cannot_be_changed_afterwards() -> None:
    manifest = parse_manifest(MANIFEST)
    with pytest.raises(TypeError):
        manifest.files["fp32.onnx"] = "another"  # type: ignore[index]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('title = "Spots"', "", "'title' is missing"),
        ('title = "Spots"', "title = 5", "'title' is not a text"),
        ('title = "Spots"', 'title = "Spots"\ncolour = "red"', "'colour' is not a key"),
        ("rows = 224", "rows = true", "'input.rows' is not a whole number"),
        ("rows = 224", "rows = 224.5", "'input.rows' is not a whole number"),
        ("rows = 224", "rows = 0", "'input' has no size"),
        ("temperature = 1", 'temperature = "1"', "'calibration.temperature' is not a number"),
        ("temperature = 1", "temperature = 0", "'calibration.temperature' is not above 0"),
        ("temperature = 1", "temperature = nan", "'calibration.temperature' is not a finite"),
        ('task = "classification"', 'task = "guessing"', "'task' is not one of classification"),
        ('stage = "research"', 'stage = "cleared"', "'stage' is not one of research"),
        ('method = "cam"', 'method = "magic"', "'explanation.method' is not one of cam"),
        ('role = "negative"', 'role = "normal"', r"'labels\[1\].role' is not one of"),
        ('role = "negative"', 'role = "finding"', "one negative label"),
        ('key = "no-spot"', 'key = "spot"', "a label twice"),
        ("threshold = 0.9", "threshold = 1.1", "not above 0 and at most 1"),
        (
            "threshold = 0.9",
            'threshold = 0.9\ncoding = "x"',
            r"'labels\[1\].coding' is not a table",
        ),
        (
            "threshold = 0.9",
            'threshold = 0.9\ncoding = { system = "s", code = "c", display = "normal" }',
            "the negative label a code",
        ),
        ('code = "1", ', "", r"'labels\[0\].coding.code' is missing"),
        ("schema = 2", "schema = 1", "'schema' is not 2"),
        ('id = "spots"', 'id = ""', "must not be empty"),
        ('"fp32.onnx" = ', '"other.onnx" = ', "does not list 'fp32.onnx'"),
        ('"fp32.onnx" = ', '"../x" = "0"\n"fp32.onnx" = ', "outside the package"),
        ("[files]", '[files]\n"reference/../x" = "0"', "outside the package"),
        ("[files]", '[files]\n"reference/a/b" = "0"', "outside the package"),
        ("[files]", '[files]\n"reference/" = "0"', "outside the package"),
        ("[files]", '[files]\n"pictures/x.png" = "0"', "outside the package"),
        ("[files]", '[files]\n"" = "0"', "outside the package"),
        ("[files]", '[files]\n"report.json" = 3', "'files.report.json' is not a text"),
        ("low_percentile = 0.5", "low_percentile = 99.9", "low < high"),
        ("window = 3", "window = 0", "'aggregation.window' is below 1"),
        ("fraction = 0.8", "fraction = 1.8", "not between 0 and 1"),
        ('modalities = ["MR"]', 'modalities = "MR"', "'applies_to.modalities' is not a list"),
        ('modalities = ["MR"]', "modalities = [1]", r"'applies_to.modalities\[0\]' is not a text"),
        ("schema = 2", "schema = ", "not TOML"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_name_of_the_key(
    old: str, new: str, words: str
) -> None:
    assert old in MANIFEST
    with pytest.raises(ManifestError, match=words):
        parse_manifest(MANIFEST.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('developer_and_contact = "unknown"', "", "'attributes.developer_and_contact' is missing"),
        ('funding_source = "unknown"', 'funding_source = " "', "'attributes.funding_source' is em"),
        ('summary = "unknown"', 'summary = ""', "'chai.summary' is empty"),
        ('keywords = ["tests"]', 'keywords = [""]', "'chai.keywords' is empty"),
        ('release_date = "unknown"', 'release_date = "May"', "'chai.release_date' is neither"),
        ('release_date = "unknown"', 'release_date = "2026-02-30"', "'chai.release_date' is nei"),
        ('kind = "safety"', 'kind = "fairness"', 'has no metric of kind "safety"'),
        ('goal = "unknown"', 'goal = ""', r"'chai.key_metrics\[0\].goal' is empty"),
        ('preferred = "fp32"', 'preferred = "int8"', "though its gates did not hold"),
        ('preferred = "fp32"', 'preferred = "fp16"', "is not one of fp32, int8"),
        ("disagreement_limit = 0.05", "disagreement_limit = 5", "is not between 0 and 1"),
        ('reason = "There is no other graph."', 'reason = ""', "'precision.reason' must not be"),
        ("[files]", f'[files]\n"int8.onnx" = "{"0" * 64}"', "'precision.int8' is stated just"),
        ("[files]", f'[files]\n"head.onnx" = "{"0" * 64}"', "'files' lists 'head.onnx' just"),
        ("[files]", '[files]\n"report.json" = "abc"', "'files.report.json' is not a SHA-256"),
        ('method = "cam"', 'method = "cells"', "'files' lists 'head.onnx' just"),
        ('method = "cam"', 'method = "outline"', "'explanation.method' is for a segmentation"),
        ('class_weights = "class_weights"', "", "'outputs.class_weights' is missing"),
        ('ood_score = "ood_score"', "", "'outputs.ood_score' is missing"),
        ("[outputs]", '[outputs]\nmask_logits = "m"', "'outputs.mask_logits' has no use"),
        ('"neighbouring-slice mean"', '"each slice alone"', "'aggregation.rule' is not"),
        ("ece_test = 0.02", "ece_test = 2", "'calibration.ece_test' is not between"),
        ("min_rows = 64", "min_rows = 64\nmin_age_years = 9\nmax_age_years = 8", "has ages"),
        ("min_rows = 64", "min_rows = 64\nmin_age_years = -1", "has ages"),
        ('modalities = ["MR"]', "modalities = []", "'applies_to.modalities' is empty"),
        ("[calibration]", OUTLINE + "[calibration]", "'outline' is stated just where"),
        ("[input]", '[chain]\nafter = "spots"\nwhen = ["a"]\n[input]', "is the model itself"),
        ("[input]", '[chain]\nafter = "x"\nwhen = []\n[input]', "'chain.when' is empty"),
        (
            "[input]",
            '[chain]\nafter = "x"\nwhen = ["a"]\nwitnesses = ["b"]\n[input]',
            "'chain.witnesses' holds a label",
        ),
        ("[input]", CONFORMAL.replace("0.9", "1.9") + "[input]", "'prediction_set.coverage' is n"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(old: str, new: str, words: str) -> None:
    assert old in MANIFEST
    with pytest.raises(ManifestError, match=words):
        parse_manifest(MANIFEST.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('role = "structure"', 'role = "finding"', "one label, of role structure"),
        (CODED, "", r"'labels\[0\].coding' is missing"),
        ('mask_logits = "mask_logits"', 'logits = "x"', "'outputs.logits' has no use"),
        ('mask_logits = "mask_logits"', 'ood_score = "o"', "'outputs.mask_logits' is missing"),
        ("[input]", '[outputs]\nood_score = "x"\n[input]', "not TOML"),
        ('"mask_logits"', '"mask_logits"\nood_score = "o"', "'out_of_distribution' is stated"),
        ("parts = 1", "parts = 0", "'outline.parts' is below 1"),
        ("min_area_fraction = 0.001", "min_area_fraction = -1", "is not between 0 and 1"),
        ('method = "outline"', 'method = "cam"', "'explanation.method' is not \"outline\""),
        ("[input]", AGGREGATION + "[input]", "'aggregation' is for a classification"),
        ("[input]", CONFORMAL + "[input]", "'prediction_set' is for a classification"),
    ],
)
def test_a_segmentation_says_what_a_segmentation_must(old: str, new: str, words: str) -> None:
    assert old in SEGMENTATION
    with pytest.raises(ManifestError, match=words):
        parse_manifest(SEGMENTATION.replace(old, new, 1))


def test_a_segmentation_is_read_into_values() -> None:
    manifest = parse_manifest(SEGMENTATION)
    assert manifest.structure.key == "spot"
    assert (manifest.findings, manifest.ood_limit) == ((), math.inf)
    assert manifest.outline == Outline(0.001, "area", 1)


def test_an_int8_graph_comes_with_its_figures() -> None:
    files = f'[files]\n"int8.onnx" = "{"0" * 64}"'
    text = MANIFEST.replace("[files]", files).replace(
        "[attributes]",
        "[precision.int8]\nagreement = 0.98\nspeed_up = 2.1\nsmaller = 3.7\n"
        "gates_held = true\n[attributes]",
    )
    assert parse_manifest(text).precision.int8 == Int8Figures(0.98, 2.1, 3.7, True)
    preferred = text.replace('preferred = "fp32"', 'preferred = "int8"')
    assert parse_manifest(preferred).precision.preferred == "int8"
    with pytest.raises(ManifestError, match="gates did not hold"):
        parse_manifest(preferred.replace("gates_held = true", "gates_held = false"))


def test_a_prediction_set_holds_what_is_probable_enough() -> None:
    manifest = parse_manifest(MANIFEST.replace("[input]", CONFORMAL + "[input]"))
    assert manifest.prediction_set is not None
    held = [manifest.prediction_set.holds(chance) for chance in (0.5, 0.35, 0.25, 0.0)]
    assert held == [True, True, False, False]


def test_there_are_thirty_one_source_attributes() -> None:
    """45 CFR 170.315(b)(11)(iv)(B); see docs/models.md."""
    assert len(dataclasses.fields(SourceAttributes)) == 31


def test_an_error_names_the_file_and_the_line(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "spots", MANIFEST.replace("rows = 224", "rows = 0"))
    line = MANIFEST[: MANIFEST.index("[input]")].count("\n") + 1
    with pytest.raises(ManifestError, match=rf"spots/model\.toml, line {line}: "):
        read_manifest(folder)


def test_another_version_of_the_schema_is_told_before_its_keys() -> None:
    with pytest.raises(ManifestError, match="'schema' is not 2"):
        parse_manifest('schema = 3\nnew = "key"\n')
    with pytest.raises(ManifestError, match="'schema' is not 2"):
        parse_manifest("")


def test_a_section_that_is_not_a_table_is_refused() -> None:
    text = "files = 3\n" + MANIFEST.replace("[files]", "[calibration.files]")
    with pytest.raises(ManifestError, match="'files' is not a table"):
        parse_manifest(text)


def test_a_folder_without_manifest_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=tmp_path.name):
        read_manifest(tmp_path)


def test_a_manifest_that_is_not_text_is_refused(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "spots")
    (folder / "model.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(folder)
