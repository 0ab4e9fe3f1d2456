"""What a build will measure, by placeholder, before it has measured anything."""

from __future__ import annotations

from collections.abc import Iterator

from models.build.card.facts import OF_EXTERNAL
from models.build.card.text import placeholder
from models.build.conformal import METHOD
from models.build.packs import SPLITS
from models.build.recipe import Recipe
from models.build.values import file_lines, output_lines, precision_lines
from models.manifest import FP32, HEAD, INT8

_NUMBER, _TEXT = "1", "a figure"
_INT8 = {"agreement": 1.0, "speed_up": 2.0, "smaller": 2.0, "gates_held": True}
_NUMBERS = ("temperature", "ece", "ood_threshold")
_FIGURES = ("layer", "ood_method", "ood_chosen", "strange_in_distribution", "calibration_error")
_OF_SPLITS = ("images", "left_out", "listed", "near_copied")
_OF_CLASSES = (
    *("accuracy", "any_sensitivity", "any_specificity", "in_distribution", "answered"),
    *("answered_accuracy", "negative_answered", "findings_called_negative"),
    *("set_coverage", "set_coverage_test", "strange_called_negative"),
)
_OF_MAPS = (
    *("pointing_game", "pointing_game_by_chance", "energy_in_mask", "energy_by_chance"),
    *("deletion", "deletion_random", "insertion", "insertion_random"),
)
_OF_OUTLINES = ("dice", "dice_5th_percentile", "missed", "false_outlines")
_SIZES = ("small", "medium", "large")


def expected(recipe: Recipe, *, cells: bool = False) -> dict[str, str]:
    """Every name that a build of `recipe` may give a template, each with a value it could have.

    Numbers are 1, which is a count, a share and a threshold. With `cells` the values are those of
    a classifier that is explained by its cells. Figures of maps and of the second witness are
    among the names, though only the measuring shows whether there is one.
    """
    texts = dict.fromkeys(map(placeholder, (*_FIGURES, *_figures(recipe))), _TEXT)
    numbers = dict.fromkeys(map(placeholder, (*_NUMBERS, *_numbers(recipe))), _NUMBER)
    return texts | numbers | _explained(recipe, cells=cells)


def _numbers(recipe: Recipe) -> Iterator[str]:
    """What may stand outside quotes."""
    external = recipe.data.external
    splits = (*SPLITS, *((external,) if external else ()))
    yield from (f"{split}_{what}" for split in splits for what in _OF_SPLITS)
    yield from ("external_images",) if external else ()
    yield "test_groups"
    if recipe.task == "segmentation":
        yield from ("threshold", "min_area_fraction", "parts")
        yield from ("with_structure", "without_structure")
    else:
        yield from (f"{what}_{key}" for what in ("threshold", "images") for key in recipe.data.keys)
        yield from (f"prediction_set_{name}" for name in ("coverage", "threshold", "coverage_test"))


def _figures(recipe: Recipe) -> Iterator[str]:
    """What is written in words: shares and intervals."""
    data = recipe.data
    if recipe.task == "segmentation":
        yield from _OF_OUTLINES
        yield from (f"dice_{part}" for part in (*data.strata, *_SIZES))
        return
    yield from _OF_CLASSES
    yield from (f"{what}_{key}" for what in ("sensitivity", "specificity") for key in data.keys)
    yield from _OF_MAPS if data.outlines else ()
    yield from (f"external_{name}" for name in OF_EXTERNAL if data.external)


def _explained(recipe: Recipe, *, cells: bool) -> dict[str, str]:
    """The blocks, and the methods that they go with."""
    method, outputs = "outline", ["mask_logits"]
    if recipe.task == "classification":
        method, outputs = ("cells" if cells else "cam"), ["logits", "feature_map"]
    if method == "cam":
        outputs.append("class_weights")
    graphs = (FP32, INT8, HEAD) if method == "cells" else (FP32, INT8)
    chosen = {"preferred": "int8", "reason": "Every gate held.", "int8": _INT8}
    sets = {"prediction_set_method": METHOD} if recipe.task == "classification" else {}
    return sets | {
        "explanation_method": method,
        "files": file_lines(dict.fromkeys(graphs, "0" * 64)),
        "outputs": output_lines([*outputs, "ood_score"]),
        "precision": precision_lines(chosen, has_int8=True),
    }
