"""A check: one requirement, and the small function that looks whether a service keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cds_service.conformance.examination import Examination

Level = Literal["SHALL", "SHOULD"]
Look = Callable[[Examination], Iterator[str]]
"""Yields a sentence for each thing that is wrong; raises NotApplicable where there is nothing to
look at."""


@dataclass(frozen=True)
class Check:
    """`id` names the requirement, `name` this check of it; `sentence` is what has to hold.

    `level` is the specification's own word: a SHALL that is not kept makes the service fail.
    `clause` says where it is written.
    """

    id: str
    name: str
    level: Level
    sentence: str
    clause: str
    look: Look


def requirement(id_: str, level: Level, sentence: str, clause: str) -> Callable[[Look], Check]:
    """Make a check of a function; its name becomes the check's."""

    def made(look: Look) -> Check:
        return Check(id_, look.__name__.replace("_", "-"), level, sentence, clause, look)

    return made
