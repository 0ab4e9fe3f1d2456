"""Feedback: what becomes of a card, told in the form of the specification and in others.

Only cards that do not exist are spoken of: an examination answers nobody's card.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cds_service.conformance.errors import NOWHERE
from cds_service.conformance.examination import Examination, NotApplicable
from cds_service.conformance.exchange import Answer
from cds_service.conformance.requirement import requirement

CLAUSE = "CDS Hooks 2.0.1, Feedback"
_REASON = {
    "code": "not-relevant-now",
    "system": "https://conformance.invalid/override-reasons",
    "display": "Not relevant now",
}


def _entry(exam: Examination, **changes: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(exam.identity.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = {
        "card": str(uuid.uuid4()),
        "outcome": "overridden",
        "overrideReason": {"reason": _REASON},
        "outcomeTimestamp": at,
        **changes,
    }
    return {name: value for name, value in entry.items() if value is not None}


def _send(exam: Examination, body: object, token: str | None = None) -> Answer:
    return exam.post(f"{exam.path(exam.answered[0][0])}/feedback", body, token=token)


def _offered(exam: Examination) -> Answer:
    """The answer to good feedback. Raises NotApplicable where feedback is not taken."""
    answer: Answer = exam.once("feedback", lambda: _send(exam, {"feedback": [_entry(exam)]}))
    if answer.status in (404, 405, 501):
        raise NotApplicable("the service takes no feedback (it need not)")
    return answer


@requirement("A82", "SHALL", "Feedback of the specification's form is accepted.", CLAUSE)
def feedback_is_accepted(exam: Examination) -> Iterator[str]:
    status = _offered(exam).status
    if not 200 <= status < 300:
        yield f"feedback on a card is answered with {status}"
    same = _entry(exam)
    accepted = _entry(
        exam, outcome="accepted", overrideReason=None, acceptedSuggestions=[{"id": "s1"}]
    )
    comment = _entry(exam, overrideReason={"userComment": "already discussed"})
    plain = _entry(exam, overrideReason=None)
    status = _send(exam, {"feedback": [same, same, accepted, comment, plain]}).status
    if not 200 <= status < 300:
        yield f"feedback on several cards, one of them twice, is answered with {status}"


@requirement("A82", "SHOULD", "Feedback of another form is refused with 4xx.", CLAUSE)
def other_feedback_is_refused(exam: Examination) -> Iterator[str]:
    _offered(exam)
    bodies: dict[str, object] = {
        "without feedback": {},
        "that is no array": {"feedback": "yes"},
        "without a card": {"feedback": [_entry(exam, card=None)]},
        "with an unknown outcome": {"feedback": [_entry(exam, outcome="ignored")]},
        "without a time": {"feedback": [_entry(exam, outcomeTimestamp=None)]},
    }
    for what, body in bodies.items():
        status = _send(exam, body).status
        if not 400 <= status < 500:
            yield f"feedback {what} is answered with {status}"


@requirement("A82", "SHALL", "Feedback that is no JSON makes nothing crash.", CLAUSE)
def malformed_feedback_is_no_crash(exam: Examination) -> Iterator[str]:
    _offered(exam)
    for what, body in (("no JSON", b"{"), ("an array", b"[]"), ("nothing", b"")):
        status = _send(exam, body).status
        if status >= 500:
            yield f"feedback of {what} is answered with {status}"


@requirement("A91", "SHOULD", "Feedback needs a token where calls need one.", CLAUSE)
def feedback_needs_a_token(exam: Examination) -> Iterator[str]:
    _offered(exam)
    if not exam.guarded:
        raise NotApplicable("the service answers without a token")
    answer = _send(exam, {"feedback": [_entry(exam)]}, token="")
    if not answer.refused:
        yield f"feedback without a token is answered with {answer.status}"


@requirement("A87", "SHOULD", "Feedback on a service that does not exist is refused.", CLAUSE)
def feedback_is_for_services(exam: Examination) -> Iterator[str]:
    _offered(exam)
    status = exam.post(f"{NOWHERE}/feedback", {"feedback": [_entry(exam)]}).status
    if not 400 <= status < 500:
        yield f"feedback on an unknown service is answered with {status}"


CHECKS = (
    feedback_is_accepted,
    other_feedback_is_refused,
    malformed_feedback_is_no_crash,
    feedback_needs_a_token,
    feedback_is_for_services,
)
