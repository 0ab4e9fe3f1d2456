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


def reason_of(error: BaseException) -> str:
    """What the system said first of all that led to `error`, else the class of the error itself.

    No text of a library: that may hold an address or a credential.
    """
    links, link = [error], error.__cause__ or error.__context__
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    said = (each.strerror for each in reversed(links) if isinstance(each, OSError))
    return next(filter(None, said), type(error).__name__)


def sentence_of(error: BaseException) -> str | None:
    """What to tell a person of one of our errors or of the system's; None for any other.

    Of the system's, the file and the reason (``strerror``): the text of a library's error that
    is an `OSError` too may hold a URL.
    """
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return f"{error.filename}: {reason}" if error.filename else reason
    said: str | None = getattr(error, "sentence", None)
    return said
