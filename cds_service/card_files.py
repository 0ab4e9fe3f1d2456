"""The files of a model package that anybody may read: the card in its forms, and its plots.

Only a name that the manifest lists is ever opened, and its content must have the hash that the
manifest states; the card itself stands beside the manifest in up to three forms. Nothing that is
asked for becomes part of a path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelError
from models.registry import ModelPackage, Registry

log = logging.getLogger(__name__)

CARD = "CARD.md"
FORMS = ("card.json", "card.xml")
"""The card for machines: all source attributes, and the CHAI form. Made from the manifest after it,
so that it cannot list them."""

TYPES: Mapping[str, str] = {
    ".json": "application/json",
    ".xml": "application/xml",
    ".png": "image/png",
}
"""Suffix -> content type; a file of another kind (a graph) is not served."""


@dataclass(frozen=True)
class CardFile:
    """One file of a package, verified."""

    content: bytes
    media_type: str


def served_files(package: ModelPackage) -> tuple[str, ...]:
    """The names of a package's files that may be read: the card's forms first."""
    forms = [name for name in FORMS if _is_plain_file(package.folder / name)]
    listed = [name for name in sorted(package.manifest.files) if _suffix(name) in TYPES]
    return (*forms, *(name for name in listed if name not in forms))


class CardShelf:
    """The cards of the packages in use."""

    def __init__(self, registry: Registry) -> None:
        self._packages = {(p.manifest.id, p.manifest.version): p for p in registry.packages}
        self._texts = {name: _text(package) for name, package in self._packages.items()}

    def text(self, model_id: str, version: str) -> str | None:
        """The card as Markdown; None for a model that is not served here."""
        return self._texts.get((model_id, version))

    def files(self, model_id: str, version: str) -> tuple[str, ...]:
        """The names of the files beside the card."""
        package = self._packages.get((model_id, version))
        return served_files(package) if package else ()

    def file(self, model_id: str, version: str, name: str) -> CardFile | None:
        """One file; None if it is not one that may be read, or its bytes are not those listed."""
        package = self._packages.get((model_id, version))
        if package is None or name not in served_files(package):
            return None
        try:
            return CardFile(_content(package, name), TYPES[_suffix(name)])
        except (ModelError, OSError):
            log.warning("a file of a model card is not as it was listed", extra={"model": model_id})
            return None


def _content(package: ModelPackage, name: str) -> bytes:
    if name in package.manifest.files:
        return package.read(name)
    return (package.folder / name).read_bytes()


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _text(package: ModelPackage) -> str:
    return (package.folder / CARD).read_text(encoding="utf-8")


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"
