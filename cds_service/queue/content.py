"""Names of a study's content, compared part by part: what is not stated is unknown, not changed.

A name is a few opaque parts joined by dots, each for one thing that is announced of a study; a part
of which nothing is known is ``-``. The empty name knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = "-"


def named(parts: Iterable[str | None]) -> str:
    """The name of some parts, ``None`` for what is not known."""
    return ".".join(part or UNKNOWN for part in parts)


def changed(known: str, stated: str) -> bool:
    """Whether two names disagree on something that both know."""
    if not known or not stated:
        return False
    one, other = known.split("."), stated.split(".")
    pairs = zip(one, other, strict=False)
    return len(one) != len(other) or any(a != b and UNKNOWN not in (a, b) for a, b in pairs)


def joined(known: str, stated: str) -> str:
    """What both names together know, of two that do not disagree."""
    if not known or not stated:
        return known or stated
    pairs = zip(known.split("."), stated.split("."), strict=True)
    return ".".join(b if a == UNKNOWN else a for a, b in pairs)
