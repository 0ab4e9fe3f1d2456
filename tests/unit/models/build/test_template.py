"""Every template that is shipped gives a manifest that the registry would take."""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from models.build.errors import PackageError
from models.build.expected import expected
from models.build.recipe import Recipe, read_recipe
from models.build.template import fill, read_frame
from models.build.values import values
from models.manifest import Manifest, parse_manifest
from tests.unit.models.build.made_reports import Report, classes_report, outline_report
from tests.unit.models.build.own_model import write_model

ROOT = Path(__file__).parents[4] / "models"
TEMPLATES = sorted((ROOT / "build" / "templates").glob("*.toml"))
IDS = [path.stem for path in TEMPLATES]
FILES = {"fp32.onnx": "0" * 64, "int8.onnx": "1" * 64, "report.json": "2" * 64}


def recipe_of(template: Path) -> Recipe:
    return read_recipe(ROOT / template.stem / "recipe.toml")


def report_for(template: Path) -> Report:
    """A made-up report of the task and labels of the template's recipe; the caller's own."""
    return copy.deepcopy(_made(template))


@functools.cache
def _made(template: Path) -> Report:
    recipe = recipe_of(template)
    data = recipe.data
    if recipe.task == "segmentation":
        made = outline_report(data.strata, empties=data.empties is not None)
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
    recipe = recipe_of(template)
    manifest, frame = manifest_of(template), read_frame(template, recipe)
    assert tuple(label.key for label in manifest.labels) == recipe.data.keys
    assert manifest.task == recipe.task
    assert (manifest.id, manifest.input) == (frame.id, frame.spec)
    assert manifest.applies_to.modalities == frame.modalities
    if manifest.outline:
        assert manifest.outline.parts == frame.parts


def test_labels_in_another_order_than_the_recipe_s_are_refused() -> None:
    template = TEMPLATES[IDS.index("chest-xray-pneumonia")]
    recipe = recipe_of(template)
    turned = replace(recipe, data=replace(recipe.data, keys=recipe.data.keys[::-1]))
    with pytest.raises(PackageError, match=r"labels .*; the recipe's are .*, in this order\.$"):
        read_frame(template, turned)


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


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_what_is_measured_was_expected(template: Path) -> None:
    """And all that is expected is measured, but for what needs images and a witness."""
    recipe, measured = recipe_of(template), set(values(report_for(template), FILES))
    names = set(expected(recipe))
    assert measured <= names
    rest = {name for name in names - measured if not name.startswith("ext_dev_")}
    assert rest <= {"external_called_negative_with_witness"}


def wrong_template(
    folder: Path, old: str, new: str, place: str, task: str = "classification"
) -> tuple[str, str]:
    """The sentence about a template in which one thing was changed, and how it should begin."""
    model = write_model(folder, task=task)
    path = model / "template.toml"
    text = path.read_text(encoding="utf-8")
    changed = text.replace(old, new, 1)
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(PackageError) as caught:
        read_frame(path, read_recipe(model / "recipe.toml"))
    line = changed[: changed.index(place)].count("\n") + 1
    return caught.value.sentence, f"template.toml, line {line}: " if place else "template.toml: "


WRONG: list[tuple[str, str, str, str]] = [
    ("schema = 2", "schema = 3", "schema", "'schema' is not 2"),
    ('title = "Discs"', "", "", "'title' is missing"),
    ("version", "colour = 1\nversion", "colour", "'colour' is not a key"),
    ("\nrows = 64", "\nheight = 64\nrows = 64", "height", "'input.height' is not a key"),
    ("\nrows = 64", '\nrows = "many"', 'rows = "many"', "'input.rows' is not a whole number"),
    ("\nrows = 64", "", "[input]", "'input.rows' is missing"),
    ("high_percentile = 99.5", "high_percentile = 0", "[input]", "'input' has percentiles"),
    ("$test_images images", "$tests images", "$tests", "asks for $tests, which"),
    ("$threshold_disc", "$threshold_dot", "$threshold_dot", "asks for $threshold_dot, which"),
    ("$threshold_disc", '"$threshold_disc"', "threshold =", "threshold' is not a number"),
    ('role = "finding"', 'role = "guess"', "role =", "'labels[0].role' is not one of"),
    ("window = 1", "window = 0", "window =", "'aggregation.window' is below 1"),
    ('funding_source = "unknown"', 'funding_source = ""', "funding_source", "is empty"),
    ('"$explanation_method"', '"magic"', 'method = "magic"', "'explanation.method' is not one of"),
    ("$precision", "colour = 1\n$precision", "colour", "'precision.colour' is not a key"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "problem"), WRONG)
def test_a_wrong_template_is_told_by_its_line_before_anything_is_trained(
    old: str, new: str, place: str, problem: str, tmp_path: Path
) -> None:
    sentence, beginning = wrong_template(tmp_path, old, new, place)
    assert sentence.startswith(beginning)
    assert problem in sentence


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("[input]", "[input", "[input"),
        ("threshold = $threshold_disc", "threshold = $accuracy", "threshold = $accuracy"),
        ("$precision", '$precision\nreason = "mine"\nreason = "his"', 'reason = "his"'),
    ],
)
def test_a_template_that_would_be_no_toml_is_told_by_its_line(
    old: str, new: str, place: str, tmp_path: Path
) -> None:
    sentence, beginning = wrong_template(tmp_path, old, new, place)
    line = beginning.removeprefix("template.toml, ").removesuffix(": ")
    assert sentence.startswith("template.toml is not TOML: ")
    assert f"(at {line}, " in sentence


def test_a_wrong_outline_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    sentence, beginning = wrong_template(
        tmp_path, "parts = 1", "parts = 0", "parts = 0", "segmentation"
    )
    assert sentence == f"{beginning}The key 'outline.parts' is below 1."


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("method", ["$explanation_method", "cells"])
def test_a_template_of_ones_own_is_judged_as_the_build_will_fill_it(
    task: str, method: str, tmp_path: Path
) -> None:
    model = write_model(tmp_path, task=task)
    path = model / "template.toml"
    if task == "classification":
        text = path.read_text(encoding="utf-8").replace("$explanation_method", method)
        path.write_text(text, encoding="utf-8")
    frame = read_frame(path, read_recipe(model / "recipe.toml"))
    assert (frame.spec.rows, frame.parts, frame.modalities) == (64, 1, ("MR",))


def test_a_template_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    recipe = recipe_of(TEMPLATES[0])
    with pytest.raises(PackageError, match=r"template\.toml: the template cannot be read"):
        read_frame(tmp_path / "template.toml", recipe)
