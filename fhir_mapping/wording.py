"""What is said in words, in one place, so that the report, its parts and the card agree.

Rules of wording: a finding is "suggested" and "possible"; a probability is a band, not four
decimals; what was not assessed is said; nothing is ever called healthy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from fhir_mapping.context import ModelFacts
from fhir_mapping.text import plain, said
from inference.analysis import Analysis, LabelProbability, Measurement, ModelResult, Outcome

AI_NOTICE = "AI result, not reviewed by a clinician; not for diagnosis on its own."
RESEARCH_NOTICE = "Research model, not cleared as a medical device."

FORBIDDEN = (
    "normal",
    "healthy",
    "unremarkable",
    "diagnosed",
    "diagnosis is",
    "confirmed",
    "ruled out",
    "rules out",
    "rule out",
    "all clear",
)
"""What no text of ours says of a patient or an image, and no name from a model package either."""

_FORBIDDEN = re.compile(rf"\w*(?:{'|'.join(FORBIDDEN)})\w*", re.IGNORECASE)

_BAND_PERCENT = 5

_ABOUT_IMAGES = frozenset({"applicability", "quality", "geometry", "out-of-distribution"})
"""Gates that say that the images are not such as the model knows."""

_UNITS = {"mm2": "mm²", "mm": "mm", "%": "%", "1": ""}
"""UCUM codes as people read them."""

SAYS_NOTHING = "The outline says nothing of disease."


def probability_band(probability: float) -> str:
    """Return the 5 % band that a calibrated probability falls into (``90–95 %``).

    The lower end belongs to the band; at the ends it is ``under 5 %`` and ``over 95 %``, since no
    model knows 0 or 100.
    """
    if not math.isfinite(probability):
        return "not known"
    # 0.85 is stored as 0.8499…: the small addition puts it into the band that it opens
    percent = min(max(probability, 0.0), 1.0) * 100 + 1e-7
    low = int(percent / _BAND_PERCENT) * _BAND_PERCENT
    if low < _BAND_PERCENT:
        return f"under {_BAND_PERCENT} %"
    top = 100 - _BAND_PERCENT
    return f"over {top} %" if low >= top else f"{low}–{low + _BAND_PERCENT} %"


def unsaid(text: str) -> str:
    """Return a text from elsewhere without the words of `FORBIDDEN`: an ellipsis stands for each.

    A package may call a label "Normal scan"; a card, a report and a page do not repeat it.
    """
    return _FORBIDDEN.sub("…", text)


def in_sentence(display: str) -> str:
    """Return a display for use inside a sentence: ``Glioma`` -> ``glioma``, ``CNS`` stays."""
    clean = unsaid(said(display, 80))
    return clean[:1].lower() + clean[1:] if clean[1:2].islower() else clean


def listed(words: Iterable[str], joint: str = "or") -> str:
    """Join words for reading: ``a, b or c``."""
    items = list(words)
    return f" {joint} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def assessed(result: ModelResult) -> str:
    """Return what the model looks for (``glioma, meningioma or pituitary tumour``)."""
    names = [in_sentence(item.display) for item in result.probabilities if not item.negative]
    return listed(names) or "the findings of its model card"


def outlined(result: ModelResult) -> str:
    """Return what a segmentation outlines, for use inside a sentence."""
    return in_sentence(result.structure or "the structure of its model card")


def rounded(value: float, unit: str) -> float:
    """Round a measured value to what an outline can be relied on for.

    Whole mm² from 10 upwards, one decimal below and in other units.
    """
    if not math.isfinite(value):
        return 0
    return round(value) if unit == "mm2" and abs(value) >= 10 else round(value, 1)


def quantity(value: float, unit: str) -> str:
    """Return a measured value with its unit (``412 mm²``, ``3.1 %``)."""
    return f"{rounded(value, unit)} {_UNITS.get(unit, plain(unit, 20))}".rstrip()


def unit_name(unit: str) -> str:
    """Return a UCUM code as people read it; the code itself where no other word is known."""
    return _UNITS.get(unit) or said(unit, 20)


def measured(measurements: Iterable[Measurement]) -> str:
    """Return measurements for use inside a sentence (``area 412 mm²``)."""
    return listed(
        (f"{in_sentence(m.display)} {quantity(m.value, m.unit)}" for m in measurements), "and"
    )


def about_images(gate: str) -> bool:
    """Say whether a gate asks if the images are such as the model knows."""
    return gate.replace("_", "-") in _ABOUT_IMAGES


def possible(result: ModelResult) -> tuple[LabelProbability, ...]:
    """Return the labels that a model which abstained cannot tell apart, the likeliest first.

    Empty when the abstention is about the images: the coverage of a prediction set is only known
    for images like those it was measured on.
    """
    if result.outcome is not Outcome.INDETERMINATE:
        return ()
    if any(about_images(gate.gate) for gate in result.reasons):
        return ()
    chances = {item.key: item for item in result.probabilities}
    found = tuple(chances[key] for key in result.prediction_set if key in chances)
    return found if any(not item.negative for item in found) else ()


def result_sentence(result: ModelResult) -> str:
    """Say one model's result in one sentence."""
    if result.outcome is Outcome.MEASURED:
        return _measured_sentence(result)
    if result.task == "segmentation":
        return f"AI gives no outline of {outlined(result)}: {abstention_reason(result)}"
    if result.outcome is Outcome.FINDING and result.finding is not None:
        name = in_sentence(result.finding.display)
        band = probability_band(result.finding.probability)
        return f"AI suggests possible {name} (probability {band})."
    if result.outcome is Outcome.NO_FINDING:
        return f"AI found no sign of {assessed(result)}; nothing else was assessed."
    return f"AI gave no answer on {assessed(result)}: {abstention_reason(result)}"


def _measured_sentence(result: ModelResult) -> str:
    what, numbers = outlined(result), measured(result.measurements)
    if not result.outlines:
        return f"AI outlined nothing that it takes for {what}. {SAYS_NOTHING}"
    said_of_it = f" ({numbers})" if numbers else ""
    return f"AI outlined what it takes for {what}{said_of_it}. {SAYS_NOTHING}"


def abstention_reason(result: ModelResult) -> str:
    """Say why a model abstained: the first gate that did not hold."""
    sentence = next((plain(gate.sentence, 300) for gate in result.reasons), "")
    return sentence or "the result was not certain enough."


def conclusion(results: Iterable[ModelResult]) -> str:
    """Say all results, the findings first, and what kind of statement this is."""
    order = tuple(Outcome)
    ranked = sorted(results, key=lambda result: order.index(result.outcome))
    sentences = dict.fromkeys(result_sentence(result) for result in ranked)
    return " ".join([*sentences, AI_NOTICE])


def images_sentence(result: ModelResult) -> str:
    """Say on how many images a result rests."""
    read, decided = len(result.slices), len(result.slices_used)
    images = f"{read} image" if read == 1 else f"{read} images"
    return f"{images} of one series read; the answer rests on {decided}."


def scope(result: ModelResult) -> str:
    """Say what was looked at, and that nothing else was."""
    if result.task == "segmentation":
        return f"Outlined: {outlined(result)}. {SAYS_NOTHING} Nothing else was assessed."
    return f"Assessed: {assessed(result)}. Nothing else was assessed."


def limits(result: ModelResult, facts: ModelFacts, analysis: Analysis) -> str:
    """Say what the reader must know before using a result."""
    left_out = sum(not series.used for series in analysis.series)
    parts = [AI_NOTICE, RESEARCH_NOTICE] if facts.research else [AI_NOTICE]
    parts += [images_sentence(result), scope(result)]
    if left_out:
        parts.append(f"{left_out} series of the study not analysed.")
    return " ".join([*parts, *(plain(limit, 300) for limit in facts.limits)])
