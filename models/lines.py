"""On which line of a TOML text is a key? So that a wrong value can be found by a person."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence

KeyPath = tuple[str | int, ...]
"""The keys and list positions (from 0) that lead to a value."""


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) where `path` is set, or the nearest table around it that is written.

    A value inside a list or an inline table has the line on which that list or table begins.
    ``None`` when nothing of the path is written, or the text is not TOML.
    """
    best, depth = None, 0
    for line, place in _statements(text):
        shared = _shared(place, path)
        if shared > depth:
            best, depth = line, shared
    return best


def _shared(place: Sequence[str | int], path: Sequence[str | int]) -> int:
    pairs = list(zip(place, path, strict=False))
    return next((index for index, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _statements(text: str) -> Iterator[tuple[int, KeyPath]]:
    """Each key and each table header with its first line.

    A statement is the fewest lines that the parser accepts by themselves: it alone knows where
    texts and lists of several lines end.
    """
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    chunk, first = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        first = number if not chunk else first
        chunk += f"{line}\n"
        try:
            parsed = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            continue
        statement, chunk = chunk.strip(), ""
        if not parsed:
            continue
        if statement.startswith("["):
            table = _header(_names(parsed), counts, several=statement.startswith("[["))
            yield first, table
        else:
            yield first, table + _names(parsed)


def _names(parsed: dict[str, object]) -> tuple[str, ...]:
    """The key that one statement sets, with the keys of inline tables while there is but one."""
    names: tuple[str, ...] = ()
    value: object = parsed
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        names += (name,)
    return names


def _header(names: Sequence[str], counts: dict[KeyPath, int], *, several: bool) -> KeyPath:
    """The path of a table header; `counts` holds the last position of each list of tables."""
    path: KeyPath = ()
    for index, name in enumerate(names):
        path += (name,)
        if several and index == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (counts[path],)
    return path
