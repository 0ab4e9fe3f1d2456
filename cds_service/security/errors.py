"""What can be wrong with who calls and how they prove it.

::

    SecurityError
    ├── InvalidToken      the caller has not proved who it is; `kind` says why, to us alone
    ├── ReplayUnknown     Redis cannot say whether this token was used before
    ├── UnfitKey          a key of our own that cannot be read or is too weak
    └── RotationRefused   the keys of a file are not changed now

Why a token was refused is counted and logged by class, and never told to the caller.
"""

from __future__ import annotations

from enum import StrEnum

from cds_service.errors import ServiceError


class Refusal(StrEnum):
    """Why a token is not accepted."""

    MISSING = "missing"
    MALFORMED = "malformed"
    HEADER = "header"
    ALGORITHM = "algorithm"
    JKU = "jku"
    ISSUER = "issuer"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    AUDIENCE = "audience"
    TIME = "time"
    LIFETIME = "lifetime"
    CERTIFICATE = "certificate"
    REPLAYED = "replayed"
    OPERATOR = "operator"


class SecurityError(ServiceError):
    """Base class of this package's errors."""


class InvalidToken(SecurityError):
    """The token is not accepted; whatever the reason, the answer is the same."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("The caller is not authenticated.")
        self.refusal = refusal


class ReplayUnknown(SecurityError):
    """The token is good, but whether it was used before cannot be found out now."""

    kind = "replay-unknown"
    retryable = True


class UnfitKey(SecurityError):
    """A key of ours cannot be used; the sentence says which rule it breaks, never its content."""

    kind = "key"


class RotationRefused(SecurityError):
    """The keys of a file stay as they are; the sentence says why."""

    kind = "rotation"
