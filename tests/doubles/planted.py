"""Words that stand for a patient, and whether anything of them is left anywhere.

Each is as unlikely as a random word, fits every value representation that it is planted in, and is
looked for in the spellings in which software writes text: other case, percent-encoded, base64,
hexadecimal, UTF-16, and as a digest that anybody could repeat.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
WORD_CHARACTERS = 14


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"planted {name}".encode()).digest(), "big")


def word(name: str) -> str:
    """14 capitals made from `name`: short enough for SH and CS (PS3.5 6.2), and no word."""
    number, letters = _number(name), ""
    for _ in range(WORD_CHARACTERS):
        number, at = divmod(number, len(_LETTERS))
        letters += _LETTERS[at]
    return letters


def uid(name: str) -> str:
    """A UID under 2.25 made from `name` (PS3.5 B.2)."""
    return f"2.25.{_number(name) >> 128}"


@dataclass
class Planted:
    """The words in use, by what they stand for."""

    words: dict[str, str] = field(default_factory=dict)

    def word(self, name: str) -> str:
        """A word that stands for `name` and is looked for from now on."""
        return self.add(name, word(name))

    def uid(self, name: str) -> str:
        """The same as a UID."""
        return self.add(name, uid(name))

    def add(self, name: str, text: str) -> str:
        """`text` stands for `name`, and is looked for from now on."""
        if name not in self.words:
            self.__dict__.pop("_spelled", None)
        return self.words.setdefault(name, text)

    @cached_property
    def _spelled(self) -> dict[str, tuple[bytes, ...]]:
        return {name: tuple(set(_spellings(text))) for name, text in self.words.items()}

    def within(self, data: bytes | str, but: tuple[str, ...] = ()) -> list[str]:
        """The names of the words that are in `data`, without those that begin as in `but`."""
        raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
        upper = raw.upper()
        return [
            name
            for name, spellings in self._spelled.items()
            if not name.startswith(but or ("\0",))
            and any(s in raw or s in upper for s in spellings)
        ]

    def found(self, places: Mapping[str, bytes | str], but: tuple[str, ...] = ()) -> dict[str, str]:
        """Place -> the names of the words in it and where they stand; empty if there is none."""
        hits = {place: self.within(data, but) for place, data in places.items()}
        return {
            place: f"{', '.join(names)} in {self._around(names[0], places[place])}"
            for place, names in hits.items()
            if names
        }

    def _around(self, name: str, data: bytes | str) -> str:
        raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
        places = [raw.upper().find(spelling.upper()) for spelling in self._spelled[name]]
        at = max(places)
        return repr(raw[max(0, at - 120) : at + 80])


def _spellings(text: str) -> Iterator[bytes]:
    """`text` as it may be written; those without case in capitals."""
    raw = text.encode()
    for cased in {raw, raw.lower()}:
        yield cased
        yield from _base64(cased)
        yield cased.hex().upper().encode()
        yield b"".join(b"%%%02X" % byte for byte in cased)
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            yield digest(cased).hexdigest().upper().encode()
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")


def _base64(raw: bytes) -> Iterator[bytes]:
    """What is left of `raw` in base64, wherever it begins among three bytes."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        start = (before * 8 + 5) // 6
        yield encoded[start : len(encoded) - 4]


def files_below(folder: Path) -> dict[str, bytes]:
    """Path relative to `folder` -> content, of every file; folders are names without content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if not path.is_socket() and not path.is_symlink()
    }
