"""What can be wrong with the service itself, as opposed to a request, a study or an upstream.

::

    ServiceError
    └── UnsafeSettings    a setting is missing, wrong, or not fit for production
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ServiceError(Exception):
    """Base class; `sentence` says what to do."""

    kind: ClassVar[str] = "service"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UnsafeSettings(ServiceError):
    """The service does not start with these settings; `sentences` says why, one each."""

    kind = "settings"

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = tuple(sentences)
