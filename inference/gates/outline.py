"""Was anything outlined where something was looked for?"""

from __future__ import annotations

from inference.analysis import GateResult

GATE = "outline"


def judge_outline(outlined: int) -> GateResult:
    """`outlined` is the number of images on which anything was; none leaves nothing to measure."""
    if outlined:
        sentence = "Something large enough was outlined."
        return GateResult(GATE, True, "outlined", sentence, float(outlined), 1.0)
    sentence = "The model outlined nothing on these images, or nothing large enough."
    return GateResult(GATE, False, "nothing-outlined", sentence, 0.0, 1.0)
