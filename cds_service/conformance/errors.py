"""Errors: what a service answers to what is not a good call."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from cds_service.conformance.examination import DISCOVERY, Examination, NotApplicable
from cds_service.conformance.exchange import Answer, Call
from cds_service.conformance.requirement import requirement
from cds_service.conformance.tokens import refusals

CLAUSE = "CDS Hooks 2.0.1, HTTP Status Codes"
BALLOT = "CDS Hooks 3.0 ballot, HTTP Status Codes"
HTTP = "RFC 9110, 15.5"

NOWHERE = f"{DISCOVERY}/no-service-has-this-id"
_TRACE = re.compile(
    rb"Traceback \(most recent call last\)|^\s+at [\w.$<>]+\(|File \"[^\"]+\", line \d+"
    rb"|\bgoroutine \d+ \[|(?:Exception|Error) in thread|\.rb:\d+:in |\.java:\d+\)",
    re.MULTILINE,
)
_DEPTH = 2_000


def _bodies(exam: Examination) -> dict[str, bytes]:
    """Bodies that are no hook request, by what is wrong with them."""
    good = json.dumps(exam.body(exam.specimen)).encode()
    return {
        "nothing": b"",
        "no JSON": b"{'hook': ",
        "half of a call": good[: len(good) // 2],
        "an array": b"[" + good + b"]",
        "a string": b'"patient-view"',
        "null": b"null",
        "bytes that are not UTF-8": b'{"hook": "\xff\xfe"}',
    }


def _odd_bodies(exam: Examination) -> dict[str, bytes]:
    """Bodies that readers of JSON disagree about."""
    good = json.dumps(exam.body(exam.specimen)).encode()
    return {
        "NaN": good[:-1] + b', "x": NaN}',
        "a name twice": good[:-1] + b', "hook": "another"}',
        "half a surrogate pair": good[:-1] + b', "x": "\\ud800"}',
        "deep nesting": b'{"x": ' + b"[" * _DEPTH + b"]" * _DEPTH + b"}",
        "a huge number": good[:-1] + b', "x": 1' + b"0" * 5_000 + b"}",
    }


def _malformed(exam: Examination) -> list[tuple[str, Answer]]:
    found: list[tuple[str, Answer]] = exam.once(
        "malformed",
        lambda: [
            (what, exam.post(exam.path(exam.specimen), body))
            for what, body in _bodies(exam).items()
        ],
    )
    return found


def _unknown(exam: Examination) -> Answer:
    service = exam.services[0]
    answer: Answer = exam.once("unknown", lambda: exam.post(NOWHERE, exam.body(service)))
    return answer


def _errors(exam: Examination) -> Iterator[tuple[str, Answer]]:
    """Every answer that is none of 2xx, with what it answers."""
    yield "an unknown service", _unknown(exam)
    try:
        yield from ((f"a body of {what}", answer) for what, answer in _malformed(exam))
    except NotApplicable:
        return


@requirement("A85", "SHALL", "A body that is not a call is answered with 4xx.", CLAUSE)
def malformed_bodies_are_refused(exam: Examination) -> Iterator[str]:
    for what, answer in _malformed(exam):
        if not 400 <= answer.status < 500:
            yield f"a body of {what} is answered with {answer.status}"


@requirement("A85", "SHALL", "JSON that readers disagree about makes nothing crash.", CLAUSE)
def odd_json_is_no_crash(exam: Examination) -> Iterator[str]:
    for what, body in _odd_bodies(exam).items():
        status = exam.post(exam.path(exam.specimen), body).status
        if status >= 500:
            yield f"a body with {what} is answered with {status}"


@requirement("A85", "SHALL", "Members of another type make nothing crash.", CLAUSE)
def odd_members_are_no_crash(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    context = exam.body(service)["context"]
    odd: tuple[tuple[str, object], ...] = (
        ("hookInstance", 7),
        ("context", "x"),
        ("context", [context]),
        ("context", {**context, "patientId": {"id": "x"}}),
        ("prefetch", ["x"]),
        ("fhirServer", 7),
        ("fhirAuthorization", "x"),
    )
    for name, value in odd:
        status = exam.post(exam.path(service), exam.body(service, **{name: value})).status
        if status >= 500:
            yield f"a call with an odd {name} is answered with {status}"


@requirement("A85", "SHOULD", "An error is explained by an OperationOutcome.", BALLOT)
def errors_are_operation_outcomes(exam: Examination) -> Iterator[str]:
    for what, answer in _errors(exam):
        if answer.status < 400:
            continue
        if answer.members.get("resourceType") != "OperationOutcome":
            yield f"{what} is answered with {answer.status} and no OperationOutcome"


@requirement("A85", "SHALL", "No stack trace leaves the service.", "OWASP ASVS 5, 16.5")
def no_stack_trace_is_shown(exam: Examination) -> Iterator[str]:
    refused: list[tuple[str, Answer]] = []
    with contextlib.suppress(NotApplicable):
        refused = [("a bad token", answer) for _, answer in refusals(exam)]
    for what, answer in (*_errors(exam), *refused):
        if _TRACE.search(answer.body):
            yield f"{what} is answered with a stack trace"


@requirement("A87", "SHALL", "A service that does not exist is 404.", HTTP)
def unknown_services_are_404(exam: Examination) -> Iterator[str]:
    status = _unknown(exam).status
    # who answers 401 first does not tell strangers what exists
    if status not in (401, 403, 404):
        yield f"an unknown service is answered with {status}"


@requirement("A87", "SHOULD", "A GET of a service is 405.", HTTP)
def other_methods_are_405(exam: Examination) -> Iterator[str]:
    path = exam.path(exam.services[0])
    status = exam.send(Call("GET", path, exam.bearer(path))).status
    if status not in (401, 403, 404, 405):
        yield f"GET {path} is answered with {status}"


@requirement("A87", "SHOULD", "A body that is not announced as JSON is 415.", HTTP)
def other_content_types_are_415(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        status = exam.post(exam.path(service), exam.body(service), content_type=kind).status
        if status not in (400, 415):
            yield f"a call as {kind} is answered with {status}"


@requirement(
    "A87", "SHALL", "application/json may state its charset.", "CDS Hooks 2.0.1, Use of JSON"
)
def a_charset_may_be_stated(exam: Examination) -> Iterator[str]:
    service, kind = exam.specimen, "application/json; charset=utf-8"
    status = exam.post(exam.path(service), exam.body(service), content_type=kind).status
    if status != 200:
        yield f"a call as {kind} is answered with {status}"


CHECKS = (
    malformed_bodies_are_refused,
    odd_json_is_no_crash,
    odd_members_are_no_crash,
    errors_are_operation_outcomes,
    no_stack_trace_is_shown,
    unknown_services_are_404,
    other_methods_are_405,
    other_content_types_are_415,
    a_charset_may_be_stated,
)
