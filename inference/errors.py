"""Everything that can go wrong between bytes and findings.

::

    InferenceError
    ├── UndecodablePixels    the only error that leaves for any pixel data that cannot be read
    ├── UnreadableInstance   not DICOM, or a header we refuse to trust
    ├── LimitExceeded        larger than we are willing to hold; nothing was allocated
    ├── IdentityMismatch     instances of more than one study, series or patient
    ├── IncompleteSeries     fewer or other instances than the archive lists
    ├── ModelFailed          the runtime refused the model or its answer made no sense
    └── EvidenceRefused      DICOM has no object for this result on these images

Each has a `kind` (for records and metrics), `retryable`, and a sentence for a person.
A sentence never quotes a value of the DICOM object.
"""

from __future__ import annotations

from typing import ClassVar


class InferenceError(Exception):
    """Base class: one ``except`` around a whole analysis."""

    kind: ClassVar[str] = "inference"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UndecodablePixels(InferenceError):
    """Pixel data that no decoder here can turn into an array; `reason` is a short code."""

    kind = "undecodable"

    def __init__(self, sentence: str, reason: str = "decoder") -> None:
        super().__init__(sentence)
        self.reason = reason


class UnreadableInstance(InferenceError):
    """Bytes that are not a DICOM instance, or whose header contradicts itself."""

    kind = "unreadable"


class LimitExceeded(InferenceError):
    """A declared or counted size is over the configured limit."""

    kind = "too-large"


class IdentityMismatch(InferenceError):
    """Instances that belong to another patient, study or series than the one asked for."""

    kind = "identity"


class IncompleteSeries(InferenceError):
    """The instances are not those that were announced."""

    kind = "incomplete"
    retryable = True


class ModelFailed(InferenceError):
    """The model could not be loaded or run, or gave numbers that are no probabilities."""

    kind = "model"


class EvidenceRefused(InferenceError):
    """An object for the archive that cannot be made: the sentence says what is missing."""

    kind = "evidence-refused"
