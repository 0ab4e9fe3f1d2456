"""Why a FHIR server said no: the codes of its OperationOutcome, never its words.

``diagnostics`` and ``details`` may hold a patient's data. ``code`` is bound to a fixed list (R4
valueset-issue-type), so it can be told to a person in words of our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

FHIR_JSON = "application/fhir+json"
OUTCOME_BYTES = 64 * 1024

WORDS: Mapping[str, str] = {
    "business-rule": "one of its own rules is against it",
    "code-invalid": "it does not know a code",
    "conflict": "somebody else was writing",
    "duplicate": "it has one already",
    "extension": "it does not know an extension",
    "forbidden": "we are not allowed to",
    "invalid": "it finds the content not valid",
    "invariant": "one of its rules on content does not hold",
    "lock-error": "somebody else was writing",
    "multiple-matches": "it has several of them",
    "not-found": "something that is referred to is not there",
    "not-supported": "it does not do that",
    "required": "it misses an element",
    "security": "we are not allowed to",
    "structure": "it cannot read the content",
    "suppressed": "it keeps something back",
    "throttled": "it has too much to do",
    "too-long": "it is too long for it",
    "transient": "it cannot at the moment",
    "value": "it does not take a value",
}
"""Issue types that tell something; ``processing`` and ``exception`` do not."""


def issue_codes(body: bytes) -> frozenset[str]:
    """The known issue types in an OperationOutcome; none if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    issues = found.get("issue") if isinstance(found, dict) else None
    listed = issues if isinstance(issues, list) else []
    codes = [issue.get("code") for issue in listed if isinstance(issue, dict)]
    return frozenset(code for code in codes if isinstance(code, str) and code in WORDS)


def reasons(codes: Iterable[str]) -> str:
    """The codes in words, for a sentence; empty if there are none."""
    return " and ".join(dict.fromkeys(WORDS[code] for code in sorted(codes)))
