"""Recipes are strict, and say in which line they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.build.errors import RecipeError
from models.build.recipe import Cycle, quick, read_recipe, teacher_recipe

MODELS = Path(__file__).parents[4] / "models"
SHIPPED = sorted(path.parent.name for path in MODELS.glob("*/recipe.toml"))
LEAST = """task = "classification"
seed = 1

[data]
pack = "slices"
labels = ["a", "b"]
keys = ["one", "two"]
negative = "two"

[network]
name = "efficientnet-lite0"

[train]
augmentation = "head-mr"

[[train.cycles]]
learning_rate = 1e-3
sizes = [64, 96]

[train.distillation]
network = "efficientnet-lite2"

[calibrate]
coverage = 0.9
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "tiny" / "recipe.toml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_the_four_models_have_a_recipe() -> None:
    assert {
        "brain-mri-tumour",
        "brain-mri-tumour-outline",
        "chest-xray-lungs",
        "chest-xray-pneumonia",
    } <= set(SHIPPED)


@pytest.mark.parametrize("model", SHIPPED)
def test_a_shipped_recipe_can_be_read_and_cut_short(model: str) -> None:
    recipe = read_recipe(MODELS / model / "recipe.toml")
    smoke = quick(recipe)
    assert sum(len(cycle.sizes) for cycle in smoke.train.cycles) == 1
    assert smoke.data == recipe.data


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, LEAST))
    assert recipe.train.cycles == (Cycle(1e-3, (64, 96)),)
    assert recipe.compress.calibration_images == 160
    assert recipe.calibrate.neighbours == 10


def test_the_teacher_has_its_own_network_and_imitates_nobody(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, LEAST))
    teacher = teacher_recipe(recipe)
    assert teacher is not None
    assert teacher.network.name == "efficientnet-lite2"
    assert teacher.train.distillation is None
    assert teacher.train.cycles == recipe.train.cycles
    assert teacher_recipe(teacher) is None


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("seed = 1", "sead = 1", "line 2: The key 'sead' is not a key of this schema."),
        ('pack = "slices"\n', "", "line 4: The key 'data.pack' is missing."),
        ('pack = "slices"', "pack = 3", "line 5: The key 'data.pack' is not a text."),
        (
            '"head-mr"',
            '"knee-mr"',
            "line 14: The key 'train.augmentation' is not one of head-mr, chest-xray.",
        ),
        (
            '["one", "two"]',
            '["one"]',
            "line 7: The key 'data.keys' is not one name for each label "
            "(segmentation: the structure's).",
        ),
        (
            'negative = "two"',
            'negative = "b"',
            "line 8: The key 'data.negative' is not one of the keys.",
        ),
        (
            'negative = "two"\n',
            "",
            "line 4: The key 'data.negative' is missing: one label of a classifier says that "
            "nothing is there.",
        ),
        (
            "coverage = 0.9",
            "coverage = 0.9\nood = []",
            "line 25: The key 'calibrate.ood' names no score (of an outline energy is none).",
        ),
        (
            '["a", "b"]',
            '["a", "a"]',
            "line 6: The key 'data.labels' is empty or repeats a label.",
        ),
        (
            'negative = "two"',
            'negative = "two"\nunverified = ["far"]',
            "line 9: The key 'data.unverified' needs its reason in 'unverified_because'.",
        ),
        (
            "sizes = [64, 96]",
            "sizes = [64, 100]",
            "line 18: The key 'train.cycles[0].sizes' needs at least one epoch, "
            "each a multiple of 32 pixels.",
        ),
        (
            "coverage = 0.9",
            "coverage = 1.2",
            "line 24: The key 'calibrate.coverage' is not from 0 to 1.",
        ),
        (
            '"efficientnet-lite0"',
            '"efficientnet-lite0"\noutline = true',
            "line 4: The key 'data.outlines' is missing, and the network learns outlines.",
        ),
        (
            "coverage = 0.9",
            "coverage = 0.9\n[backbones]\nsizes = [100]",
            "line 26: The key 'backbones.sizes' has an epoch that is no multiple of 32 pixels.",
        ),
        (
            "coverage = 0.9",
            "coverage = 0.9\n[backbones]\nimages = -1",
            "line 26: The key 'backbones.images' is a negative number.",
        ),
    ],
)
def test_a_wrong_recipe_is_told_by_its_line(
    tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    assert before in LEAST
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, LEAST.replace(before, after, 1)))
    assert caught.value.sentence == f"tiny/recipe.toml, {sentence}"


def test_what_is_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"tiny/recipe\.toml is not TOML: .*line 1"):
        read_recipe(written(tmp_path, "task =\nseed = 1"))


def test_a_recipe_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.toml cannot be read"):
        read_recipe(tmp_path / "recipe.toml")
