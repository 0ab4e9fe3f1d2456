"""Callers: whether a token is checked, and every forged, stolen or stale one is refused.

One wrong thing at a time, so that what is accepted says what is not checked. All of it needs a
service that lets our good token in and refuses a call without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from cds_service.conformance.examination import DISCOVERY, Examination, NotApplicable
from cds_service.conformance.exchange import Answer
from cds_service.conformance.identity import HOUR_S
from cds_service.conformance.requirement import requirement
from cds_service.conformance.shapes import LOOPBACK

CLAUSE = "CDS Hooks 2.0.1, Trusting CDS Clients"
RISK = "CDS Hooks 2.0.1, Security and Safety"
TLS = "CDS Hooks 2.0.1, Transport Layer Security"
ELSEWHERE = "https://somebody-else.invalid"


def _path(exam: Examination) -> str:
    """The endpoint at which tokens are tried, if they can be."""
    if not exam.guarded:
        raise NotApplicable("the service answers without a token")
    service, _ = exam.answered[0]
    return exam.path(service)


def _called(exam: Examination, token: str) -> Answer:
    path = _path(exam)
    service, _ = exam.answered[0]
    return exam.post(path, exam.body(service), token=token)


def _accepted(exam: Examination, forged: Mapping[str, Callable[[str], str]]) -> Iterator[str]:
    """A sentence for each token that is not refused; each is made for the endpoint's own URL."""
    audience = exam.url(_path(exam))
    for what, make in forged.items():
        answer = _called(exam, make(audience))
        if not answer.refused:
            yield f"{what} is answered with {answer.status}"


@requirement("A90", "SHALL", "The service is reached over TLS.", TLS)
def the_service_is_reached_over_tls(exam: Examination) -> Iterator[str]:
    address = urlsplit(exam.base_url)
    if address.hostname in LOOPBACK:
        raise NotApplicable("the service is on this machine")
    if address.scheme != "https":
        yield "the address of the service is not https"


@requirement("A91", "SHOULD", "A call without a token is refused with 401.", RISK)
def callers_are_authenticated(exam: Examination) -> Iterator[str]:
    if not exam.guarded:
        yield "a call without a token is answered as one with a token"


@requirement("A92", "SHOULD", "A token without iss, aud, exp, iat or jti is refused.", CLAUSE)
def claims_are_required(exam: Examination) -> Iterator[str]:
    def without(name: str) -> Callable[[str], str]:
        return lambda audience: exam.identity.token(audience, **{name: None})

    names = ("iss", "aud", "exp", "iat", "jti")
    yield from _accepted(exam, {f"a token without {name}": without(name) for name in names})


@requirement("A92", "SHALL", "Claims beyond the required ones do no harm.", CLAUSE)
def further_claims_are_accepted(exam: Examination) -> Iterator[str]:
    path = _path(exam)
    now_s = int(exam.identity.clock())
    token = exam.identity.token(exam.url(path), nbf=now_s - 300, sub="an-ehr", x="y")
    answer = _called(exam, token)
    if answer.refused:
        yield f"a token with nbf, sub and a claim of its own is answered with {answer.status}"


@requirement("A93", "SHALL", "alg none and symmetric algorithms are refused.", CLAUSE)
def weak_algorithms_are_refused(exam: Examination) -> Iterator[str]:
    identity = exam.identity
    yield from _accepted(
        exam,
        {
            "a token with alg none": lambda audience: identity.unsigned(audience),
            "a token with alg None": lambda audience: identity.unsigned(audience, "None"),
            "a token signed by HS256 with our public key": identity.hmac_signed,
        },
    )


@requirement("A93", "SHALL", "The signature is verified with the key of the issuer.", CLAUSE)
def signatures_are_verified(exam: Examination) -> Iterator[str]:
    identity = exam.identity
    yield from _accepted(
        exam,
        {
            "a token signed by another key": lambda audience: identity.token(
                audience, key=identity.other_key()
            ),
            "a token that brings its own key": identity.self_certified,
            "a token that was changed after it was signed": identity.changed,
            "a token without its signature": lambda audience: (
                identity.token(audience).rpartition(".")[0] + "."
            ),
        },
    )


@requirement(
    "A93", "SHALL", "A header that must be understood, and is not, is refused.", "RFC 7515, 4.1.11"
)
def critical_headers_are_understood(exam: Examination) -> Iterator[str]:
    unknown = "https://conformance.invalid/unknown"
    header = {"crit": [unknown], unknown: True}
    make = exam.identity.token
    yield from _accepted(
        exam, {"a token with an unknown crit": lambda audience: make(audience, header)}
    )


@requirement("A94", "SHALL", "aud is the URL of the endpoint that is called.", CLAUSE)
def audiences_are_checked(exam: Examination) -> Iterator[str]:
    identity = exam.identity
    yield from _accepted(
        exam,
        {
            "a token for somebody else": lambda _: identity.token(ELSEWHERE),
            "a token for discovery": lambda _: identity.token(exam.url(DISCOVERY)),
            "a token for the base address": lambda _: identity.token(exam.base_url),
            "a token for a longer URL": lambda audience: identity.token(f"{audience}-2"),
        },
    )


@requirement("A94", "SHALL", "aud may be an array with the one URL.", "RFC 7519, 4.1.3")
def an_audience_may_be_an_array(exam: Examination) -> Iterator[str]:
    path = _path(exam)
    answer = _called(exam, exam.identity.token([exam.url(path)]))
    if answer.refused:
        yield f"a token whose aud is an array is answered with {answer.status}"


@requirement("A95", "SHOULD", "Issuers and the addresses of their keys are listed.", CLAUSE)
def issuers_are_listed(exam: Examination) -> Iterator[str]:
    identity = exam.identity
    jku = f"{exam.canary_url or ELSEWHERE}/jwks-of-nobody.json"
    before = len(exam.canary)
    yield from _accepted(
        exam,
        {
            "a token of another issuer": lambda audience: identity.token(audience, iss=ELSEWHERE),
            "a token whose jku leads elsewhere": lambda audience: identity.token(
                audience, {"jku": jku, "kid": "of-nobody"}, key=identity.other_key()
            ),
        },
    )
    if len(exam.canary) > before:
        yield "the service fetched the jku that a token named"


@requirement("A96", "SHOULD", "A token is good once.", CLAUSE)
def tokens_are_good_once(exam: Examination) -> Iterator[str]:
    token = exam.identity.token(exam.url(_path(exam)))
    _called(exam, token)
    answer = _called(exam, token)
    if not answer.refused:
        yield f"a token that was used before is answered with {answer.status}"


@requirement("A97", "SHALL", "A token that has expired is refused.", "RFC 7519, 4.1.4")
def expired_tokens_are_refused(exam: Examination) -> Iterator[str]:
    then_s = int(exam.identity.clock()) - HOUR_S
    make = exam.identity.token
    yield from _accepted(
        exam,
        {"an expired token": lambda audience: make(audience, iat=then_s - 300, exp=then_s)},
    )


@requirement("A97", "SHOULD", "A token that is not valid yet is refused.", "RFC 7519, 4.1.5")
def early_tokens_are_refused(exam: Examination) -> Iterator[str]:
    then_s = int(exam.identity.clock()) + HOUR_S
    make = exam.identity.token
    yield from _accepted(
        exam,
        {
            "a token that begins in an hour": lambda audience: make(
                audience, nbf=then_s, exp=then_s + 300
            )
        },
    )


def refusals(exam: Examination) -> list[tuple[str, Answer]]:
    """(token, answer) of four tokens that are bad in different ways. Raises NotApplicable."""
    audience = exam.url(_path(exam))
    identity, then_s = exam.identity, int(exam.identity.clock()) - HOUR_S
    bad = (
        "",
        identity.unsigned(audience),
        identity.token(audience, iss=ELSEWHERE),
        identity.token(audience, iat=then_s - 300, exp=then_s),
    )
    found: list[tuple[str, Answer]] = exam.once(
        "refusals", lambda: [(token, _called(exam, token)) for token in bad]
    )
    return found


@requirement("A86", "SHOULD", "No answer repeats the token.", "RFC 6750, 5.3")
def no_token_is_repeated(exam: Examination) -> Iterator[str]:
    for token, answer in refusals(exam):
        if token and token.encode() in answer.body:
            yield f"a token stands in the answer ({answer.status}) that refuses it"


@requirement("A86", "SHOULD", "A refusal does not say what was wrong.", "CDS Hooks best practices")
def refusals_are_alike(exam: Examination) -> Iterator[str]:
    found = {(a.status, a.body) for _, a in refusals(exam) if a.refused}
    if len(found) > 1:
        yield f"four bad tokens have {len(found)} different answers"


CHECKS = (
    the_service_is_reached_over_tls,
    callers_are_authenticated,
    claims_are_required,
    further_claims_are_accepted,
    weak_algorithms_are_refused,
    signatures_are_verified,
    critical_headers_are_understood,
    audiences_are_checked,
    an_audience_may_be_an_array,
    issuers_are_listed,
    tokens_are_good_once,
    expired_tokens_are_refused,
    early_tokens_are_refused,
    no_token_is_repeated,
    refusals_are_alike,
)
