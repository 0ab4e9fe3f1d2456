"""Whether a model meets other images than those it was tested on: its last results, by kind.

Of each model version ``cds:drift:recent:<name>`` in Redis holds the last `RESULTS` results, newest
first: the precision, and whether the model answered, was undecided, or found the images unlike
those it was trained on. Nothing there is about a study or a person.

What is compared differs in its unit: here one series of a patient, in the test one image of a
collection. So a difference is a reason to look, and no proof.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis

from cds_service.queue.errors import QueueError, redis_reached
from cds_service.queue.state import StudyRecord
from cds_service.shadow.ledger import ModelName
from inference.analysis import Analysis, ModelResult, Outcome

log = logging.getLogger(__name__)

RECENT, COUNTED = "cds:drift:recent:{}", "cds:drift:counted:{}:{}:{}"

RESULTS = 200
"""The results that a share is taken over."""

FEWEST = 30
"""Of fewer nothing is said: one result would be more than three per cent of them."""

COUNTED_S = 7 * 86_400
"""A study that is analysed again within this time, on the same images, is not counted twice."""

_Z = 1.96  # of a 95 % interval
_STRANGE_GATE = "out-of-distribution"

# KEYS counted recent
# ARGV entry results counted-s
_NOTE = """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then
  redis.call('LPUSH', KEYS[2], ARGV[1])
  redis.call('LTRIM', KEYS[2], 0, ARGV[2] - 1)
end
"""


class Kind(StrEnum):
    """What a result was, for drift."""

    ANSWERED = "answered"
    UNDECIDED = "undecided"
    STRANGE = "strange"


def kind_of(result: ModelResult) -> Kind | None:
    """The kind of a result; None where the model was not run."""
    if result.outcome is Outcome.NOT_ANALYSED:
        return None
    if any(gate.gate == _STRANGE_GATE for gate in result.reasons):
        return Kind.STRANGE
    return Kind.UNDECIDED if result.outcome is Outcome.INDETERMINATE else Kind.ANSWERED


@dataclass(frozen=True)
class Recent:
    """The last results of one model version in one precision, newest included."""

    precision: str = ""
    results: int = 0
    strange: int = 0
    silent: int = 0
    """Without an answer: undecided or strange."""


@dataclass(frozen=True)
class Baseline:
    """The same shares on the test split, from ``report.json``; 0 to 1, None if not measured."""

    images: int
    strange: float | None
    silent: float | None


class DriftLedger:
    """Keeps the kinds of the last results. Raises QueueUnavailable when Redis does not answer."""

    def __init__(self, connection: Redis) -> None:
        self._redis = connection
        self._note = connection.register_script(_NOTE)

    def note(self, study: str, digest: str, result: ModelResult) -> None:
        """Count one result; `digest` names the images of its study."""
        kind = kind_of(result)
        if kind is None:
            return
        name = ModelName(result.model_id, result.model_version)
        counted = COUNTED.format(study, digest[:16], name.key)
        with redis_reached():
            self._note(
                keys=[counted, RECENT.format(name.key)],
                args=[f"{result.precision} {kind}", RESULTS, COUNTED_S],
            )

    def recent(self, names: Sequence[ModelName]) -> dict[ModelName, Recent]:
        """The last results of these models, in one round trip."""
        with redis_reached(), self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.lrange(RECENT.format(name.key), 0, RESULTS - 1)
            rows = pipeline.execute()
        return {name: _recent(row) for name, row in zip(names, rows, strict=True)}


@dataclass(frozen=True)
class DriftNotes:
    """Notes the results of each study that has ended; never fails the study."""

    ledger: DriftLedger

    def __call__(self, order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
        """Count them (see `tasks.Ended`)."""
        try:
            for result in analysis.results:
                self.ledger.note(record.id, analysis.instance_digest, result)
        except QueueError as error:
            log.warning("results not counted for drift", extra={"kind": error.kind})


def _recent(row: Iterable[bytes]) -> Recent:
    """Of the precision of the newest result alone: each has test figures of its own."""
    found = [tuple(entry.decode("utf-8", "replace").split(" ")) for entry in row]
    entries = [entry for entry in found if len(entry) == 2 and entry[1] in tuple(Kind)]
    if not entries:
        return Recent()
    precision = entries[0][0]
    kinds = [kind for served, kind in entries if served == precision]
    silent = sum(kind != Kind.ANSWERED for kind in kinds)
    return Recent(precision, len(kinds), sum(kind == Kind.STRANGE for kind in kinds), silent)


def baselines(report: Mapping[str, Any]) -> dict[str, Baseline]:
    """What a package's report measured on its test split, by precision."""
    quantised = report.get("int8")
    splits = {
        "fp32": report.get("test"),
        "int8": quantised.get("test") if isinstance(quantised, dict) else None,
    }
    return {name: _tested(split) for name, split in splits.items() if isinstance(split, dict)}


def _tested(split: Mapping[str, Any]) -> Baseline:
    abstaining = split.get("abstaining")
    answered = abstaining.get("coverage") if isinstance(abstaining, dict) else None
    images = split.get("images", 0)
    return Baseline(
        images=images if isinstance(images, int) else 0,
        strange=_rest(split.get("in_distribution")),
        silent=_rest(answered),
    )


def _rest(share: object) -> float | None:
    return 1 - share if isinstance(share, int | float) and 0 <= share <= 1 else None


def interval(count: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, 0 to 1 (Wilson 1927); `of` is above 0."""
    share, square = count / of, _Z * _Z / of
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


class Drift(StrEnum):
    """What a share says beside that of the test."""

    TOO_FEW = "too few to say"
    NOT_TESTED = "no test figure to compare with"
    AS_TESTED = "as on the test images"
    MORE = "more than on the test images"
    LESS = "less than on the test images"


def drift(count: int, of: int, expected: float | None) -> Drift:
    """Compare `count` of `of` results with a share that was measured, 0 to 1."""
    if expected is None:
        return Drift.NOT_TESTED
    if of < FEWEST:
        return Drift.TOO_FEW
    low, high = interval(count, of)
    if low > expected:
        return Drift.MORE
    return Drift.LESS if high < expected else Drift.AS_TESTED
