"""Where foreign exceptions end: what a parser or decoder raises leaves as one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inference.errors import InferenceError

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (MemoryError, "memory"),
    (RecursionError, "nesting"),
    (NotImplementedError, "unsupported"),
)


@contextmanager
def contained(failure: Callable[[str], InferenceError]) -> Iterator[None]:
    """Turn whatever is raised inside into ``failure(reason)``; `reason` is a short code.

    Parsers and decoders raise a dozen kinds of exception, some of them (pyo3's PanicException)
    not even an ``Exception``. What passes through: our own errors, and what is meant to stop
    the program or the job (KeyboardInterrupt, SystemExit, a job's time-out).
    The original is dropped from the traceback: its text quotes values of the DICOM object.
    """
    try:
        yield
    except InferenceError:
        raise
    except BaseException as error:  # the one blind except: the zoo is open-ended (see above)
        if is_stop(error):
            raise
        raise failure(_reason(error)) from None


def is_stop(error: BaseException) -> bool:
    """Whether `error` asks the program or the job to stop, and so is nobody's to catch."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return True
    # a queue's time-out is recognised by name: this package does not know the queue
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__[:-1] if _foreign(kind))


def _foreign(kind: type) -> bool:
    return kind.__module__ != "builtins"


def _reason(error: BaseException) -> str:
    return next((code for kind, code in _REASONS if isinstance(error, kind)), "decoder")
