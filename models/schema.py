"""Read a TOML table into frozen dataclasses, strictly: the dataclass is the schema."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from models.errors import ManifestError
from models.lines import KeyPath, line_of

T = TypeVar("T")

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read_toml(kind: type[T], text: str, file: str) -> T:
    """Parse TOML `text` into a `kind`. Raises ManifestError, naming `file` and the line."""
    table = parse_toml(text, file)
    try:
        return read(kind, table)
    except ManifestError as error:
        raise located(error, text, file) from None


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ManifestError, naming `file` and the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{file} is not TOML: {error}.") from error


def located(error: ManifestError, text: str, file: str) -> ManifestError:
    """The same error with the file's name, and with the line of its key where there is one."""
    line = line_of(text, error.path)
    place = file if line is None else f"{file}, line {line}"
    return ManifestError(f"{place}: {error.sentence}", error.path)


def read(kind: type[T], table: object, where: KeyPath = ()) -> T:
    """Make a `kind` from a parsed table; `where` is the path of the table in its file.

    Fields may be str, int, float (finite; a whole number will do), bool, a Literal of texts,
    another dataclass, `tuple[X, ...]`, `Mapping[str, X]` or `X | None`; a field without default
    must be there. Raises ManifestError, naming the key that is unknown, missing or of another type.
    """
    if not isinstance(table, dict):
        raise wrong(where, "is not a table.")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    for key in table:
        if key not in fields:
            raise wrong((*where, key), "is not a key of this schema.")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], (*where, name))
        elif field.default is dataclasses.MISSING:
            raise wrong((*where, name), "is missing.")
    return kind(**values)


def wrong(path: KeyPath, what: str) -> ManifestError:
    """An error that names a key; `what` goes on where "The key 'a.b'" ends."""
    names = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    subject = f"The key {names.lstrip('.')!r}" if path else "The file"
    return ManifestError(f"{subject} {what}", path)


def _value(hint: Any, value: object, where: KeyPath) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _choice(arguments, value, where)
    if origin is types.UnionType:
        return _value(arguments[0], value, where)
    if origin is tuple:
        return _items(arguments[0], value, where)
    if origin is Mapping:
        return _mapping(arguments[1], value, where)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type[Any], hint), value, where)
    return _scalar(hint, value, where)


def _scalar(hint: type, value: object, where: KeyPath) -> object:
    accepted: tuple[type, ...] = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or isinstance(value, bool) is not (hint is bool):
        raise wrong(where, f"is not {_NAMES[hint]}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(where, "is not a finite number.")
    return hint(value)


def _choice(choices: tuple[Any, ...], value: object, where: KeyPath) -> object:
    if value not in choices:
        raise wrong(where, f"is not one of {', '.join(choices)}.")
    return value


def _items(hint: Any, value: object, where: KeyPath) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise wrong(where, "is not a list.")
    return tuple(_value(hint, item, (*where, index)) for index, item in enumerate(value))


def _mapping(hint: Any, value: object, where: KeyPath) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise wrong(where, "is not a table.")
    items = {str(key): _value(hint, item, (*where, str(key))) for key, item in value.items()}
    return types.MappingProxyType(items)
