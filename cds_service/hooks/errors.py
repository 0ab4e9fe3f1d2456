"""What is answered to a call that cannot be served, each with its HTTP status.

::

    CallError
    ├── InvalidCall        400  the body is not a hook request of this service
    ├── ServerNotAllowed   403  fhirServer is not the one configured for this caller
    ├── UnknownService     404  no service has this id
    ├── DataMissing        412  what is needed was neither prefetched nor could it be read
    ├── BodyTooLarge       413
    ├── NotJson            415
    └── Unavailable        503  we cannot check who calls right now

A sentence names a member of the request and never quotes its value.
"""

from __future__ import annotations

from typing import ClassVar


class CallError(Exception):
    """Base class; `status` is the HTTP status, `code` the ``OperationOutcome.issue.code``."""

    kind: ClassVar[str] = "call"
    retryable: ClassVar[bool] = False
    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InvalidCall(CallError):
    """The body breaks a rule of CDS Hooks, of the hook, or of JSON."""

    kind = "invalid"


class ServerNotAllowed(CallError):
    """The call names a FHIR server that is not this caller's."""

    kind = "server-not-allowed"
    status = 403
    code = "forbidden"


class UnknownService(CallError):
    """There is no such service."""

    kind = "unknown-service"
    status = 404
    code = "not-found"


class DataMissing(CallError):
    """CDS Hooks 2.0.1, HTTP status codes: 412 when data was neither sent nor readable."""

    kind = "data-missing"
    status = 412
    code = "required"


class BodyTooLarge(CallError):
    """More bytes than are read."""

    kind = "too-large"
    status = 413
    code = "too-long"


class NotJson(CallError):
    """The content type is another one than ``application/json``."""

    kind = "not-json"
    status = 415
    code = "not-supported"


class Unavailable(CallError):
    """A store that we need to decide is down; nothing was done."""

    kind = "unavailable"
    retryable = True
    status = 503
    code = "transient"
