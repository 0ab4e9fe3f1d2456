"""What a reader answers on the page: agree, or disagree for a coded reason, with a comment.

The signed link is the capability: there is no cookie that another site could make a browser send.
The verdict joins the feedback of CDS Hooks; the comment, which may say anything, stays with the
page and goes when it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cds_service.cards import OVERRIDE_REASONS
from cds_service.claims import claim_of
from cds_service.explanation import ExplanationPage, ReaderAnswer
from cds_service.viewer.recalled import is_recalled

COMMENT_CHARACTERS = 500
_OUTCOMES = {"agree": "accepted", "disagree": "overridden"}


class AnswerLedger(Protocol):
    """Keeps answers and counts them (see `feedback.CardLedger`)."""

    def note_claims(
        self, study: str, claims: Mapping[str, tuple[str, str]], outcome: str, reason: str
    ) -> bool:
        """Whether the answer to these claims was new. Raises QueueUnavailable."""


def answer_of(form: Mapping[str, str], at_ms: int) -> ReaderAnswer | None:
    """A form that was sent; ``None`` if it is not one of ours."""
    verdict, reason = form.get("verdict", ""), form.get("reason", "")
    comment = " ".join(form.get("comment", "").split())
    if verdict not in _OUTCOMES or len(comment) > COMMENT_CHARACTERS:
        return None
    if verdict == "agree":
        reason = ""
    elif reason not in OVERRIDE_REASONS:
        return None
    return ReaderAnswer(verdict=verdict, reason=reason, comment=comment, at_ms=at_ms)


def lacks_reason(form: Mapping[str, str]) -> bool:
    """Whether it is ours but for the reason, which a browser without script lets go unchosen."""
    return form.get("verdict") == "disagree" and not form.get("reason")


def note(answer: ReaderAnswer, study_key: str, page: ExplanationPage, ledger: AnswerLedger) -> None:
    """Let an answer join those to cards of the same claims. Raises QueueUnavailable."""
    left = [r for r in page.results if not is_recalled(r)]
    speaking = [r for r in left if r.finding] or left
    claims = {
        claim_of(r.model_id, r.model_version, page.instance_digest): (
            r.model_id,
            r.model_version,
        )
        for r in speaking
    }
    if claims:
        ledger.note_claims(study_key, claims, _OUTCOMES[answer.verdict], answer.reason or "none")
