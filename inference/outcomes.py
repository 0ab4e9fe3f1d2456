"""What several answers amount to in one word; needs no runtime, so that a card may ask, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

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
    def model_id(self) -> str:
        """Which model says it."""

    @property
    def follows(self) -> str:
        """The id of the model on whose answer it was run, or empty."""


A = TypeVar("A", bound=Answered)


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


def left_without(results: Sequence[A], gone: Callable[[A], bool]) -> tuple[A, ...]:
    """The answers that still stand when some are gone.

    With an answer goes what rests on it: what was outlined because of its finding, and a negative
    that it was to confirm.
    """
    ran_on = {r.model_id for r in results if gone(r)}
    unconfirmed = {r.follows for r in results if gone(r)}
    return tuple(
        r
        for r in results
        if not gone(r)
        and r.follows not in ran_on
        and not (r.outcome is Outcome.NO_FINDING and r.model_id in unconfirmed)
    )
