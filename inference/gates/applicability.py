"""Do the images' own headers still say that the model may read them?"""

from __future__ import annotations

from collections.abc import Iterable

from inference.analysis import GateResult
from models.contract import Reason, SeriesFacts
from models.registry import ModelPackage, Registry

GATE = "applicability"


def reasons_against(
    package: ModelPackage, facts: Iterable[SeriesFacts], registry: Registry
) -> tuple[Reason, ...]:
    """Why the model may not read these images; none when it may."""
    name = (package.manifest.id, package.manifest.version)
    reasons = (
        reason
        for stated in facts
        for refusal in registry.candidates(stated)[1]
        if (refusal.model_id, refusal.model_version) == name
        for reason in refusal.reasons
    )
    return tuple(dict.fromkeys(reasons))


def judge_applicability(reasons: tuple[Reason, ...]) -> GateResult:
    """The first reason is the one that is told."""
    if reasons:
        return GateResult(GATE, False, reasons[0].kind, reasons[0].sentence)
    return GateResult(GATE, True, "applicable", "The images are of the kind the model reads.")
