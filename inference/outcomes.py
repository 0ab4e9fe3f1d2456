"""What several answers amount to in one word; needs no runtime, so that a card may ask, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from inference.analysis import Outcome

_WORST_FIRST = (
    Outcome.FINDING,
    Outcome.INDETERMINATE,
    Outcome.MEASURED,
    Outcome.NO_FINDING,
    Outcome.NOT_ANALYSED,
)


class Answered(Protocol):
    """A result, or what is kept of one."""

    @property
    def outcome(self) -> Outcome:
        """What the model says."""

    @property
    def follows(self) -> str:
        """The id of the model on whose answer it was run, or empty."""


def gravest(outcomes: Iterable[Outcome]) -> Outcome:
    """The one outcome that a study's outcomes amount to: the first of `_WORST_FIRST` among them."""
    present = set(outcomes)
    return next((outcome for outcome in _WORST_FIRST if outcome in present), Outcome.NOT_ANALYSED)


def study_outcome(results: Iterable[Answered]) -> Outcome:
    """The gravest of a study's results.

    What one model measured, or saw nothing of, where it followed another adds no gravity.
    """
    return gravest(
        result.outcome
        for result in results
        if not (result.follows and result.outcome is Outcome.MEASURED)
    )
