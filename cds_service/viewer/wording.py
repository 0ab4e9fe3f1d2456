"""What the page says, in words: the sentences that stand between a number and a reader.

They suggest and never assert; what was not looked at is said as plainly as what was. "Normal" is
no word of this page: that nothing was stated is all that a model can say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from cds_service.explanation import (
    CalibrationNotes,
    ExplanationPage,
    ModelNotes,
    PageLabel,
    PageOutline,
    PagePicture,
    PageResult,
    PageSeries,
    PageSlice,
)
from cds_service.viewer.recalled import is_recalled
from cds_service.wording import counted, ranges
from fhir_mapping.wording import about_images, in_sentence, listed, probability_band, quantity
from inference.analysis import Outcome

OUTCOMES = {
    Outcome.FINDING: "Finding suggested",
    Outcome.NO_FINDING: "No finding stated",
    Outcome.INDETERMINATE: "Indeterminate",
    Outcome.MEASURED: "Measured",
    Outcome.NOT_ANALYSED: "Not analysed",
}

_GATES = {
    "applicability": "Kind of series",
    "quality": "Image quality",
    "geometry": "Geometry",
    "out-of-distribution": "Likeness to the training data",
    "uncertainty": "Certainty",
    "agreement": "Agreement",
    "recall": "Recall",
}

_MUCH, _PART = 0.3, 0.1  # drops of probability from which a map carries much, or a part
_METHODS = {
    "cam": "Class activation map",
    "cells": "Ablation of each cell of the last feature map",
    "occlusion": "Occlusion map",
    "outline": "Outline and probability of each pixel",
}

OUTLINE = "outline"
"""The method whose picture is the answer itself."""

_PROBLEMS = {
    "colour": "in colour",
    "too-small": "too small",
    "not-a-number": "values that are no numbers",
    "empty": "empty",
    "saturated": "saturated",
    "noise": "mere noise",
}
_PRECISIONS = {"int8": "8-bit integers (int8)", "fp32": "32-bit floating point (fp32)"}


def percent(probability: float) -> str:
    """A probability as people read it: whole per cent, and no 0 or 100."""
    if not 0 <= probability <= 1:
        return "not a probability"
    if probability >= 0.995:
        return "above 99\u00a0%"
    if probability < 0.005:
        return "below 1\u00a0%"
    return f"{max(1, round(probability * 100))}\u00a0%"


def band(probability: float) -> str:
    """A probability as the cards say it, too: more digits would claim more than is known."""
    return probability_band(probability).replace(" %", "\u00a0%")


def band_ends(probability: float) -> tuple[float, float]:
    """The ends of that band in per cent; (0, 0) for what is no probability."""
    ends = [float(end) for end in re.findall(r"\d+", probability_band(probability))]
    if len(ends) == 2:
        return ends[0], ends[1]
    if not ends:
        return 0.0, 0.0
    return (0.0, ends[0]) if probability < 0.5 else (ends[0], 100.0)


def stated_from(probability: float, threshold: float) -> str:
    """The threshold beside a band: which may not hide on which side the probability lies."""
    said = f"stated from {percent(threshold)}"
    hidden = probability < threshold and band_ends(probability)[1] > 100 * threshold
    return f"{said}, and just below that" if hidden else said


def headline(page: ExplanationPage) -> str:
    """The one line above everything."""
    if page.outcome is Outcome.FINDING:
        stated = [r.finding for r in page.results if r.finding is not None]
        names = dict.fromkeys(
            label.display for label in sorted(stated, key=lambda label: -label.probability)
        )
        return "Possible finding: " + "; ".join(names)
    if page.outcome is Outcome.MEASURED:
        silent = any(result.outcome is Outcome.NO_FINDING for result in page.results)
        names = dict.fromkeys(r.structure for r in page.results if r.outcome is Outcome.MEASURED)
        said = [OUTCOMES[Outcome.NO_FINDING]] if silent else []
        return "; ".join([*said, "Outlined and measured: " + ", ".join(filter(None, names))])
    return OUTCOMES[page.outcome]


def lede(page: ExplanationPage) -> str:
    """What the headline means."""
    return {
        Outcome.FINDING: (
            "A model suggests this from the images alone. Look at the full study before deciding."
        ),
        Outcome.NO_FINDING: (
            "Nothing that the models look for was probable enough to state. "
            "This does not rule anything out."
        ),
        Outcome.INDETERMINATE: (
            "The images were analysed, but the answer is not reliable enough to state. "
            "Take it neither for a finding nor for the absence of one."
        ),
        Outcome.MEASURED: (
            "A model outlined a structure and measured it. The outline says nothing of disease."
        ),
        Outcome.NOT_ANALYSED: (
            "No model has looked at these images. Nothing can be concluded from this page."
        ),
    }[page.outcome]


def word(result: PageResult) -> str:
    """What became of one model's answer, in a word."""
    return "Recalled" if is_recalled(result) else OUTCOMES[result.outcome]


def answer(result: PageResult) -> str:
    """What one model says, in one or two sentences."""
    if result.outcome is Outcome.FINDING and result.finding is not None:
        label = result.finding
        return (
            f"The model suggests {label.display}: estimated probability "
            f"{band(label.probability)}, stated from {percent(label.threshold)} upwards."
        )
    if result.outcome is Outcome.NO_FINDING:
        return (
            "No finding that this model looks for reached the probability from which it is "
            "stated, and every safety check held."
        )
    if result.outcome is Outcome.MEASURED:
        return _measured(result)
    if result.outcome is Outcome.INDETERMINATE:
        if any(not gate.passed for gate in result.gates):
            return "The model states nothing, because a safety check did not hold:"
        return (
            "The model states nothing: no answer reached the probability from which it is stated."
        )
    if is_recalled(result):
        return "What the model said was recalled. It must not be used:"
    return "The model did not analyse this series."


def _measured(result: PageResult) -> str:
    what = in_sentence(result.structure)
    if not result.outlines:
        return f"The model outlined nothing that it takes for {what}. That rules nothing out."
    images = counted(len(result.outlines), "image", "images")
    return f"The model outlined what it takes for {what} on {images}. It says nothing of disease."


def could_be(result: PageResult) -> str:
    """What a model that abstained cannot tell apart; empty if that is not known."""
    if not any(not label.negative for label in result.possible):
        return ""
    words = [
        f"{in_sentence(label.display)} ({probability_band(label.probability)})"
        for label in result.possible
        if not label.negative
    ]
    if len(words) < len(result.possible):
        words.append("none of the findings that it looks for")
    return f"The model cannot decide. It could be: {listed(words)}."


def withheld(result: PageResult) -> str:
    """Why a model that abstained does not say what it could be, though it can tell such a list."""
    able = result.notes is not None and result.notes.coverage is not None
    if result.outcome is not Outcome.INDETERMINATE or result.possible or not able:
        return ""
    if any(about_images(gate.gate) for gate in result.gates if not gate.passed):
        return (
            "What it could be is not said either: such a list holds the true answer as often as it "
            "should only for images like those of the test, and these did not pass the check."
        )
    return (
        "What it could be is not said: the list of answers that the model cannot tell apart holds "
        "none of the findings that it looks for. That rules nothing out."
    )


def coverage(notes: ModelNotes | None) -> str:
    """How often what a model names as possible holds the truth."""
    if notes is None or notes.coverage is None:
        return ""
    stated, tested = (f"{share:.0%}".replace("%", "\u00a0%") for share in notes.coverage)
    return (
        f"Such a list is made to hold the true answer in {stated} of cases like those of the test "
        f"images, where it held it in {tested}; in other patients it may hold it less often."
    )


def size(value: float, unit: str) -> str:
    """A measured value with its unit."""
    return quantity(value, unit)


def measured_on(slice_number: int, slices: int) -> str:
    """Where something was measured."""
    return f"slice {slice_number} of {slices}" if slices > 1 else "the only image"


_CARD_FILES = {
    "card.json": "31 source attributes (JSON)",
    "card.xml": "CHAI applied card (XML)",
    "report.json": "Everything that was measured when the model was built (JSON)",
}


def card_file(name: str) -> str:
    """What a file beside a model card is."""
    return _CARD_FILES.get(name, name)


def threshold_meaning(labels: Sequence[PageLabel]) -> str:
    """What the marks on the bars are."""
    if not labels:
        return ""
    return (
        "Each probability is given as a band of five points. The mark on a bar is the probability "
        "from which that answer is stated; below it, the model stays silent. It is a decision "
        "level, not a severity."
    )


def calibration(notes: CalibrationNotes | None) -> str:
    """How far a probability can be taken at its word."""
    if notes is None:
        return "It is not known how well these probabilities are calibrated."
    return (
        f"Probabilities are calibrated by {notes.method} (temperature {notes.temperature:.2f}). "
        f"On held-out test images they were off by {notes.ece * 100:.1f} percentage points on "
        f"average (expected calibration error {notes.ece:.3f}, in fp32); in other patients or on "
        "other scanners they may be off by more."
    )


def position(result: PageResult) -> str:
    """Which slice the picture shows."""
    if result.deciding_slice is None:
        return ""
    if len(result.slices) <= 1:
        return "The only image"
    return f"Slice {result.deciding_slice} of {len(result.slices)}"


def window(result: PageResult) -> str:
    """Which slices the probability was taken over."""
    if len(result.slices) <= 1 or not result.slices_used:
        return ""
    if len(result.slices_used) == 1:
        return f"The probability is that of slice {result.slices_used[0]} alone."
    return f"The probability is the mean over slices {ranges(result.slices_used)}."


def faithfulness(drop: float | None, method_name: str = "") -> str:
    """What the deletion test says of the map (Petsiuk et al. 2018)."""
    if method_name == OUTLINE:
        return "The line is the model’s answer itself; the colours are each pixel’s probability."
    if drop is None:
        return "Whether the colours carry the answer was not measured."
    points = round(drop * 100)
    if points <= 0:
        test = "With the strongest fifth blanked, the model’s probability does not fall"
    else:
        unit = "point" if points == 1 else "points"
        test = f"With the strongest fifth blanked, the model’s probability falls by {points} {unit}"
    if drop >= _MUCH:
        return f"{test}: the coloured region carries much of the answer."
    if drop >= _PART:
        return f"{test}: the coloured region carries a part of the answer."
    return f"{test}: the colours explain little here. Do not rely on them."


def caution(result: PageResult, drop: float | None) -> str:
    """What must stand beside the picture itself, not further down."""
    if result.outcome is Outcome.INDETERMINATE and result.task == "segmentation":
        return "The outline is withheld: it is shown for checking only."
    if result.outcome is Outcome.INDETERMINATE:
        return "The answer is withheld: the colours are shown for checking only."
    if drop is not None and drop < _PART:
        return "The colours explain little here. Do not rely on them."
    return ""


def highest(slice_number: int, said: str, *, outlined: bool) -> str:
    """What the strip shows, in a sentence."""
    return f"{'Largest' if outlined else 'Highest'} on slice {slice_number}: {said}."


def area(outline: PageOutline | None) -> str:
    """How much of a slice is outlined."""
    if outline is None:
        return "nothing outlined"
    if outline.area_mm2 is None:
        return f"{100 * outline.area_fraction:.1f}\u00a0% of the image"
    return quantity(outline.area_mm2, "mm2")


def unusable(slices: Sequence[PageSlice]) -> str:
    """Which slices may decide nothing, and why."""
    found: dict[str, list[int]] = {}
    for each in slices:
        if each.problem:
            found.setdefault(_PROBLEMS.get(each.problem, "unusable"), []).append(each.number)
    said = (f"{ranges(numbers)} ({why})" for why, numbers in found.items())
    return f"Slices that may decide nothing: {', '.join(said)}." if found else ""


def thinned(kept: int, total: int, *, reduced: bool) -> str:
    """That not every slice can be scrolled to, or not with every pixel."""
    slices = f"{kept:,} of {total:,} slices are kept for this page; all of them were analysed."
    pixels = "Slices are shown here with fewer pixels than the archive has."
    return " ".join([*([slices] if kept < total else []), *([pixels] if reduced else [])])


def no_picture(result: PageResult) -> str:
    """Why there is nothing to see."""
    if result.outcome is Outcome.NO_FINDING:
        return (
            "Nothing was drawn over the image: colours show what speaks for a finding, and none "
            "is stated."
        )
    if result.outcome is Outcome.MEASURED:
        return "Nothing was drawn over the image: there is nothing to outline."
    return "Nothing was drawn for this answer."


def method(picture: PagePicture) -> str:
    """The name of the method that drew the colours."""
    return _METHODS.get(picture.method.lower(), picture.method)


def precision(name: str) -> str:
    """The arithmetic, for people."""
    return _PRECISIONS.get(name.lower(), name)


def gate_title(gate: str) -> str:
    """The name of a safety check."""
    name = gate.replace("_", "-")
    return _GATES.get(name, name.replace("-", " ").capitalize())


def series_name(number: int | None, modality: str | None) -> str:
    """A series as the reader finds it in the archive."""
    name = f"Series {number}" if number is not None else "A series without a number"
    return f"{name} ({modality})" if modality else name


def images(series: PageSeries) -> str:
    """How many images a series has."""
    if series.instances is None:
        return ""
    return f"{series.instances} image" + ("" if series.instances == 1 else "s")


def moment(epoch_ms: int) -> tuple[str, str]:
    """(for machines, for people), in UTC whatever the time zone of the server is."""
    when = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ"), f"{when.day} {when.strftime('%B %Y, %H:%M')} UTC"
