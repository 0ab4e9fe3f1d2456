"""Run the checks and keep what each of them found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from cds_service.conformance.examination import Examination, NotApplicable
from cds_service.conformance.exchange import EnoughAsked, NoAnswer
from cds_service.conformance.requirement import Check

MOST_SENTENCES = 5


class Verdict(StrEnum):
    """What a check found."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_EXAMINED = "not examined"


@dataclass(frozen=True)
class Finding:
    """One check and what it found. `sentences` say what is wrong, or why nothing was looked at."""

    check: Check
    verdict: Verdict
    sentences: tuple[str, ...] = ()
    took_ms: float = 0.0

    @property
    def fails(self) -> bool:
        """Whether something is broken that SHALL hold."""
        return self.verdict is Verdict.BROKEN and self.check.level == "SHALL"


def examine(
    examination: Examination,
    checks: Iterable[Check],
    began: Callable[[Check], None] = lambda _: None,
) -> list[Finding]:
    """Run the checks one after another; `began` is told of each before it runs."""
    findings = []
    for check in checks:
        began(check)
        since = time.perf_counter()
        verdict, sentences = _look(check, examination)
        took_ms = (time.perf_counter() - since) * 1e3
        findings.append(Finding(check, verdict, sentences, took_ms))
    return findings


def _look(check: Check, examination: Examination) -> tuple[Verdict, tuple[str, ...]]:
    try:
        # one more than is shown, to know whether there are more
        found = list(islice(check.look(examination), MOST_SENTENCES + 1))
    except (NotApplicable, EnoughAsked) as reason:
        return Verdict.NOT_EXAMINED, (str(reason),)
    except NoAnswer as error:
        return Verdict.BROKEN, (error.sentence,)
    if len(found) > MOST_SENTENCES:
        found[MOST_SENTENCES:] = ["and more of the same kind"]
    return (Verdict.BROKEN, tuple(found)) if found else (Verdict.KEPT, ())
