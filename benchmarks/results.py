"""What a benchmark found: tables of numbers, and the aims they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

Cell = str | float | int


@dataclass(frozen=True)
class Table:
    """Numbers with one unit for each column, which stands in the column's name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Aim:
    """A number and what it should be: at least or at most `limit`."""

    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the number is on the right side of the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def sentence(self) -> str:
        """The aim in words, with whether it was reached."""
        bound = "at least" if self.at_least else "at most"
        verdict = "reached" if self.held else "MISSED"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.what}: {shown(self.value)}{unit} ({bound} {self.limit:g}{unit}): {verdict}"


@dataclass(frozen=True)
class Result:
    """Everything one benchmark found; `notes` say what could not be measured, and why."""

    tables: tuple[Table, ...] = ()
    aims: tuple[Aim, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "tables": [asdict(table) for table in self.tables],
            "aims": [{**asdict(aim), "held": aim.held} for aim in self.aims],
            "notes": list(self.notes),
        }


def shown(value: Cell) -> str:
    """A number with as many digits as it deserves."""
    if isinstance(value, str | int):
        return str(value)
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else (f"{value:.2f}")
    )


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(statistics.median(values))


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of ``above / below``: what disturbs a round disturbs both."""
    return median([a / b for a, b in zip(above, below, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, without interpolation."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def show(result: Result, console: Console) -> None:
    """Print a result."""
    for table in result.tables:
        printed = RichTable(title=table.title, title_justify="left")
        for index, column in enumerate(table.columns):
            printed.add_column(column, justify="right" if index else "left")
        for row in table.rows:
            printed.add_row(*map(shown, row))
        console.print(printed)
    for aim in result.aims:
        console.print(aim.sentence, style="" if aim.held else "bold", highlight=False)
    for note in result.notes:
        console.print(note, highlight=False)


def markdown(result: Result) -> str:
    """The same as Markdown."""
    parts = [_markdown_table(table) for table in result.tables]
    sentences = [*(aim.sentence for aim in result.aims), *result.notes]
    parts += ["\n".join(f"- {sentence}" for sentence in sentences)] if sentences else []
    return "\n\n".join(parts)


def _markdown_table(table: Table) -> str:
    lines: list[Sequence[str]] = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1)]
    lines += [[shown(cell) for cell in row] for row in table.rows]
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{table.title}**\n\n{rows}"


Benchmark = Callable[[bool], Result]
"""Measures; with True it takes small numbers, to see that it works."""
