"""What can be wrong with a model package or with the pixels offered to it.

ModelError
├── ManifestError       model.toml is missing, is not TOML, or breaks the schema
├── HashMismatch        a file of the package is missing or is not the file that was measured
├── UnusableGraph       a graph that is no ONNX file, or that keeps its numbers in other files
├── DuplicateModel      two folders claim the same id and version
├── ReferenceMismatch   the package no longer answers its own reference cases
└── UnusablePixels      pixels from which no model input can be made
"""

from __future__ import annotations

from typing import ClassVar


class ModelError(Exception):
    """The root: `kind` is for metrics, `retryable` for the queue, `sentence` for a person.

    Nothing here can be cured by trying again: a file stays wrong until somebody changes it.
    """

    kind: ClassVar[str] = "model"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class ManifestError(ModelError):
    """The manifest cannot be read, or a key of it is unknown, missing or of the wrong type.

    `path` holds the keys and list positions (from 0) that lead to what is wrong, if it is a key.
    """

    kind = "model.manifest"

    def __init__(self, sentence: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(sentence)
        self.path = path


class HashMismatch(ModelError):
    """A file's SHA-256 differs from the manifest's, so its measured figures are not its own."""

    kind = "model.hash"


class UnusableGraph(ModelError):
    """A graph is loaded from its bytes alone, so it must be one whole ONNX file."""

    kind = "model.graph"


class DuplicateModel(ModelError):
    """Two packages have the same id and version, so a result could not name its source."""

    kind = "model.duplicate"


class ReferenceMismatch(ModelError):
    """The model's outputs on its reference cases left the stated tolerance."""

    kind = "model.reference"


class UnusablePixels(ModelError):
    """The pixels are not a grey plane with at least two finite values."""

    kind = "model.pixels"
