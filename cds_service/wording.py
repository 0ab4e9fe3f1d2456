"""The words on cards: what may be said, how sure, and how text becomes safe Markdown.

Every variable part goes through `plain` (summary) or `gfm` (detail) here, so that nothing a
document or a model package says can become markup, a link or a second line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from fhir_mapping.study import StudyRef
from fhir_mapping.text import plain as _one_line
from fhir_mapping.wording import unsaid

SUMMARY_UNITS = 139
"""CDS Hooks 2.0.1, Card: fewer than 140 characters, counted as a browser counts (UTF-16)."""

UNREVIEWED = (
    "**Made by AI and not reviewed by a person.**"
    " Not for diagnosis on its own: look at the images themselves."
)

_NEVER_MARKUP = str.maketrans({"<": "‹", ">": "›"})
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_JOINER = "\N{WORD JOINER}"
_ALWAYS = frozenset("\\`*_{}[]|~@$^")
_AT_START = frozenset("#+-=.)!")
_BEFORE_LINK = frozenset(".:/")
_LINKING = frozenset(("/", _JOINER))


def plain(text: str, limit: int = 80) -> str:
    """One line of visible text for a summary, without angle brackets and words never said."""
    return unsaid(proper(text, limit))


def proper(text: str, limit: int = 80) -> str:
    """The same of a proper name, which says nothing of a patient, whatever its words are."""
    return _one_line(text, limit).translate(_NEVER_MARKUP)


def gfm(text: str, limit: int = 200) -> str:
    """`text` as GitHub Flavoured Markdown that shows it as it is, on one line.

    Punctuation is escaped where it could mean something (at the start: headings, lists; before
    text: links), HTML becomes entities, and an invisible joiner keeps autolinks (``www.``, ``://``,
    ``@``) from being recognised by renderers that look for them after unescaping.
    """
    said = unsaid(_one_line(text, limit))
    for mark in ("://", "@"):
        said = said.replace(mark, mark + _JOINER)
    said = _JOINER.join(_split_www(said))
    # what may stand before a list's mark: "1." is as much a list as "-"
    start = len(said) - len(said.lstrip("0123456789")) + 1
    return "".join(_escaped(said, at, at < start) for at in range(len(said)))


def _split_www(text: str) -> list[str]:
    """`text` cut after every ``www``, in any case."""
    return re.split("(?<=www)", text, flags=re.IGNORECASE)


def _escaped(text: str, at: int, at_start: bool) -> str:
    character = text[at]
    if character in _ENTITIES:
        return _ENTITIES[character]
    following = text[at + 1 : at + 2]
    linking = character in _BEFORE_LINK and (following.isalpha() or following in _LINKING)
    # "1." and "2)" are lists only before a blank, so that a version stays readable
    listing = character not in ".)" or not following.strip()
    risky = character in _ALWAYS or (at_start and character in _AT_START and listing)
    return f"\\{character}" if risky or linking else character


def summary(*texts: str) -> str:
    """The first of these that fits into `SUMMARY_UNITS`; the last, cut, if none does."""
    fitting = (text for text in texts if _units(text) <= SUMMARY_UNITS)
    return next(fitting, "") or cut(texts[-1], SUMMARY_UNITS)


def cut(text: str, units: int) -> str:
    """`text`, with an ellipsis at the end where it was longer than so many UTF-16 units."""
    if _units(text) <= units:
        return text
    kept = text
    while _units(kept) > units - 1:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def study_name(study: StudyRef) -> str:
    """A study as a reader knows it: ``MR of 2026-03-03``; never more than 40 characters."""
    # presentation states, reports and the like are about images, and are not images
    about = ("SR", "PR", "KO", "SEG", "DOC", "REG", "AU", "OT")
    kinds = [m for m in study.modalities if m not in about] or list(study.modalities)
    modality = plain("/".join(kinds[:3]), 20) or "imaging study"
    return f"{modality} of {study.started_text[:10]}" if study.started_text else modality


def moment(ms: int) -> str:
    """Epoch milliseconds as ``2026-03-03 14:05 UTC``."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in words, in ascending order: (3, 4, 5, 9) is ``3–5, 9``."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in found)


def age(seconds: float) -> str:
    """How long ago something was, in one unit."""
    if seconds < 120:
        return f"{seconds:.0f}\u00a0s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}\u00a0min"
    return f"{seconds / 3600:.0f}\u00a0h" if seconds < 172_800 else f"{seconds / 86_400:.0f}\u00a0d"


def counted(number: int, one: str, many: str) -> str:
    """``1 study``, ``2 studies``."""
    return f"{number} {one if number == 1 else many}"
