"""The manifest of a pack, row by row, each of which can be named by its line."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from models.build.errors import DataError, LeakError, at
from models.build.recipe import DataRecipe


@dataclass(frozen=True)
class Row:
    """One line of a manifest; `line` counts from 1, the header being 1."""

    pack: str
    line: int
    columns: dict[str, str]

    def fault(self, problem: str) -> DataError:
        """What is wrong here, to be raised."""
        return DataError(at(f"{self.pack}.csv", self.line, problem))

    def check(self, name: str, content: bytes) -> None:
        """Raise DataError where the column `sha256` states another file than `name`'s `content`."""
        stated = self.columns.get("sha256", "")
        if stated and hashlib.sha256(content).hexdigest() != stated.lower():
            raise self.fault(f"the image {name} is not the file of the row's SHA-256.")

    def __getitem__(self, column: str) -> str:
        return self.columns[column]

    def fill(self, template: str) -> str:
        """The template with this row's columns in its braces."""
        try:
            return template.format_map(self.columns)
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise self.fault(f"has no column for {template!r}.") from error


def read_rows(folder: Path, pack: str, needed: Sequence[str]) -> list[Row]:
    """Every row of `pack`.csv. Raises DataError where the table or a `needed` column is not."""
    path = folder / f"{pack}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            given = reader.fieldnames or ()
            for column in needed:
                if column not in given:
                    raise DataError(at(path.name, 1, f"the column {column!r} is missing."))
            return [_row(pack, reader.line_num, columns) for columns in reader]
    except OSError as error:
        raise DataError(at(path.name, None, "cannot be read.")) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(at(path.name, None, "is not a table of comma-separated text.")) from error


def _row(pack: str, line: int, columns: dict[str, str]) -> Row:
    if None in columns or None in columns.values():
        raise DataError(at(f"{pack}.csv", line, "has more or fewer columns than the header."))
    return Row(pack, line, columns)


def columns_of(data: DataRecipe) -> tuple[str, ...]:
    """The columns that a recipe needs in its manifest."""
    number = (data.number,) if data.number else ()
    return (data.label_column, "split", data.group, *number)


def groups_of(rows: Sequence[Row], data: DataRecipe) -> dict[int, str]:
    """What a bootstrap draws together, by the row's line: the csv's group, or a run of slices.

    A run is of slices whose numbers follow one another, with one label and one group: one patient's
    series, mostly. Raises nothing: `check_rows` has seen that numbers are numbers.
    """
    groups = {row.line: row[data.group] for row in rows}
    if data.number is None:
        return groups
    column = data.number
    numbered = sorted((row for row in rows if row[column]), key=lambda row: int(row[column]))
    runs = groupby(numbered, key=lambda row: (row[data.label_column], row[data.group]))
    for number, (_, members) in enumerate(runs):
        groups |= {row.line: f"run {number}" for row in members}
    return groups


def check_rows(rows: Sequence[Row], data: DataRecipe, names: Sequence[str]) -> None:
    """Raise DataError for the first row whose label, split, file, group or number cannot be."""
    listed: dict[str, int] = {}
    split_of: dict[str, str] = {}
    for row in rows:
        name, label, group = row.fill(data.image), row[data.label_column], row[data.group]
        if label not in data.labels:
            raise row.fault(f"the label {label!r} is not one of {', '.join(data.labels)}.")
        if row["split"] not in names:
            raise row.fault(f"the split {row['split']!r} is not one of {', '.join(names)}.")
        if listed.setdefault(name, row.line) != row.line:
            raise row.fault(f"the image {name} is listed in line {listed[name]} already.")
        if group and split_of.setdefault(group, row["split"]) != row["split"]:
            problem = f"the group {group!r} is in the split {split_of[group]!r} already."
            raise LeakError(at(f"{row.pack}.csv", row.line, problem))
        if data.number and row[data.number] and not row[data.number].isdecimal():
            raise row.fault(f"{row[data.number]!r} in {data.number!r} is not a whole number.")
