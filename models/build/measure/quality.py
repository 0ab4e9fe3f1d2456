"""One number for how good a graph is, and one for how honest: both tasks alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.build.calibrate import fit_temperature, softmax
from models.build.compress.figures import outputs_of
from models.build.evaluate.figures import expected_calibration_error
from models.build.evaluate.outlines import at_size, choose_outline, outlined, report_outlines
from models.build.export import Outputs, open_session
from models.build.packs import Samples
from models.build.recipe import Recipe

_PARTS = 2  # regions kept of an outline: both lungs


@dataclass(frozen=True)
class Quality:
    """Accuracy, or the mean Dice of outlines, on `val` and on `test`; `ece` is of `test`.

    The temperature, and of outlines the threshold, were chosen on `val`.
    """

    on_val: float
    on_test: float
    ece: float


def quality_of(graph: Path, samples: Mapping[str, Samples], recipe: Recipe) -> Quality:
    """Run the graph on both splits."""
    session = open_session(graph)
    outputs = {name: outputs_of(session, samples[name]) for name in ("val", "test")}
    if recipe.task == "classification":
        return _of_classes(outputs, samples)
    return _of_outlines(outputs, samples, recipe)


def _of_classes(outputs: Mapping[str, Outputs], samples: Mapping[str, Samples]) -> Quality:
    logits = {name: given["logits"] for name, given in outputs.items()}
    temperature = fit_temperature(logits["val"], samples["val"].labels)
    chances = softmax(logits["test"], temperature)
    right = {name: given.argmax(axis=1) == samples[name].labels for name, given in logits.items()}
    ece = expected_calibration_error(chances.max(axis=1), right["test"])
    return Quality(float(right["val"].mean()), float(right["test"].mean()), ece)


def _of_outlines(
    outputs: Mapping[str, Outputs], samples: Mapping[str, Samples], recipe: Recipe
) -> Quality:
    logits = {name: given["mask_logits"][:, 0] for name, given in outputs.items()}
    masks = {name: at_size(samples[name].masks, *logits[name].shape[1:]) for name in logits}
    known = samples["val"].masked
    how = choose_outline(logits["val"][known], masks["val"][known], _PARTS)
    found = outlined(logits["val"][known], masks["val"][known], how)
    dice = [one.dice for one in found if one.truth]
    test = report_outlines(
        logits["test"], samples["test"], masks["test"], how, recipe.data.labels, 0, recipe.seed
    )
    return Quality(sum(dice) / max(1, len(dice)), test["dice"]["value"], test["ece"])
