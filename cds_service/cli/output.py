"""Where tables go: as wide as the terminal, and wide enough for a pipe or a log."""

from __future__ import annotations

import unicodedata

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

PIPE_WIDTH = 160
"""A pipe has no width; rich would take 80 and break words."""


def console() -> Console:
    """The console of the standard output; colours only on a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=PIPE_WIDTH)


_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` without what a terminal obeys and nobody sees: a name from elsewhere moves no cursor.

    Controls, direction marks, line separators and surrogates go; the joiners stay, which some
    scripts are written with.
    """
    shown = (c for c in text if c in _JOINERS or unicodedata.category(c) not in _UNSHOWN)
    return "".join(shown)


def plainly(text: str) -> Text:
    """`text` as one line of a terminal, in which rich's markup means nothing."""
    return Text(printable(text))


def folding_table(*headings: str, title: str = "", caption: str = "") -> Table:
    """A table in which a long word goes on in the next line: nothing is cut off."""
    columns = (Column(heading, overflow="fold") for heading in headings)
    return Table(*columns, title=plainly(title), caption=plainly(caption))


def add_row(table: Table, *cells: str) -> None:
    """A row of plain text: neither control characters nor rich's markup in it mean anything."""
    table.add_row(*(plainly(cell) for cell in cells))
