"""Forged, stolen, replayed and misdirected tokens: none is accepted, and none learns why."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cds_service.security.errors import InvalidToken, ReplayUnknown
from cds_service.security.jwks import CallerKeySets
from cds_service.security.jwt import Caller, Verifier
from cds_service.security.replay import UsedTokens
from tests.doubles import ehr
from tests.doubles.ehr import Ehr, segment
from tests.doubles.hooking import (
    ORDER_SELECT,
    PATIENT_VIEW,
    RedisInMemory,
    order_select,
    patient_view,
    site,
)

AUD = ehr.BASE_URL + PATIENT_VIEW
PUBLIC_PEM = ehr.RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def verifier(keys: bytes | None = None, **tenant: Any) -> Verifier:
    configured = ehr.tenant(**tenant)
    sets = CallerKeySets(lambda _: keys or ehr.jwks(), lambda: ehr.NOW_S, lambda work: work())
    return Verifier({configured.issuer: configured}.get, sets, lambda: ehr.NOW_S)


def hmac_signed(algorithm: str, secret: bytes, kid: str) -> str:
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384}[algorithm]
    head = segment({"alg": algorithm, "typ": "JWT", "kid": kid})
    signed = f"{head}.{segment(Ehr().claims(AUD))}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), digest))}"


def unsigned(algorithm: str) -> str:
    head = segment({"alg": algorithm, "typ": "JWT", "kid": ehr.KID})
    return f"{head}.{segment(Ehr().claims(AUD))}."


def changed_payload() -> str:
    head, _, signature = Ehr().token(AUD).split(".")
    return f"{head}.{segment(Ehr().claims(AUD))}.{signature}"


def payload_twice() -> str:
    """The same name twice: two readers would see two issuers."""
    e = Ehr()
    text = segment(e.claims(AUD))
    raw = jwt.utils.base64url_decode(text)[:-1] + b', "iss": "https://ehr.example.org"}'
    signed = f"{segment({'alg': 'ES384', 'typ': 'JWT', 'kid': ehr.KID})}.{segment(raw)}"
    return f"{signed}.{segment(e.signature(signed))}"


OWN_JWK = ehr.jwk(ehr.OTHER_KEY, "mine")
NOW = int(ehr.NOW_S)

FORGED: dict[str, Callable[[], str]] = {
    "alg-none": lambda: unsigned("none"),
    "alg-None": lambda: unsigned("None"),
    "alg-empty": lambda: unsigned(""),
    "hs256-with-the-public-pem": lambda: hmac_signed("HS256", PUBLIC_PEM, ehr.RSA_KID),
    "hs384-with-the-jwks": lambda: hmac_signed("HS384", ehr.jwks(), ehr.KID),
    "other-key": lambda: Ehr(key=ehr.OTHER_KEY).token(AUD),
    "other-key-in-jwk": lambda: Ehr(key=ehr.OTHER_KEY).token(AUD, {"jwk": OWN_JWK}),
    "other-key-in-x5c": lambda: Ehr(key=ehr.OTHER_KEY).token(AUD, {"x5c": ["MIIB"]}),
    "other-key-by-jku": lambda: Ehr(key=ehr.OTHER_KEY).token(
        AUD, {"jku": "https://evil.example/jwks.json"}
    ),
    "jku-elsewhere": lambda: Ehr().token(AUD, {"jku": "https://evil.example/jwks.json"}),
    "jku-not-a-string": lambda: Ehr().token(AUD, {"jku": [ehr.JWKS_URL]}),
    "changed-payload": changed_payload,
    "no-signature": lambda: Ehr().token(AUD).rpartition(".")[0] + ".",
    "cut-signature": lambda: Ehr().token(AUD)[:-8],
    "zero-signature": lambda: Ehr().token(AUD).rpartition(".")[0] + "." + segment(bytes(96)),
    "crit": lambda: Ehr().token(AUD, {"crit": ["exp"]}),
    "b64-false": lambda: Ehr().token(AUD, {"b64": False}),
    "typ-missing": lambda: Ehr().token(AUD, {"typ": None}),
    "typ-other": lambda: Ehr().token(AUD, {"typ": "at+jwt"}),
    "alg-for-another-curve": lambda: Ehr(
        algorithm="ES256", key=ec.generate_private_key(ec.SECP256R1())
    ).token(AUD),
    "alg-not-configured": lambda: Ehr(algorithm="RS256", key=ehr.RSA_KEY, kid=ehr.RSA_KID).token(
        AUD
    ),
    "alg-of-the-other-key": lambda: Ehr(algorithm="RS384", key=ehr.RSA_KEY, kid=ehr.KID).token(AUD),
    "kid-missing": lambda: Ehr(kid="").token(AUD, {"kid": None}),
    "kid-path": lambda: Ehr().token(AUD, {"kid": "../../etc/passwd"}),
    "kid-sql": lambda: Ehr().token(AUD, {"kid": "x' UNION SELECT 'k"}),
    "kid-number": lambda: Ehr().token(AUD, {"kid": 1}),
    "kid-long": lambda: Ehr().token(AUD, {"kid": "k" * 257}),
    "iss-missing": lambda: Ehr().token(AUD, iss=None),
    "iss-other": lambda: Ehr().token(AUD, iss="https://evil.example"),
    "iss-suffix": lambda: Ehr().token(AUD, iss=ehr.ISSUER + ".evil.example"),
    "iss-prefix": lambda: Ehr().token(AUD, iss=ehr.ISSUER[:-1]),
    "iss-slash": lambda: Ehr().token(AUD, iss=ehr.ISSUER + "/"),
    "iss-list": lambda: Ehr().token(AUD, iss=[ehr.ISSUER]),
    "aud-missing": lambda: Ehr().token(None),
    "aud-base": lambda: Ehr().token(ehr.BASE_URL),
    "aud-other-service": lambda: Ehr().token(ehr.BASE_URL + ORDER_SELECT),
    "aud-slash": lambda: Ehr().token(AUD + "/"),
    "aud-prefix": lambda: Ehr().token(AUD[:-1]),
    "aud-http": lambda: Ehr().token(AUD.replace("https", "http")),
    "aud-case": lambda: Ehr().token(AUD.upper()),
    "aud-several": lambda: Ehr().token([AUD, "https://other.example"]),
    "aud-empty-list": lambda: Ehr().token([]),
    "aud-object": lambda: Ehr().token({"url": AUD}),
    "exp-missing": lambda: Ehr().token(AUD, exp=None),
    "exp-past": lambda: Ehr().token(AUD, iat=NOW - 400, exp=NOW - 100),
    "exp-just-past": lambda: Ehr().token(AUD, iat=NOW - 300, exp=NOW - 60),
    "exp-in-ten-years": lambda: Ehr().token(AUD, exp=NOW + 315_360_000),
    "exp-a-second-too-far": lambda: Ehr().token(AUD, exp=NOW + 901),
    "exp-before-iat": lambda: Ehr().token(AUD, iat=NOW + 20, exp=NOW + 10),
    "exp-string": lambda: Ehr().token(AUD, exp=str(NOW + 300)),
    "exp-true": lambda: Ehr().token(AUD, exp=True),
    "iat-missing": lambda: Ehr().token(AUD, iat=None),
    "iat-future": lambda: Ehr().token(AUD, iat=NOW + 61, exp=NOW + 300),
    "nbf-future": lambda: Ehr().token(AUD, nbf=NOW + 61),
    "nbf-string": lambda: Ehr().token(AUD, nbf="now"),
    "jti-missing": lambda: Ehr().token(AUD, jti=None),
    "jti-empty": lambda: Ehr().token(AUD, jti=""),
    "jti-number": lambda: Ehr().token(AUD, jti=7),
    "jti-long": lambda: Ehr().token(AUD, jti="j" * 257),
    "payload-twice": payload_twice,
    "four-parts": lambda: Ehr().token(AUD) + ".x",
    "two-parts": lambda: Ehr().token(AUD).rpartition(".")[0],
    "five-parts-jwe": lambda: "a.b.c.d.e",
    "not-base64": lambda: "a!b.c!d.e!f",
    "padded": lambda: Ehr().token(AUD) + "==",
    "header-not-an-object": lambda: f"{segment([1])}.{segment({})}.{segment(b'x')}",
    "payload-not-an-object": lambda: f"{segment({'alg': 'ES384'})}.{segment([])}.{segment(b'x')}",
    "header-nested": lambda: f"{segment(b'[' * 3000)}.{segment({})}.{segment(b'x')}",
    "long": lambda: Ehr().token(AUD, padding="x" * 20_000),
    "empty": lambda: "",
    "spaces": lambda: "a b c",
}


@pytest.mark.parametrize("kind", FORGED)
def test_no_forged_token_is_accepted_and_each_answer_is_the_same(kind: str) -> None:
    at = site()
    client = at.client()
    missing = client.post(PATIENT_VIEW, json=patient_view())
    headers = {"Authorization": f"Bearer {FORGED[kind]()}"}
    answer = client.post(PATIENT_VIEW, json=patient_view(), headers=headers)
    assert answer.status_code == missing.status_code == 401
    assert answer.get_data() == missing.get_data()
    assert dict(answer.headers) == dict(missing.headers)
    assert at.queue.orders == []
    assert set(at.fetched) <= {ehr.JWKS_URL}


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        (Ehr(), {}),
        (Ehr(algorithm="RS384", key=ehr.RSA_KEY, kid=ehr.RSA_KID), {}),
        (Ehr(), {"nbf": NOW - 300}),
        (Ehr(), {"exp": NOW + 900}),
        (Ehr(), {"iat": NOW - 359, "exp": NOW - 59}),
        (Ehr(), {"iat": NOW + 60, "exp": NOW + 300}),
        (Ehr(), {"sub": "someone", "tenant": "hospital-1", "extra": {"a": [1]}}),
        (Ehr(), {"exp": NOW + 299.5}),
    ],
)
def test_good_tokens_are_accepted(given: Ehr, changes: dict[str, Any]) -> None:
    caller = verifier().verify(f"Bearer {given.token(AUD, **changes)}", AUD)
    assert caller.tenant.name == "ehr"


def test_the_audience_may_be_an_array_of_this_endpoint_alone() -> None:
    assert verifier().verify(f"Bearer {Ehr().token([AUD])}", AUD)


def test_the_jku_may_be_the_configured_one() -> None:
    assert verifier().verify(f"bearer {Ehr().token(AUD, {'jku': ehr.JWKS_URL})}", AUD)


JKU_VARIANTS = [
    "https://ehr.example.org.evil.example/.well-known/jwks.json",
    "https://ehr.example.org@evil.example/.well-known/jwks.json",
    "https://evil.example/https://ehr.example.org/.well-known/jwks.json",
    "https://ehr.example.org:443/.well-known/jwks.json",
    "https://ehr.example.org:8443/.well-known/jwks.json",
    "HTTPS://ehr.example.org/.well-known/jwks.json",
    "https://EHR.example.org/.well-known/jwks.json",
    "https://ehr.example.org./.well-known/jwks.json",
    "https://еhr.example.org/.well-known/jwks.json",  # a Cyrillic letter
    "https://ehr.example.org/.well-known/jwks.json#x",
    "https://ehr.example.org/.well-known/jwks.json?x",
    "https://ehr.example.org/.well-known/jwks.json/",
    "https://ehr.example.org//.well-known/jwks.json",
    "https://ehr.example.org/%2ewell-known/jwks.json",
    "https://ehr.example.org/.well-known/../.well-known/jwks.json",
    "https://ehr.example.org/.well-known/jwks.json\n",
    " https://ehr.example.org/.well-known/jwks.json",
    "http://ehr.example.org/.well-known/jwks.json",
    "//ehr.example.org/.well-known/jwks.json",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "",
    None,
]


@pytest.mark.parametrize("jku", [j for j in JKU_VARIANTS if j is not None])
def test_no_other_jku_is_accepted_or_fetched(jku: str) -> None:
    at = site()
    token = at.ehr.token(AUD, {"jku": jku})
    headers = {"Authorization": f"Bearer {token}"}
    answer = at.client().post(PATIENT_VIEW, json=patient_view(), headers=headers)
    assert answer.status_code == 401
    assert at.fetched == []


def test_a_token_is_good_once() -> None:
    at = site()
    client, headers = at.client(), at.ehr.bearer(PATIENT_VIEW)
    first, second = (
        client.post(PATIENT_VIEW, json=patient_view(), headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (200, 401)


def test_a_token_of_one_service_is_not_good_for_another() -> None:
    at = site()
    headers = at.ehr.bearer(PATIENT_VIEW)
    answer = at.client().post(ORDER_SELECT, json=order_select(), headers=headers)
    assert answer.status_code == 401


def test_behind_a_proxy_the_audience_is_our_public_address() -> None:
    at = site()
    answer = at.client().post(
        PATIENT_VIEW,
        json=patient_view(),
        headers=at.ehr.bearer(PATIENT_VIEW) | {"Host": "internal:8080"},
    )
    assert answer.status_code == 200


def test_a_used_token_is_remembered_until_it_has_expired() -> None:
    redis = RedisInMemory()
    caller = Caller(ehr.tenant(), "j1", ehr.NOW_S + 300)
    UsedTokens(redis, lambda: ehr.NOW_S).use(caller)
    ((name, seconds),) = redis.expiries.items()
    assert seconds >= 330
    assert "j1" not in name


def test_of_many_copies_at_once_exactly_one_passes() -> None:
    used, passed = UsedTokens(RedisInMemory(), lambda: ehr.NOW_S), []
    caller = Caller(ehr.tenant(), "j1", ehr.NOW_S + 300)

    def one() -> None:
        try:
            used.use(caller)
            passed.append(1)
        except InvalidToken:
            pass

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == [1]


def test_without_redis_nobody_passes() -> None:
    redis = RedisInMemory()
    redis.down = True
    with pytest.raises(ReplayUnknown):
        UsedTokens(redis, lambda: ehr.NOW_S).use(Caller(ehr.tenant(), "j1", ehr.NOW_S + 300))


def test_the_reason_is_counted_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    at = site()
    client = at.client()
    token = Ehr().token(AUD + "/")
    answer = client.post(PATIENT_VIEW, headers={"Authorization": f"Bearer {token}"})
    assert "audience" not in answer.get_data(as_text=True)
    text = client.get("/metrics").get_data(as_text=True)
    assert 'scanhook_tokens_refused_total{refusal="audience"} 1.0' in text
    assert token not in caplog.text


# keys


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Source:
    """A JWKS endpoint that can fail and counts what it is asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body, self.asked, self.down = ehr.jwks(*keys), 0, False

    def __call__(self, url: str) -> bytes:
        assert url == ehr.JWKS_URL
        self.asked += 1
        if self.down:
            raise OSError("refused")
        return self.body


def key_sets(source: Source, clock: Clock) -> CallerKeySets:
    return CallerKeySets(source, clock, lambda work: work())


def test_a_flood_of_unknown_kids_asks_once_a_minute() -> None:
    source, clock = Source(), Clock()
    sets = key_sets(source, clock)
    for second in range(120):
        clock.now_s = float(second)
        for i in range(20):
            with pytest.raises(InvalidToken):
                sets.key(ehr.tenant(), f"unknown-{second}-{i}", "ES384")
    assert source.asked == 2


def test_a_rotated_key_is_found_without_a_restart() -> None:
    source, clock = Source(), Clock()
    sets = key_sets(source, clock)
    sets.key(ehr.tenant(), ehr.KID, "ES384")
    source.body = ehr.jwks(ehr.jwk(ehr.OTHER_KEY, "ec-2"))
    clock.now_s = 61.0
    assert sets.key(ehr.tenant(), "ec-2", "ES384").public_numbers() == (
        ehr.OTHER_KEY.public_key().public_numbers()
    )
    with pytest.raises(InvalidToken):
        sets.key(ehr.tenant(), ehr.KID, "ES384")


def test_keys_are_kept_while_their_source_is_down() -> None:
    source, clock = Source(), Clock()
    sets = key_sets(source, clock)
    sets.key(ehr.tenant(), ehr.KID, "ES384")
    source.down = True
    for clock.now_s in (599.0, 601.0, 5000.0, 90_000.0):
        assert sets.key(ehr.tenant(), ehr.KID, "ES384")
    assert source.asked == 4


def test_a_source_that_starts_later_is_asked_again_soon() -> None:
    source, clock = Source(), Clock()
    source.down = True
    sets = key_sets(source, clock)
    for _ in range(10):
        with pytest.raises(InvalidToken):
            sets.key(ehr.tenant(), ehr.KID, "ES384")
    assert source.asked == 1
    source.down, clock.now_s = False, 5.0
    assert sets.key(ehr.tenant(), ehr.KID, "ES384")


def test_calls_at_the_same_time_fetch_once() -> None:
    source, entered, go = Source(), threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        entered.set()
        go.wait(5)
        return source(url)

    sets, found = CallerKeySets(slow, lambda: 0.0), []
    calls = [
        threading.Thread(target=lambda: found.append(sets.key(ehr.tenant(), ehr.KID, "ES384")))
        for _ in range(8)
    ]
    for each in calls:
        each.start()
    entered.wait(5)
    go.set()
    for each in calls:
        each.join()
    assert len(found) == 8
    assert source.asked == 1


SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - meant


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ehr.jwk(ehr.KEY, "k", alg="ES256"), "ES384"),
        (ehr.jwk(ehr.KEY, "k"), "ES256"),
        (ehr.jwk(ehr.KEY, "k"), "RS384"),
        (ehr.jwk(ehr.RSA_KEY, "k"), "ES384"),
        (ehr.jwk(ehr.KEY, "k", use="enc"), "ES384"),
        (ehr.jwk(ehr.KEY, "k", key_ops=["encrypt"]), "ES384"),
        (ehr.jwk(ehr.KEY, "k", key_ops=7), "ES384"),
        (ehr.jwk(ehr.KEY, "k", d="AAAA"), "ES384"),
        (ehr.jwk(SMALL_RSA, "k"), "RS384"),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}, "ES384"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "k"}, "ES384"),
        ({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA", "kid": "k"}, "ES384"),
        ({"kty": ["EC"], "kid": "k"}, "ES384"),
        ({"kty": "EC", "kid": "k"}, "ES384"),
        ({"kid": "k"}, "ES384"),
    ],
)
def test_a_key_of_another_kind_curve_size_or_use_is_no_key(
    key: dict[str, Any], algorithm: str
) -> None:
    with pytest.raises(InvalidToken):
        key_sets(Source(key), Clock()).key(ehr.tenant(), "k", algorithm)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1,null]}', b"x" * 300_000]
)
def test_a_set_that_is_no_set_has_no_keys(body: bytes) -> None:
    source = Source()
    source.body = body
    with pytest.raises(InvalidToken):
        key_sets(source, Clock()).key(ehr.tenant(), ehr.KID, "ES384")


def test_keys_may_come_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(ehr.jwks())
    by_file = ehr.tenant(jwks_url="", jwks_file=path)
    sets = CallerKeySets(lambda _: pytest.fail("fetched"), Clock())
    assert sets.key(by_file, ehr.KID, "ES384")


def test_a_jku_is_passed_over_where_keys_are_stored(tmp_path: Any) -> None:
    """Epic names one in each call; only a stored key can have signed what is accepted."""
    path = tmp_path / "jwks.json"
    path.write_bytes(ehr.jwks())
    by_file = ehr.tenant(jwks_url="", jwks_file=path)
    sets = CallerKeySets(lambda _: pytest.fail("fetched"), Clock())
    check = Verifier({by_file.issuer: by_file}.get, sets, lambda: ehr.NOW_S)
    for jku in ("https://ehr.example.org/PublicKeys/prd/prd", "https://evil.example/jwks.json", ""):
        assert check.verify(f"Bearer {Ehr().token(AUD, {'jku': jku})}", AUD).tenant is by_file
        with pytest.raises(InvalidToken):
            check.verify(f"Bearer {Ehr(key=ehr.OTHER_KEY).token(AUD, {'jku': jku})}", AUD)


def test_issuers_do_not_share_keys() -> None:
    other = ehr.tenant(name="b", issuer="https://b.example.org", jwks_url="https://b.example.org/k")
    served = {
        ehr.JWKS_URL: ehr.jwks(),
        other.jwks_url: ehr.jwks(ehr.jwk(ehr.OTHER_KEY, ehr.KID)),
    }
    sets = CallerKeySets(served.__getitem__, lambda: ehr.NOW_S)
    tenants = {each.issuer: each for each in (ehr.tenant(), other)}
    check = Verifier(tenants.get, sets, lambda: ehr.NOW_S)
    own = Ehr(key=ehr.OTHER_KEY).token(AUD, iss=other.issuer)
    assert check.verify(f"Bearer {own}", AUD).tenant.name == "b"
    with pytest.raises(InvalidToken):
        check.verify(f"Bearer {Ehr().token(AUD, iss=other.issuer)}", AUD)
