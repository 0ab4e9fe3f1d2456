"""What can be wrong with a resource that we read or make.

::

    MappingError
    ├── MissingElement    an element that we cannot do without is absent
    ├── Contradiction     two elements that must agree do not
    └── NotOurs           the resource is of another type, patient or server than asked for
"""

from __future__ import annotations

from typing import ClassVar


class MappingError(Exception):
    """Base class: one ``except`` around a whole mapping. The sentence quotes no value."""

    kind: ClassVar[str] = "mapping"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class MissingElement(MappingError):
    """An element that is needed is not there."""

    kind = "missing-element"


class Contradiction(MappingError):
    """Two statements that must agree do not."""

    kind = "contradiction"


class NotOurs(MappingError):
    """A resource of another type, or about another patient, than the one asked for."""

    kind = "not-ours"
