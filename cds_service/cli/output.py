"""Where tables go: as wide as the terminal, and wide enough for a pipe or a log."""

from __future__ import annotations

from rich.console import Console

PIPE_WIDTH = 160
"""A pipe has no width; rich would take 80 and break words."""


def console() -> Console:
    """The console of the standard output; colours only on a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=PIPE_WIDTH)
