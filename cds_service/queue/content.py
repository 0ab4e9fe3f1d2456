"""Names of a study's content, compared part by part: what is not stated is unknown, not changed.

A name is a few parts joined by dots, each for one thing that is stated of a study; a part of which
nothing is known is ``-``. The empty name knows nothing. A part is an opaque word, and another word
is another content; or it counts something (``24~word``). Then a smaller count is old news, whoever
has it, and of the largest count every word that was stated is known (``24~word+word``): so callers
who know less, or who take turns, change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

UNKNOWN = "-"

WORDS = 4
"""Of one count; more callers that count alike and never agree are not told apart for ever."""


def named(parts: Iterable[str | None]) -> str:
    """The name of some parts, ``None`` for what is not known."""
    return ".".join(part or UNKNOWN for part in parts)


def counted(count: int, word: str) -> str:
    """A part that says how many there are of what `word` names."""
    return f"{count}~{word}"


def changed(known: str, stated: str) -> bool:
    """Whether `stated` is news to whoever knows `known`: more, or something else."""
    return any(UNKNOWN not in (a, b) and not _covers(a, b) for a, b in _pairs(known, stated))


def renewed(known: str, stated: str) -> str:
    """What is known after `stated` was heard: its newer words, and of the counts the larger."""
    if not known or not stated:
        return known or stated
    return named(_newer(a, b) for a, b in _pairs(known, stated))


def counts_of(known: str) -> str:
    """What is still true of a content that has changed: how much there was of it."""
    return named(part if "~" in part else None for part in known.split("."))


def _covers(known: str, stated: str) -> bool:
    if "~" not in known or "~" not in stated:
        return known == stated
    (count, words), (stated_count, stated_words) = _read(known), _read(stated)
    return stated_count < count or (stated_count == count and set(stated_words) <= set(words))


def _newer(known: str, stated: str) -> str:
    if UNKNOWN in (known, stated):
        return known if stated == UNKNOWN else stated
    if "~" not in known or "~" not in stated:
        return stated
    (count, words), (stated_count, stated_words) = _read(known), _read(stated)
    if stated_count != count:
        return known if stated_count < count else stated
    return counted(count, "+".join(list(dict.fromkeys((*words, *stated_words)))[-WORDS:]))


def _read(part: str) -> tuple[int, list[str]]:
    count, _, words = part.partition("~")
    return int(count), words.split("+")


def _pairs(known: str, stated: str) -> Iterator[tuple[str, str]]:
    """Part by part; one that only the longer name has is unknown to the other."""
    one, other = (name.split(".") if name else () for name in (known, stated))
    return zip_longest(one, other, fillvalue=UNKNOWN)
