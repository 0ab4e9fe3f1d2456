from __future__ import annotations

import struct

import pytest

from inference.boundary import contained
from inference.errors import InferenceError, LimitExceeded, UndecodablePixels


class PanicException(BaseException):
    """As pyo3 raises it: no subclass of Exception."""


class JobTimeoutException(Exception):
    """As a queue raises it inside a job."""


class JobTimeout(BaseException):
    """As another queue does."""


def _failure(reason: str) -> InferenceError:
    return UndecodablePixels("x", reason)


FOREIGN = [
    ValueError,
    RuntimeError,
    NotImplementedError,
    OSError,
    TimeoutError,
    AttributeError,
    struct.error,
    TypeError,
    MemoryError,
    StopIteration,
    RecursionError,
    PanicException,
]


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_whatever_a_decoder_raises_becomes_our_error(kind: type[BaseException]) -> None:
    with pytest.raises(UndecodablePixels), contained(_failure):
        raise kind("DOE^JANE")


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, JobTimeoutException, JobTimeout]
)
def test_what_stops_the_job_passes_through(kind: type[BaseException]) -> None:
    with pytest.raises(kind), contained(_failure):
        raise kind


def test_our_own_errors_keep_their_type() -> None:
    with pytest.raises(LimitExceeded, match="too much"), contained(_failure):
        raise LimitExceeded("too much")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(MemoryError, "memory"), (RecursionError, "nesting"), (ValueError, "decoder")],
)
def test_the_reason_is_a_code(kind: type[BaseException], reason: str) -> None:
    with pytest.raises(UndecodablePixels) as caught, contained(_failure):
        raise kind("DOE^JANE")
    assert caught.value.reason == reason
    assert caught.value.__suppress_context__, "the decoder's text would quote the object"
