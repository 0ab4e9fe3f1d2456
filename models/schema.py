"""Read a TOML table into frozen dataclasses, strictly: the dataclass is the schema."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from models.errors import ManifestError

T = TypeVar("T")

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read(kind: type[T], table: object, where: str = "") -> T:
    """Make a `kind` from a parsed TOML table; `where` is the dotted key of the table.

    Fields may be str, int, float (a whole number will do), bool, a Literal of texts, another
    dataclass, `tuple[X, ...]`, `Mapping[str, str]` or `X | None`; a field without default must
    be there. Raises ManifestError, naming the key that is unknown, missing or of another type.
    """
    if not isinstance(table, dict):
        raise ManifestError(f"{_key(where)} is not a table.")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    for key in table:
        if key not in fields:
            raise ManifestError(f"{_key(where, key)} is not a key of this schema.")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], _join(where, name))
        elif field.default is dataclasses.MISSING:
            raise ManifestError(f"{_key(where, name)} is missing.")
    return kind(**values)


def _value(hint: Any, value: object, where: str) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _choice(arguments, value, where)
    if origin is types.UnionType:
        return _value(arguments[0], value, where)
    if origin is tuple:
        return _items(arguments[0], value, where)
    if origin is Mapping:
        return _texts(value, where)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type[Any], hint), value, where)
    return _scalar(hint, value, where)


def _scalar(hint: type, value: object, where: str) -> object:
    accepted: tuple[type, ...] = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or isinstance(value, bool) is not (hint is bool):
        raise ManifestError(f"{_key(where)} is not {_NAMES[hint]}.")
    return hint(value)


def _choice(choices: tuple[Any, ...], value: object, where: str) -> object:
    if value not in choices:
        raise ManifestError(f"{_key(where)} is not one of {', '.join(choices)}.")
    return value


def _items(hint: Any, value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ManifestError(f"{_key(where)} is not a list.")
    return tuple(_value(hint, item, f"{where}[{index}]") for index, item in enumerate(value))


def _texts(value: object, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ManifestError(f"{_key(where)} is not a table.")
    texts = {key: str(_scalar(str, item, _join(where, key))) for key, item in value.items()}
    return types.MappingProxyType(texts)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _key(where: str, name: str = "") -> str:
    key = _join(where, name) if name else where
    return f"The manifest's key {key!r}" if key else "The manifest"
