"""What can go wrong between an order and its result.

::

    QueueError
    ├── QueueUnavailable   Redis did not answer in time, is read-only, full or loading
    ├── QueueFull          more studies wait than the site allows
    ├── TamperedPayload    what lies in Redis is not what we put there
    ├── PayloadTooLarge    an order that does not fit: identifiers only belong in it
    ├── StaleRecord        the study was taken over by a newer attempt (compare-and-set lost)
    ├── IllegalTransition  a step that the life of a study does not have
    ├── UnsafeRedis        this Redis would lose work; `sentences` says what to set
    └── WorkerUnfit        the worker cannot start here, or its child cannot load the models

Each has a `kind` (for records and metrics), `retryable`, and a sentence for a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from redis.exceptions import DataError, RedisError

from cds_service.errors import ServiceError, reason_of


class QueueError(ServiceError):
    """Base class: one ``except`` around everything that touches the queue."""

    kind: ClassVar[str] = "queue"


class QueueUnavailable(QueueError):
    """Redis cannot be asked now; nothing was promised to anybody."""

    kind = "queue-unavailable"
    retryable = True


class QueueFull(QueueError):
    """The order was refused, not lost: the sender may come again."""

    kind = "queue-full"
    retryable = True


class TamperedPayload(QueueError):
    """A job or payload whose seal does not hold; it is never run."""

    kind = "tampered"


class PayloadTooLarge(QueueError):
    """The order is larger than identifiers can be."""

    kind = "payload-too-large"


class StaleRecord(QueueError):
    """Another attempt, or newer content, has taken the study over; stop without a trace."""

    kind = "stale"


class IllegalTransition(QueueError):
    """The step is not in the table of steps; a mistake in the caller."""

    kind = "illegal-transition"


class UnsafeRedis(QueueError):
    """Redis is not fit to hold work."""

    kind = "unsafe-redis"

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = tuple(sentences)


class WorkerUnfit(QueueError):
    """The worker cannot do its work in this process or on this machine."""

    kind = "worker-unfit"


@contextmanager
def redis_reached() -> Iterator[None]:
    """Turn every failure of Redis into QueueUnavailable; the cause stays for the log."""
    try:
        yield
    except DataError:
        raise
    except (RedisError, OSError) as error:
        sentence = f"the queue did not answer ({reason_of(error)})"
        raise QueueUnavailable(sentence) from error
