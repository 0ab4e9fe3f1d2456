"""The detail of a card, paragraph by paragraph: Markdown in which what others say is only text.

What a model says of disease, what it outlined, and what it did not look at.
"""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.summary import (
    LabelSummary,
    MeasurementSummary,
    ReasonSummary,
    ResultSummary,
    StudySummary,
)
from cds_service.wording import counted, gfm, moment, plain, ranges
from fhir_mapping.wording import in_sentence, listed, probability_band, quantity
from inference.analysis import Outcome


def results_of(found: StudySummary) -> list[str]:
    """What each model said, paragraph by paragraph."""
    return [paragraph for result in found.results for paragraph in _result(result)]


def _result(result: ResultSummary) -> list[str]:
    """What one model said of one series, and what it did not look at."""
    if result.task == "segmentation":
        return _outline(result)
    sought = [label for label in result.probabilities if not label.negative]
    names = ", ".join(gfm(label.display, 60) for label in sought)
    facts = [f"Model: {gfm(result.model_title)}, version {gfm(result.model_version, 40)}"]
    if result.outcome not in (Outcome.FINDING, Outcome.NO_FINDING):
        facts += [f"No answer on: {names}"] if names else []
        said = ["The model gives no answer on these images.", _could_be(result)]
        return [*said, why(result.reasons), _bullets(facts)]
    if result.slices_used:
        used = f"{ranges(result.slices_used)} of {result.slices}"
        facts.append(f"Decided on images {used}, counted in anatomical order")
    facts += [f"Looked for: {names}. Nothing else in the images was assessed."] if names else []
    return [_said(result), _table(sought), _bullets(facts)]


def _could_be(result: ResultSummary) -> str:
    """What a model that abstained cannot tell apart, with the band of each probability."""
    found = [label for label in result.possible if not label.negative]
    if not found:
        return ""
    words = [f"{gfm(la.display, 60)} ({probability_band(la.probability)})" for la in found[:8]]
    if len(found) < len(result.possible):
        words.append("none of the findings that it looks for")
    return f"It cannot decide. It could be: {listed(words)}."


def _outline(result: ResultSummary) -> list[str]:
    """What was outlined and how large it is; nothing of disease."""
    what = gfm(in_sentence(result.structure), 60)
    facts = [f"Model: {gfm(result.model_title)}, version {gfm(result.model_version, 40)}"]
    if result.outcome is not Outcome.MEASURED:
        return [f"The model gives no outline of {what}.", why(result.reasons), _bullets(facts)]
    if not result.outlined:
        nothing = f"The model outlined nothing that it takes for {what}. That rules nothing out."
        return [nothing, _bullets(facts)]
    sizes = [f"{gfm(m.display, 60)}: **{gfm(_value(m))}**" for m in result.measurements[:8]]
    numbers = sorted({m.slice_number for m in result.measurements})
    if numbers and result.slices > 1:
        facts.append(f"Measured on image {ranges(numbers)} of {result.slices}")
    facts.append("The outline says nothing of disease. Nothing else in the images was assessed.")
    return [f"The model outlined what it takes for {what}.", _bullets([*sizes, *facts])]


def size_of(measured: MeasurementSummary) -> str:
    """A measurement inside a summary (``area 412 mm²``)."""
    return plain(f"{in_sentence(measured.display)} {_value(measured)}", 60)


def _value(measured: MeasurementSummary) -> str:
    return quantity(measured.value, measured.unit)


def _said(result: ResultSummary) -> str:
    if result.finding is None:
        return "The model found none of the findings it looks for."
    band = probability_band(result.finding.probability)
    return f"The model suggests possible **{gfm(result.finding.display, 80)}** ({band})."


def _table(labels: Sequence[LabelSummary]) -> str:
    rows = [f"| {gfm(la.display, 60)} | {probability_band(la.probability)} |" for la in labels[:20]]
    return "\n".join(["| Looked for | Probability |", "|---|---|", *rows]) if rows else ""


def why(reasons: Sequence[ReasonSummary]) -> str:
    """Why something was not said, as a list."""
    return _bullets([gfm(reason.sentence) for reason in reasons[:8]])


def recalled(gone: Sequence[ResultSummary]) -> list[str]:
    """Whose answers do not hold, for those who have seen them; nothing of them is repeated."""
    names = [f"{gfm(r.model_title)}, version {gfm(r.model_version, 40)}" for r in gone]
    said = "was recalled: that version was found not to be reliable. It must not be used."
    return [f"**Recalled:** what the model {each} said {said}" for each in dict.fromkeys(names)]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def provenance(found: StudySummary) -> str:
    """When it was analysed, and how much of the study (decisions age with their data)."""
    if not found.analysed_ms:
        return ""
    images = f"{counted(found.images, 'image', 'images')} in " if found.images else ""
    series = f", {images}{found.series_used} of {found.series} series" if found.series else ""
    return f"Analysed {moment(found.analysed_ms)}{series}."
