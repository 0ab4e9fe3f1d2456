"""Browser clients: cross-origin sharing on discovery, services and feedback."""

from __future__ import annotations

from collections.abc import Iterator

from cds_service.conformance.examination import DISCOVERY, JSON_TYPE, Examination, NotApplicable
from cds_service.conformance.exchange import Answer, Call
from cds_service.conformance.requirement import requirement

CLAUSE = "CDS Hooks 2.0.1, Cross-Origin Resource Sharing"
STRANGER = "https://a-page-of-nobody.invalid"
_WANTED = ("authorization", "content-type")


def _origin(exam: Examination) -> str:
    if not exam.subject.origin:
        raise NotApplicable("give it --origin of a browser client that the service allows")
    return exam.subject.origin


def _routes(exam: Examination) -> Iterator[tuple[str, str]]:
    path = exam.path(exam.services[0])
    yield "GET", DISCOVERY
    yield "POST", path
    yield "POST", f"{path}/feedback"


def _preflight(exam: Examination, method: str, path: str, origin: str) -> Answer:
    """What a browser asks before it sends; it never carries a token."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(_WANTED),
    }
    return exam.send(Call("OPTIONS", path, headers))


def _shared(answer: Answer, origin: str) -> bool:
    return answer.headers.get("access-control-allow-origin") in (origin, "*")


def _listed(answer: Answer, name: str) -> set[str]:
    return {part.strip().lower() for part in answer.headers.get(name, "").split(",")}


@requirement("A103", "SHALL", "A preflight is answered, without a token, on every route.", CLAUSE)
def preflights_are_answered(exam: Examination) -> Iterator[str]:
    origin = _origin(exam)
    for method, path in _routes(exam):
        answer = _preflight(exam, method, path, origin)
        if not 200 <= answer.status < 300:
            yield f"OPTIONS {path} is answered with {answer.status}"
        elif not _shared(answer, origin):
            yield f"OPTIONS {path} does not allow the origin"
        else:
            yield from _unlisted(answer, method, path)


def _unlisted(answer: Answer, method: str, path: str) -> Iterator[str]:
    methods = _listed(answer, "access-control-allow-methods")
    # GET and POST need no mention (Fetch, CORS-safelisted methods)
    if method.lower() not in methods | {"get", "post", "*"}:
        yield f"OPTIONS {path} does not allow {method}"
    headers = _listed(answer, "access-control-allow-headers")
    for name in _WANTED:
        # the asterisk never covers Authorization (Fetch, CORS-preflight fetch)
        if name not in headers and not (name != "authorization" and "*" in headers):
            yield f"OPTIONS {path} does not allow the header {name}"


@requirement("A103", "SHALL", "Answers, errors too, may be read by the origin.", CLAUSE)
def answers_may_be_read(exam: Examination) -> Iterator[str]:
    origin = _origin(exam)
    for method, path in _routes(exam):
        headers = {"Origin": origin, **exam.bearer(path)}
        body = b"{}" if method == "POST" else None
        if body:
            headers["Content-Type"] = JSON_TYPE
        answer = exam.send(Call(method, path, headers, body))
        if not _shared(answer, origin):
            yield f"{method} {path} ({answer.status}) does not allow the origin"


@requirement("A103", "SHALL", "No stranger's page may call with credentials.", "Fetch, CORS")
def strangers_get_no_credentials(exam: Examination) -> Iterator[str]:
    for method, path in _routes(exam):
        answer = _preflight(exam, method, path, STRANGER)
        allowed = answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        if allowed and _shared(answer, STRANGER):
            yield f"OPTIONS {path} allows any origin, with credentials"


CHECKS = (preflights_are_answered, answers_may_be_read, strangers_get_no_credentials)
