"""Does the fast graph still say what the exact one says? Pure: whoever runs both keeps the counts.

::

    if shadowed(study_id, share):                       # the same studies every time
        first, second = ...                             # the study's analyses in fp32 and in int8
        for one in compare(first, second):
            count(one.model_id, one.model_version, one.label, one.differs)
    if Window().judge(latest answers of a model).fall_back:
        ...                                             # Analyser(..., forced={model_id: "fp32"})
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.analysis import Analysis, ModelResult, Outcome, SliceOutline

SHARE = 0.02
"""The share of studies that is run in both precisions unless a site says otherwise."""

_DRAWN_BITS = 64
_LEAST_OVERLAP = 0.9  # Dice of two outlines that a person would take for the same


@dataclass(frozen=True)
class Disagreement:
    """One model's answers on one series in two precisions; `differs` is whether they are two.

    `label` is the key of what the first of the two stated, or else its outcome ("indeterminate",
    "measured"). Two outlines that overlap too little are two answers.
    """

    model_id: str
    model_version: str
    label: str
    differs: bool


@dataclass(frozen=True)
class Standing:
    """How a model stands: of the latest `compared` runs `differing` had two answers."""

    compared: int
    differing: int
    fall_back: bool

    @property
    def share(self) -> float:
        """The share of runs with two answers; 0 before the first run."""
        return self.differing / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class Window:
    """The latest `size` runs of a model may differ up to a share of `limit`.

    Nothing is judged of fewer than `least` runs: one chance difference would be enough.
    """

    limit: float = 0.05
    size: int = 200
    least: int = 20

    def judge(self, differs: Sequence[bool]) -> Standing:
        """Judge a model by whether each of its runs differed, oldest first."""
        latest = differs[-self.size :]
        differing = sum(latest)
        over = len(latest) >= self.least and differing > self.limit * len(latest)
        return Standing(len(latest), differing, over)


def shadowed(study_id: str, share: float = SHARE) -> bool:
    """Whether a study is one of the `share` (0 to 1) that are run in both precisions.

    Drawn from the id alone, so that every worker and every repetition draws alike.
    """
    digest = hashlib.sha256(f"shadow {study_id}".encode()).digest()
    drawn = int.from_bytes(digest[: _DRAWN_BITS // 8], "big")
    return drawn < share * float(2**_DRAWN_BITS)


def compare(first: Analysis, second: Analysis) -> tuple[Disagreement, ...]:
    """One comparison for each model and series that both ran, each in a precision of its own.

    A model that ran in one precision both times is not compared, nor is one that ran only once
    (a chained model, where the answers before it differ: that difference is told of the first).
    """
    others = {_name(result): result for result in second.results}
    pairs = ((result, others.get(_name(result))) for result in first.results)
    return tuple(
        Disagreement(one.model_id, one.model_version, _label(one), _differ(one, other))
        for one, other in pairs
        if other and other.precision != one.precision
    )


def _name(result: ModelResult) -> tuple[str, str, str]:
    return result.model_id, result.model_version, result.series_uid


def _differ(one: ModelResult, other: ModelResult) -> bool:
    stated = (one.outcome, _label(one)) != (other.outcome, _label(other))
    return stated or _overlap(one.outlines, other.outlines) < _LEAST_OVERLAP


def _overlap(first: Iterable[SliceOutline], second: Iterable[SliceOutline]) -> float:
    """The Dice coefficient of all outlined pixels; 1 where nothing is outlined in either."""
    others = {(one.sop_instance_uid, one.frame): one.mask for one in second}
    size = shared = 0
    for one in first:
        size += int(one.mask.sum())
        other = others.get((one.sop_instance_uid, one.frame))
        if other is not None and other.shape == one.mask.shape:
            shared += int((one.mask & other).sum())
    size += sum(int(mask.sum()) for mask in others.values())
    return 2 * shared / size if size else 1.0


def _label(result: ModelResult) -> str:
    """What was stated, in one word."""
    if result.finding:
        return result.finding.key
    if result.outcome is Outcome.NO_FINDING:
        return next(_negatives(result), result.outcome.value)
    return result.outcome.value


def _negatives(result: ModelResult) -> Iterator[str]:
    return (chance.key for chance in result.probabilities if chance.negative)
