"""Do the images of the series lie where neighbouring slices of one volume would?"""

from __future__ import annotations

from collections.abc import Sequence

from inference.analysis import GateResult
from models.contract import Reason

GATE = "geometry"


def judge_geometry(problems: Sequence[Reason]) -> tuple[GateResult, ...]:
    """One result for each problem, or one that says there is none (see `inference.volume`)."""
    if problems:
        return tuple(GateResult(GATE, False, why.kind, why.sentence) for why in problems)
    return (GateResult(GATE, True, "regular", "The images lie evenly, side by side."),)
