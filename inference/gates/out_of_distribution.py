"""Are the images like those the model learnt from? What is unlike them cannot be answered."""

from __future__ import annotations

from collections.abc import Sequence

from inference.analysis import GateResult
from models.manifest import Manifest

GATE = "out-of-distribution"


def judge_distribution(
    in_distribution: Sequence[bool], window: range, negative: bool, manifest: Manifest
) -> GateResult:
    """The deciding window must be like the training data; for a negative, most of the series.

    `in_distribution` has one entry for each slice. That nothing was found means something only
    where the model could have found it.
    """
    inside = [in_distribution[index] for index in window]
    fraction = sum(inside) / len(inside)
    if fraction < 1:
        sentence = "The images that would decide are unlike those the model was trained on."
        return GateResult(GATE, False, "unlike-training", sentence, fraction, 1.0)
    if not negative:
        sentence = "The deciding images are like those the model was trained on."
        return GateResult(GATE, True, "like-training", sentence, fraction, 1.0)
    whole = sum(in_distribution) / len(in_distribution)
    limit = manifest.aggregation.negative_min_in_distribution_fraction
    if whole < limit:
        sentence = "Too few images are like those the model was trained on to exclude anything."
        return GateResult(GATE, False, "too-few-like-training", sentence, whole, limit)
    sentence = "Enough images are like those the model was trained on."
    return GateResult(GATE, True, "like-training", sentence, whole, limit)
