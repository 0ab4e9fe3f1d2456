"""Text that is safe to keep: what a FHIR ``string`` and XHTML may hold, and nothing that hides."""

from __future__ import annotations

import unicodedata
from html import escape

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are dropped: controls, direction marks, surrogates, unassigned."""


def plain(text: str, limit: int = 500) -> str:
    """Return `text` on one line without control, direction or unassigned characters.

    Blanks are joined. Longer text is cut at `limit` characters and ends in an ellipsis.
    """
    head = text[: 8 * limit]
    visible = head if head.isprintable() else "".join(map(_shown, head))
    joined = " ".join(visible.split())
    return joined if len(joined) <= limit else joined[: limit - 1].rstrip() + "…"


def said(text: str, limit: int = 200) -> str:
    """Return `text` as `plain` does, or words that say that there is none (FHIR has no empty)."""
    return plain(text, limit) or "not stated"


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in _HIDDEN else character


def markup(text: str, limit: int = 500) -> str:
    """Return `text` for use in XHTML, in an element or a quoted attribute."""
    return escape(plain(text, limit), quote=True)
