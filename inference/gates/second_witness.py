"""Does the model that outlines agree where the other one found nothing?"""

from __future__ import annotations

from inference.analysis import GateResult, ModelResult, Outcome
from inference.segmentation import largest

GATE = "second-witness"


def judge_witness(witness: ModelResult) -> GateResult:
    """Judge a negative by the result of a second model, which looked at every usable image.

    Whatever it outlined or found stands against the negative, whether its own checks held or not;
    that it outlined nothing speaks for the negative only where they did.
    """
    seen = largest(witness.outlines)
    if seen is not None:
        what, where = witness.structure, seen.slice_number
        sentence = (
            f"A second model outlined something on image {where} ({what}) "
            "that this model did not find."
        )
        return GateResult(GATE, False, "second-witness-disagrees", sentence)
    if witness.finding is not None:
        sentence = f"A second model found what this one did not: {witness.finding.display}."
        return GateResult(GATE, False, "second-witness-disagrees", sentence)
    if witness.outcome is Outcome.INDETERMINATE:
        sentence = "A second model could not confirm that there is nothing to be found."
        return GateResult(GATE, False, "second-witness-unsure", sentence)
    sentence = "A second model looked at the images and saw nothing either."
    return GateResult(GATE, True, "second-witness-agrees", sentence)


def missing_witness() -> GateResult:
    """Judge a negative whose second witness is installed and was not heard."""
    sentence = "A second model that should have looked at these images could not be run on them."
    return GateResult(GATE, False, "second-witness-missing", sentence)
