"""Names of a study's content, compared part by part: what is not stated is unknown, not changed.

A name is a few opaque parts joined by dots, each for one thing that is announced of a study; a part
of which nothing is known is ``-``. The empty name knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

UNKNOWN = "-"


def named(parts: Iterable[str | None]) -> str:
    """The name of some parts, ``None`` for what is not known."""
    return ".".join(part or UNKNOWN for part in parts)


def changed(known: str, stated: str) -> bool:
    """Whether two names disagree on something that both know."""
    return any(a != b and UNKNOWN not in (a, b) for a, b in _pairs(known, stated))


def joined(known: str, stated: str) -> str:
    """What both names together know, of two that do not disagree."""
    return renewed(stated, known)


def renewed(known: str, stated: str) -> str:
    """What `stated` knows, and of the rest what `known` does: the newer word counts."""
    if not known or not stated:
        return known or stated
    return named(a if b == UNKNOWN else b for a, b in _pairs(known, stated))


def _pairs(known: str, stated: str) -> Iterator[tuple[str, str]]:
    """Part by part; one that only the longer name has is unknown to the other."""
    one, other = (name.split(".") if name else () for name in (known, stated))
    return zip_longest(one, other, fillvalue=UNKNOWN)
