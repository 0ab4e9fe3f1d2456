"""Our errors as OperationOutcome."""

from __future__ import annotations

from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome

from fhir_mapping import errors as mapping
from fhir_mapping.outcome import ISSUE_TYPES, operation_outcome, outcome
from inference import errors as inference

KNOWN: list[Any] = [
    error
    for module in (mapping, inference)
    for error in vars(module).values()
    if isinstance(error, type) and issubclass(error, Exception)
]

# http://hl7.org/fhir/issue-type, 4.0.1: a required binding
R4_ISSUE_TYPES = frozenset(
    """
    invalid structure required value invariant security login unknown expired forbidden
    suppressed processing not-supported duplicate multiple-matches not-found deleted too-long
    code-invalid extension too-costly business-rule conflict transient lock-error no-store
    exception timeout incomplete throttled informational
    """.split()  # noqa: SIM905 -- thirty words read better than thirty strings
)


@pytest.mark.parametrize("error", KNOWN, ids=lambda error: error.__name__)
def test_every_error_has_one_issue_with_its_sentence(error: type[mapping.MappingError]) -> None:
    made: Any = operation_outcome(error("The sentence."))
    OperationOutcome.model_validate(made)
    [issue] = made["issue"]
    assert issue["severity"] == "error"
    assert issue["code"] in R4_ISSUE_TYPES
    assert issue["details"]["text"] == issue["diagnostics"] == "The sentence."


def test_the_kinds_of_all_leaves_are_mapped() -> None:
    leaves = {error.kind for error in KNOWN if error.__bases__ != (Exception,)}
    assert leaves <= set(ISSUE_TYPES)
    assert set(ISSUE_TYPES.values()) <= R4_ISSUE_TYPES


class Busy(Exception):
    kind = "busy"
    retryable = True
    sentence = "Later."


def test_an_error_of_another_tree_is_transient_or_processing() -> None:
    busy = Busy()
    made: Any = operation_outcome(busy)
    assert made["issue"][0]["code"] == "transient"
    busy.retryable = False
    made = operation_outcome(busy)
    assert made["issue"][0]["code"] == "processing"


def test_an_empty_or_hostile_sentence_is_still_an_outcome() -> None:
    for sentence in ("", "\x00\u202e", "a\r\nb" * 9000):
        OperationOutcome.model_validate(outcome(sentence, "processing", "warning"))
