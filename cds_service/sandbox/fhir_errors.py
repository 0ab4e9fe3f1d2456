"""What the demo FHIR server refuses, and the OperationOutcome that says so.

::

    FhirRefusal            400 invalid
    |-- NotFound           404 not-found
    |-- Forbidden          403 forbidden
    |-- Conflict           409 business-rule
    |-- PreconditionFailed 412 conflict, or a condition that matches several
    `-- NotSupported       405 or 400 not-supported
"""

from __future__ import annotations

from typing import Any


class FhirRefusal(Exception):
    """The request is not done; `sentence` says why and quotes no content."""

    status = 400
    code = "invalid"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def outcome(self) -> dict[str, Any]:
        """The OperationOutcome (R4)."""
        return operation_outcome(self.code, self.sentence)


class NotFound(FhirRefusal):
    """There is no such resource."""

    status = 404
    code = "not-found"


class Forbidden(FhirRefusal):
    """The token's scopes do not reach that far."""

    status = 403
    code = "forbidden"


class Conflict(FhirRefusal):
    """What is asked for does not go with what is there."""

    status = 409
    code = "business-rule"


class PreconditionFailed(FhirRefusal):
    """Another version is current, or a condition matches several resources."""

    status = 412
    code = "conflict"


class NotSupported(FhirRefusal):
    """An interaction or a search parameter that this server does not have."""

    code = "not-supported"


def operation_outcome(code: str, sentence: str) -> dict[str, Any]:
    """An OperationOutcome with one error."""
    issue = {"severity": "error", "code": code, "diagnostics": sentence}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
