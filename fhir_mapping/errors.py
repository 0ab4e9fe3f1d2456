"""What can be wrong with a resource that we read or make.

::

    MappingError
    ├── MissingElement      an element that we cannot do without is absent
    ├── Malformed           not the JSON, resource type or syntax that was asked for
    ├── Contradiction       two elements that must agree do not
    ├── NotOurs             the resource is of another patient or server than asked for
    ├── PatientNotKnown     nothing of the chart tells whether the images are its patient's
    ├── StudyNotAvailable   the study is announced, cancelled or withdrawn: nothing to fetch
    ├── ArchiveNotAllowed   the images are said to lie where we may not connect
    └── InvalidResource     what we made is not FHIR R4: our mistake, and it is not sent

Each has a `kind` (for records and metrics), `retryable`, and a sentence for a person.
A sentence never quotes a value of the resource.
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


class Malformed(MappingError):
    """Something else than the resource that was asked for, or a value that breaks its syntax."""

    kind = "malformed"


class Contradiction(MappingError):
    """Two statements that must agree do not."""

    kind = "contradiction"


class NotOurs(MappingError):
    """A resource about another patient, or on another server, than the one asked for."""

    kind = "not-ours"


class PatientNotKnown(MappingError):
    """The images state a patient and the chart states nothing to compare with, or too much."""

    kind = "identity-unknown"


class StudyNotAvailable(MappingError):
    """``ImagingStudy.status`` is not ``available``: there is nothing to fetch (yet)."""

    kind = "study-not-available"


class ArchiveNotAllowed(MappingError):
    """``Endpoint.address`` is not on the list of archives; no connection is made."""

    kind = "archive-not-allowed"


class InvalidResource(MappingError):
    """A resource of our own making breaks the R4 definitions; nothing is sent."""

    kind = "invalid-resource"
