"""How figures are written: one way for cards, manifests and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.build.evaluate.figures import Report

NOTHING = "unknown"


def placeholder(name: str) -> str:
    """The name by which a template asks for a figure: letters, digits and underscores."""
    return name.replace("-", "_").replace(" ", "_")


def percent(value: float | None) -> str:
    """A share as the card prints it: 0.9171 as "91.7 %"."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def interval(figure: Report | None) -> str:
    """A share with its 95 % interval: "91.7 % (89.5 to 93.7)"."""
    if figure is None or figure["value"] is None:
        return NOTHING
    return f"{percent(figure['value'])} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with so many digits behind the point."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def spread(figure: Report | None, digits: int = 3) -> str:
    """A number with its interval: "0.846 (0.821 to 0.868)"."""
    if figure is None or figure["value"] is None:
        return NOTHING
    low, high = number(figure["low"], digits), number(figure["high"], digits)
    return f"{number(figure['value'], digits)} ({low} to {high})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def paragraphs(*parts: str | Sequence[str]) -> str:
    """Parts with an empty line between them; a list of lines stays together."""
    texts = ("\n".join(part) if not isinstance(part, str) else part for part in parts)
    return "\n\n".join(text for text in texts if text)
