"""Calls: what becomes of members and of data, there or not, and how long an answer takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cds_service.conformance.examination import Examination, NotApplicable, Service, templates_of
from cds_service.conformance.exchange import Answer
from cds_service.conformance.hooks import HOOKS, context_of, required_fields
from cds_service.conformance.requirement import requirement

CLAUSE = "CDS Hooks 2.0.1, HTTP Request"
PREFETCH = "CDS Hooks 2.0.1, Prefetch Template"
STATUS = "CDS Hooks 2.0.1, HTTP Status Codes"

USUAL_MS = 500.0
LONGEST_MS = 5_000.0
LONGEST_ORDER_MS = 10_000.0
_SLOW_HOOKS = ("appointment-book", "order-dispatch", "order-sign")
_INVALID = (400, 412, 422)


def _post(exam: Examination, service: Service, **changes: Any) -> Answer:
    return exam.post(exam.path(service), exam.body(service, **changes))


def _served_hooks(exam: Examination) -> list[Service]:
    """One service for each hook that has one with a good answer."""
    found = {s["hook"]: s for s, answer in exam.answered if answer.status == 200}
    if not found:
        raise NotApplicable("no service answered a good call with 200; give it --prefetch")
    return list(found.values())


@requirement("A09", "SHOULD", "Unknown members are passed over.", "Da Vinci CRD, found-33")
def unknown_members_are_passed_over(exam: Examination) -> Iterator[str]:
    extra = {"extension": {"org.example.conformance": {"a": 1}}, "aMemberOfTheFuture": [1, 2]}
    status = _post(exam, exam.specimen, **extra).status
    if status != 200:
        yield f"a call with further members answers {status}"


@requirement("A20", "SHOULD", "A call without a required member is refused with 4xx.", CLAUSE)
def required_members_are_required(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    for name in ("hook", "hookInstance", "context"):
        status = _post(exam, service, **{name: None}).status
        if status not in _INVALID:
            yield f"a call without {name} answers {status}"


@requirement(
    "A20",
    "SHOULD",
    "A context without a required field is refused with 4xx.",
    "CDS Hooks Library, each hook's context",
)
def required_fields_are_required(exam: Examination) -> Iterator[str]:
    for service in _served_hooks(exam):
        for name in required_fields(service["hook"]):
            context = context_of(service["hook"], exam.subject.who)
            del context[name]
            status = _post(exam, service, context=context).status
            if status not in _INVALID:
                yield f"{service['hook']} without {name} answers {status}"


@requirement(
    "A20",
    "SHALL",
    "A context without its optional fields is a good call.",
    "CDS Hooks Library, each hook's context",
)
def optional_fields_are_optional(exam: Examination) -> Iterator[str]:
    for service in _served_hooks(exam):
        context = context_of(service["hook"], exam.subject.who)
        needed = required_fields(service["hook"]) or tuple(context)
        left = [name for name in context if name not in needed]
        status = 200
        if left:
            least = {name: context[name] for name in needed}
            status = _post(exam, service, context=least).status
        if status not in (200, 412):
            yield f"{service['hook']} without {', '.join(left)} answers {status}"


@requirement(
    "A20",
    "SHOULD",
    "A chart may be opened by every kind of user.",
    "CDS Hooks Library, patient-view",
)
def every_kind_of_user_may_call(exam: Examination) -> Iterator[str]:
    service = next((s for s in _served_hooks(exam) if s["hook"] == "patient-view"), None)
    if service is None:
        raise NotApplicable("no service for patient-view answered a good call with 200")
    who = exam.subject.who
    logical_id = who.user.rpartition("/")[2]
    for kind in ("PractitionerRole", "Patient", "RelatedPerson"):
        user = replace(who, user=f"{kind}/{logical_id}")
        status = _post(exam, service, context=context_of("patient-view", user)).status
        if status not in (200, 403, 412):
            yield f"a call by a {kind} answers {status}"


@requirement("A20", "SHOULD", "A token without a server to use it on is refused with 4xx.", CLAUSE)
def a_token_needs_a_server(exam: Examination) -> Iterator[str]:
    token = {
        "access_token": "a-token-of-nobody",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/Patient.read",
        "subject": "conformance",
    }
    status = _post(exam, exam.specimen, fhirServer=None, fhirAuthorization=token).status
    if status not in _INVALID:
        yield f"fhirAuthorization without fhirServer answers {status}"


@requirement("A21", "SHOULD", "A call of a hook that the service is not for is refused.", CLAUSE)
def other_hooks_are_refused(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    own = {each["hook"] for each in exam.services if each["id"] == service["id"]}
    other = next(hook for hook in HOOKS if hook not in own)
    status = _post(exam, service, hook=other, context=context_of(other, exam.subject.who)).status
    if status not in (*_INVALID, 404):
        yield f"a call of {other} at a service for {service['hook']} answers {status}"


@requirement(
    "A23",
    "SHOULD",
    "Scopes are read as SMART 1 and as SMART 2 writes them.",
    "CDS Hooks 3.0 ballot, FHIR Resource Access",
)
def both_kinds_of_scopes_are_read(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    given = exam.body(service).get("fhirAuthorization")
    if given is None:
        raise NotApplicable("give it --fhir and --fhir-token-file")
    for scope in ("user/*.read", "user/*.rs"):
        status = _post(exam, service, fhirAuthorization={**given, "scope": scope}).status
        if status != 200:
            yield f"with the scope {scope} a good call answers {status}"


@requirement(
    "A27",
    "SHOULD",
    "No server is asked that a caller names and nobody configured.",
    "CDS Hooks 2.0.1, Security and Safety",
)
def named_servers_are_not_asked(exam: Examination) -> Iterator[str]:
    if not exam.canary_url:
        raise NotApplicable("give it --serve-jwks: it is seen by who listens")
    before = len(exam.canary)
    _post(exam, exam.answered[0][0], fhirServer=f"{exam.canary_url}/fhir", prefetch=None)
    if len(exam.canary) > before:
        yield "the service connected to a fhirServer that nobody told it of"


@requirement(
    "A28",
    "SHOULD",
    f"A call is answered in the order of {USUAL_MS:.0f} ms.",
    "CDS Hooks 2.0.1, Providing FHIR Resources",
)
def calls_are_answered_soon(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        if answer.status != 200 or answer.took_ms <= USUAL_MS:
            continue
        # the first call may have found everything cold
        again = [_post(exam, service).took_ms for _ in range(2)]
        median_ms = statistics.median([answer.took_ms, *again])
        if median_ms > USUAL_MS:
            yield f"{service['id']} took {median_ms:.0f} ms (median of three calls)"


@requirement(
    "A29",
    "SHOULD",
    "No call takes more than 5 s (orders and appointments: 10 s).",
    "Da Vinci CRD, found-2",
)
def no_call_takes_long(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        most_ms = LONGEST_ORDER_MS if service["hook"] in _SLOW_HOOKS else LONGEST_MS
        if answer.took_ms > most_ms:
            yield f"{service['id']} took {answer.took_ms:.0f} ms"


def _with_prefetch(exam: Examination, value: Any) -> tuple[Service, Answer]:
    """A service that has templates, called with `value` under each key."""
    for service, answer in exam.answered:
        keys = [key for key, _ in templates_of(service)]
        if answer.status == 200 and keys:
            return service, _post(exam, service, prefetch=dict.fromkeys(keys, value))
    raise NotApplicable("no service that has prefetch templates answered a good call with 200")


@requirement("A43", "SHOULD", "A key that is null is known to be empty: it is no error.", PREFETCH)
def null_is_an_answer(exam: Examination) -> Iterator[str]:
    service, answer = _with_prefetch(exam, None)
    if answer.status not in (200, 412):
        yield f"{service['id']} answers {answer.status} when every key is null"


@requirement(
    "A43",
    "SHALL",
    "An OperationOutcome under a key makes nothing crash.",
    PREFETCH,
)
def a_failed_prefetch_is_no_crash(exam: Examination) -> Iterator[str]:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "timeout"}],
    }
    service, answer = _with_prefetch(exam, outcome)
    if answer.status not in (200, 412):
        yield f"{service['id']} answers {answer.status} when the client could not prefetch"


@requirement("A44", "SHOULD", "A prefetch with one of several keys is no error.", PREFETCH)
def a_partial_prefetch_is_no_crash(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        sent = exam.prefetch(service)
        if answer.status == 200 and len(sent) > 1:
            key = next(iter(sent))
            status = _post(exam, service, prefetch={key: sent[key]}).status
            if status not in (200, 412):
                yield f"{service['id']} answers {status} to a prefetch of {key[:40]} alone"
            return
    raise NotApplicable("no service has several prefetch templates")


@requirement("A44", "SHOULD", "A key that was not asked for is passed over.", PREFETCH)
def unknown_keys_are_passed_over(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    more = {"aKeyOfAnotherService": {"resourceType": "Basic", "id": "x", "code": {"text": "x"}}}
    status = _post(exam, service, prefetch=exam.prefetch(service) | more).status
    if status not in (200, 412):
        yield f"{service['id']} answers {status} to a prefetch with a further key"


@requirement("A45", "SHALL", "Without data it is 200 or 412, and nothing else.", STATUS)
def without_data_it_is_412(exam: Examination) -> Iterator[str]:
    service = exam.specimen
    answer = _post(exam, service, prefetch=None, fhirServer=None, fhirAuthorization=None)
    if answer.status not in (200, 412):
        yield f"{service['id']} answers {answer.status} without prefetch and server"


@requirement(
    "A46", "SHOULD", "A chart in which there is nothing is 200, not 412.", "Da Vinci CRD, found-32"
)
def an_empty_chart_is_an_answer(exam: Examination) -> Iterator[str]:
    empty = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    for service, _ in exam.answered:
        searches = [key for key, template in templates_of(service) if "?" in template]
        if searches:
            sent = exam.prefetch(service) | dict.fromkeys(searches, empty)
            status = _post(exam, service, prefetch=sent).status
            if status == 412:
                yield f"{service['id']} answers 412 to searches that found nothing"
            return
    raise NotApplicable("no service has a template that searches")


_ODD: tuple[tuple[str, Any], ...] = (
    ("a page of HTML", "<html><body>502 Bad Gateway</body></html>"),
    ("a number", 7),
    ("an array", [[]]),
    ("another resource", {"resourceType": "Basic", "id": "x"}),
    ("an object without resourceType", {"entry": [None, 7, {"resource": None}]}),
)


@requirement("A48", "SHALL", "A prefetch of another shape makes nothing crash.", PREFETCH)
def odd_prefetch_is_no_crash(exam: Examination) -> Iterator[str]:
    for what, value in _ODD:
        service, answer = _with_prefetch(exam, value)
        if answer.status >= 500:
            yield f"{service['id']} answers {answer.status} when each key holds {what}"


@requirement(
    "A49",
    "SHOULD",
    "A service works by the FHIR server alone, too.",
    "CDS Hooks 2.0.1, Providing FHIR Resources",
)
def the_server_alone_is_enough(exam: Examination) -> Iterator[str]:
    if not exam.subject.fhir_server:
        raise NotApplicable("give it --fhir")
    status = _post(exam, exam.specimen, prefetch=None).status
    if status != 200:
        yield f"{exam.specimen['id']} answers {status} with fhirServer and without prefetch"


CHECKS = (
    unknown_members_are_passed_over,
    required_members_are_required,
    required_fields_are_required,
    optional_fields_are_optional,
    every_kind_of_user_may_call,
    a_token_needs_a_server,
    other_hooks_are_refused,
    both_kinds_of_scopes_are_read,
    named_servers_are_not_asked,
    calls_are_answered_soon,
    no_call_takes_long,
    null_is_an_answer,
    a_failed_prefetch_is_no_crash,
    a_partial_prefetch_is_no_crash,
    unknown_keys_are_passed_over,
    without_data_it_is_412,
    an_empty_chart_is_an_answer,
    odd_prefetch_is_no_crash,
    the_server_alone_is_enough,
)
