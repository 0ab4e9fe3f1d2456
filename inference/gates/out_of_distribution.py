"""Are the images like those the model learnt from? What is unlike them cannot be answered."""

from __future__ import annotations

from collections.abc import Sequence

from inference.analysis import GateResult

GATE = "out-of-distribution"


def judge_distribution(
    in_distribution: Sequence[bool], deciding: Sequence[int], least: float | None = None
) -> GateResult:
    """The deciding images must be like the training data; for a negative, most of the series.

    `in_distribution` has one entry for each slice, `deciding` are indices of slices. `least` is
    the fraction of the series that must be like the training data for a negative to be stated: that
    nothing was found means something only where the model could have found it.
    """
    inside = [in_distribution[index] for index in deciding]
    fraction = sum(inside) / len(inside) if inside else 1.0
    if fraction < 1:
        sentence = "The images that would decide are unlike those the model was trained on."
        return GateResult(GATE, False, "unlike-training", sentence, fraction, 1.0)
    if least is None:
        sentence = "The deciding images are like those the model was trained on."
        return GateResult(GATE, True, "like-training", sentence, fraction, 1.0)
    whole = sum(in_distribution) / len(in_distribution)
    if whole < least:
        sentence = "Too few images are like those the model was trained on to exclude anything."
        return GateResult(GATE, False, "too-few-like-training", sentence, whole, least)
    sentence = "Enough images are like those the model was trained on."
    return GateResult(GATE, True, "like-training", sentence, whole, least)
