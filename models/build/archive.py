"""The files of a pack, from its tar or from the folder it was unpacked to."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.build.errors import DataError, at


@dataclass(frozen=True)
class Contents:
    """The files of `pack`: by their path inside it, without the pack's own name."""

    pack: str
    files: Mapping[str, bytes]
    unpacked: Path | None = None

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, or None where the pack has no such file (or not inside it)."""
        if self.unpacked is None:
            return self.files.get(name)
        path = self.unpacked / name
        inside = path.resolve().is_relative_to(self.unpacked.resolve())
        return path.read_bytes() if inside and path.is_file() else None


def open_pack(folder: Path, pack: str) -> Contents:
    """`pack`/ in the folder, read file by file, or else the whole of `pack`.tar in memory.

    Raises DataError when there is neither, or when the tar is not one.
    """
    unpacked, packed = folder / pack, folder / f"{pack}.tar"
    if unpacked.is_dir():
        return Contents(pack, {}, unpacked)
    if not packed.is_file():
        raise DataError(at(packed.name, None, "is missing, and so is its unpacked folder."))
    try:
        return Contents(pack, dict(_members(packed, pack)))
    except (tarfile.TarError, OSError) as error:
        raise DataError(at(packed.name, None, "cannot be read as a tar.")) from error


def _members(path: Path, pack: str) -> list[tuple[str, bytes]]:
    members = []
    with tarfile.open(path) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                name = member.name.removeprefix("./").removeprefix(f"{pack}/")
                members.append((name, stream.read()))
    return members
