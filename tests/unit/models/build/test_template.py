"""Every template that is shipped gives a manifest that the registry would take."""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from pathlib import Path

import pytest

from models.build.errors import PackageError
from models.build.measuring import _strata
from models.build.recipe import read_recipe
from models.build.template import fill, read_frame
from models.build.values import values
from models.manifest import Manifest, parse_manifest
from tests.unit.models.build.made_reports import Report, classes_report, outline_report

ROOT = Path(__file__).parents[4] / "models"
TEMPLATES = sorted((ROOT / "build" / "templates").glob("*.toml"))
IDS = [path.stem for path in TEMPLATES]
FILES = {"fp32.onnx": "0" * 64, "int8.onnx": "1" * 64, "report.json": "2" * 64}


def report_for(template: Path) -> Report:
    """A made-up report of the task and labels of the template's recipe; the caller's own."""
    return copy.deepcopy(_made(template))


@functools.cache
def _made(template: Path) -> Report:
    recipe = read_recipe(ROOT / template.stem / "recipe.toml")
    data = recipe.data
    if recipe.task == "segmentation":
        names = _strata(data)
        made = outline_report(names, empties=data.empties is not None)
    else:
        assert data.negative is not None
        has_masks = data.outlines is not None
        made = classes_report(data.keys, data.negative, external=data.external, masks=has_masks)
    return made | {"model": template.stem}


def manifest_of(template: Path, files: dict[str, str] = FILES) -> Manifest:
    return parse_manifest(fill(template, values(report_for(template), files)), template.name)


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_a_template_becomes_a_manifest(template: Path) -> None:
    manifest = manifest_of(template)
    assert manifest.id == template.stem
    assert manifest.precision.preferred == "int8"
    assert manifest.precision.int8 is not None
    assert manifest.out_of_distribution is not None
    assert manifest.out_of_distribution.chosen == 'The "98th" percentile.'


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_labels_and_frame_are_those_of_the_recipe(template: Path) -> None:
    recipe = read_recipe(ROOT / template.stem / "recipe.toml")
    manifest, frame = manifest_of(template), read_frame(template)
    assert tuple(label.key for label in manifest.labels) == recipe.data.keys
    assert manifest.task == recipe.task
    assert (manifest.id, manifest.input) == (frame.id, frame.spec)
    assert manifest.applies_to.modalities == frame.modalities
    if manifest.outline:
        assert manifest.outline.parts == frame.parts


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_a_package_without_int8_says_nothing_of_it(template: Path) -> None:
    report = report_for(template)
    report["precision"]["preferred"] = "fp32"
    files = {"fp32.onnx": "0" * 64}
    manifest = parse_manifest(fill(template, values(report, files)), template.name)
    assert manifest.precision.int8 is None


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_a_template_holds_no_figure_that_should_be_measured(template: Path) -> None:
    """A percentage or a Dice in a text comes from the report, or it will be out of date."""
    text = template.read_text(encoding="utf-8")
    assert set(re.findall(r"[\d.]+ %|\b0\.\d\d+", text)) <= {"95 %"}  # of the intervals


def test_an_unknown_placeholder_is_named_with_its_line(tmp_path: Path) -> None:
    template = tmp_path / "template.toml"
    template.write_text('schema = 2\nlimits = ["It is $magic."]\n')
    with pytest.raises(PackageError, match=r"template\.toml, line 2: asks for \$magic"):
        fill(template, {})


def test_what_is_filled_into_a_text_cannot_end_it(tmp_path: Path) -> None:
    template = tmp_path / "template.toml"
    template.write_text('text = "$words"\nnumber = $number\n')
    filled = fill(template, {"words": 'a "quoted" \\ word\nnext', "number": "-1.5e-06"})
    assert tomllib.loads(filled) == {"text": 'a "quoted" \\ word next', "number": -1.5e-06}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id = ", "is not TOML"),
        ('id = "x"\n[applies_to]\nmodalities = ["MR"]\n', "'input'"),
        ('[input]\nname = "image"\nrows = "many"\n', "input"),
        ('id = "x"\ninput = { name = "i", rows = 1, columns = 1, low_percentile = 0, '
         "high_percentile = 100 }\n", "applies_to.modalities"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_told_of_before_anything_is_trained(
    text: str, problem: str, tmp_path: Path
) -> None:
    template = tmp_path / "template.toml"
    template.write_text(text)
    with pytest.raises(PackageError, match=problem):
        read_frame(template)


def test_a_template_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"template\.toml: the template cannot be read"):
        read_frame(tmp_path / "template.toml")
