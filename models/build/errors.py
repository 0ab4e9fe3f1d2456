"""What can stop a build.

BuildError                 the root; a ModelError, so that one handler at the command line will do
├── RecipeError            recipe.toml cannot be read, or a key is unknown, missing or out of range
├── PlaceError             a folder for what the build makes cannot be made
├── DataError              a pack's manifest, an image or a mask is wrong, missing or unreadable
│   └── LeakError          a patient or a near-copy is in two splits that must not know each other
├── NetworkError           a network of that name is not known, or its weights are not installed
├── GateError              a graph failed a gate that it must pass to be packaged
└── PackageError           the package cannot be written, or what was written does not hold
"""

from __future__ import annotations

from models.errors import ModelError


class BuildError(ModelError):
    """The root: one sentence for a person, which names the file and, where there is one, the line.

    Nothing here is cured by trying again.
    """

    kind = "build"


class RecipeError(BuildError):
    """The recipe cannot be read, or asks for what cannot be."""

    kind = "build.recipe"


class PlaceError(BuildError):
    """There is no place for what the build makes."""

    kind = "build.place"


class DataError(BuildError):
    """A manifest row, an image or a mask cannot be used."""

    kind = "build.data"


class LeakError(DataError):
    """Two splits share a patient or a near-copy, so a figure on one would flatter the model."""

    kind = "build.leak"


class NetworkError(BuildError):
    """The network asked for is not known here or cannot be made."""

    kind = "build.network"


class GateError(BuildError):
    """A graph is not as good as it must be to be packaged."""

    kind = "build.gate"


class PackageError(BuildError):
    """A package could not be written whole; nothing of it is left behind."""

    kind = "build.package"


def at(file: str, line: int | None, problem: str) -> str:
    """The sentence of a fault at a line of a file: "recipe.toml, line 4: the key ..."."""
    return f"{file}: {problem}" if line is None else f"{file}, line {line}: {problem}"
