"""Is one answer probable enough, and clearly more probable than the next?"""

from __future__ import annotations

from inference.aggregation import Claim
from inference.analysis import GateResult
from models.contract import Prediction

GATE = "uncertainty"
_MIN_MARGIN = 0.1


def judge_uncertainty(claim: Claim, prediction: Prediction) -> GateResult:
    """A label must reach its own threshold and lead the next label by a tenth."""
    chances = prediction.probabilities
    if claim.label is None:
        strongest = claim.strongest
        sentence = "No answer is probable enough to be stated."
        value = chances[strongest.key]
        return GateResult(GATE, False, "below-threshold", sentence, value, strongest.threshold)
    probability = chances[claim.label.key]
    others = [chance for key, chance in chances.items() if key != claim.label.key]
    margin = probability - max(others)
    if margin < _MIN_MARGIN:
        sentence = "Two answers are almost equally probable."
        return GateResult(GATE, False, "small-margin", sentence, margin, _MIN_MARGIN)
    sentence = "One answer is probable enough to be stated."
    return GateResult(GATE, True, "above-threshold", sentence, probability, claim.label.threshold)
