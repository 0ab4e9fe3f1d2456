"""A manifest is read strictly: what is wrong with it is said in a sentence that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ManifestError
from models.manifest import parse_manifest, read_manifest
from tests.unit.models.facts import MANIFEST, write_package


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
