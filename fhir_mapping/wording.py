"""What is said in words, in one place, so that the report, its parts and the card agree.

Rules of wording: a finding is "suggested" and "possible"; a probability is a band, not four
decimals; what was not assessed is said; nothing is ever called healthy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fhir_mapping.context import ModelFacts
from fhir_mapping.text import plain, said
from inference.analysis import Analysis, ModelResult, Outcome

AI_NOTICE = "AI result, not reviewed by a clinician; not for diagnosis on its own."
RESEARCH_NOTICE = "Research model, not cleared as a medical device."

_BAND_PERCENT = 5


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


def in_sentence(display: str) -> str:
    """Return a display for use inside a sentence: ``Glioma`` -> ``glioma``, ``CNS`` stays."""
    clean = said(display, 80)
    return clean[:1].lower() + clean[1:] if clean[1:2].islower() else clean


def listed(words: Iterable[str], joint: str = "or") -> str:
    """Join words for reading: ``a, b or c``."""
    items = list(words)
    return f" {joint} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def assessed(result: ModelResult) -> str:
    """Return what the model looks for (``glioma, meningioma or pituitary tumour``)."""
    names = [in_sentence(item.display) for item in result.probabilities if not item.negative]
    return listed(names) or "the findings of its model card"


def result_sentence(result: ModelResult) -> str:
    """Say one model's result in one sentence."""
    if result.outcome is Outcome.FINDING and result.finding is not None:
        name = in_sentence(result.finding.display)
        band = probability_band(result.finding.probability)
        return f"AI suggests possible {name} (probability {band})."
    if result.outcome is Outcome.NO_FINDING:
        return f"AI found no sign of {assessed(result)}; nothing else was assessed."
    return f"AI gave no answer on {assessed(result)}: {abstention_reason(result)}"


def abstention_reason(result: ModelResult) -> str:
    """Say why a model abstained: the first gate that did not hold."""
    sentence = next((plain(gate.sentence, 300) for gate in result.reasons), "")
    return sentence or "the result was not certain enough."


def conclusion(results: Iterable[ModelResult]) -> str:
    """Say all results, the findings first, and what kind of statement this is."""
    order = (Outcome.FINDING, Outcome.INDETERMINATE, Outcome.NO_FINDING)
    ranked = sorted(results, key=lambda result: order.index(result.outcome))
    sentences = dict.fromkeys(result_sentence(result) for result in ranked)
    return " ".join([*sentences, AI_NOTICE])


def images_sentence(result: ModelResult) -> str:
    """Say on how many images a result rests."""
    read, decided = len(result.slices), len(result.slices_used)
    images = f"{read} image" if read == 1 else f"{read} images"
    return f"{images} of one series read; the answer rests on {decided}."


def limits(result: ModelResult, facts: ModelFacts, analysis: Analysis) -> str:
    """Say what the reader must know before using a result."""
    left_out = sum(not series.used for series in analysis.series)
    parts = [AI_NOTICE, RESEARCH_NOTICE] if facts.research else [AI_NOTICE]
    parts += [images_sentence(result), f"Assessed: {assessed(result)}. Nothing else was assessed."]
    if left_out:
        parts.append(f"{left_out} series of the study not analysed.")
    return " ".join([*parts, *(plain(limit, 300) for limit in facts.limits)])
