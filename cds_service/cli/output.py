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


def printable(text: str) -> str:
    """`text` without control characters (C0, DEL, C1): a name from elsewhere moves no cursor."""
    return "".join(each for each in text if unicodedata.category(each) != "Cc")


def folding_table(*headings: str, title: str = "", caption: str = "") -> Table:
    """A table in which a long word goes on in the next line: nothing is cut off."""
    columns = (Column(heading, overflow="fold") for heading in headings)
    return Table(*columns, title=Text(title), caption=Text(caption))


def add_row(table: Table, *cells: str) -> None:
    """A row of plain text: neither control characters nor rich's markup in it mean anything."""
    table.add_row(*(Text(printable(cell)) for cell in cells))
