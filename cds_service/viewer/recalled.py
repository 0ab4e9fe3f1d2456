"""A page of which some answers were recalled: those are emptied, and the others stay as they were.

Each answer keeps its place, since the pictures and slices of a page are asked for by number.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from cds_service.explanation import ExplanationPage, PageGate, PageResult
from inference.analysis import Outcome
from inference.outcomes import left_without, study_outcome

_KIND = "recalled"
_WHY = PageGate(
    gate="recall",
    passed=False,
    kind=_KIND,
    sentence="This version of the model, or of one that it goes on from, was found not reliable.",
)


def without(page: ExplanationPage, gone: Container[tuple[str, str]]) -> ExplanationPage:
    """The page without what these (model, version) answered, and without what rests on it."""
    kept = left_without(page.results, lambda r: (r.model_id, r.model_version) in gone)
    results = tuple(each if each in kept else _emptied(each) for each in page.results)
    return page.model_copy(update={"results": results, "outcome": study_outcome(kept)})


def is_recalled(result: PageResult) -> bool:
    """Whether nothing of this answer is left."""
    return any(gate.kind == _KIND for gate in result.gates)


def _emptied(result: PageResult) -> PageResult:
    lists = ("labels", "slices", "slices_used", "possible", "outlines", "measurements")
    nothing: dict[str, Any] = dict.fromkeys(lists, ()) | {"finding": None, "deciding_slice": None}
    nothing |= {"picture": None, "gates": (_WHY,), "outcome": Outcome.NOT_ANALYSED}
    return result.model_copy(update=nothing)
