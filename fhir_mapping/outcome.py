"""Our errors -> OperationOutcome (R4): one issue, one sentence, nothing of the inside."""

from __future__ import annotations

from typing import Literal, Protocol

from fhir_mapping.context import Resource
from fhir_mapping.narrative import narrative
from fhir_mapping.text import plain

Severity = Literal["fatal", "error", "warning", "information"]


class Told(Protocol):
    """An error that can be told to a person: every error tree of this project has these."""

    @property
    def kind(self) -> str:
        """For records and metrics."""

    @property
    def retryable(self) -> bool:
        """Whether trying again later may help."""

    @property
    def sentence(self) -> str:
        """For a person; quotes no value."""


ISSUE_TYPES = {
    "missing-element": "required",
    "malformed": "structure",
    "contradiction": "conflict",
    "not-ours": "forbidden",
    "study-not-available": "not-found",
    "archive-not-allowed": "security",
    "invalid-resource": "exception",
    "undecodable": "not-supported",
    "unreadable": "structure",
    "too-large": "too-costly",
    "identity": "business-rule",
    "identity-unknown": "business-rule",
    "incomplete": "incomplete",
    "model": "exception",
    "evidence-refused": "not-supported",
}
"""An error's kind -> http://hl7.org/fhir/issue-type (a required binding)."""


def operation_outcome(error: Told, severity: Severity = "error") -> Resource:
    """Return the OperationOutcome for one of our errors."""
    otherwise = "transient" if error.retryable else "processing"
    return outcome(error.sentence, ISSUE_TYPES.get(error.kind, otherwise), severity)


def outcome(sentence: str, issue_type: str, severity: Severity = "error") -> Resource:
    """Return an OperationOutcome; `issue_type` is a code of http://hl7.org/fhir/issue-type."""
    said = plain(sentence, 500) or "No more is known."
    issue = {
        "severity": severity,
        "code": issue_type,
        "details": {"text": said},
        "diagnostics": said,
    }
    text = narrative("What went wrong", (said,), (), None)
    return {"resourceType": "OperationOutcome", "text": text, "issue": [issue]}
