"""A refused token costs one signature check, whatever it names: time tells nobody what we know."""

from __future__ import annotations

from typing import Any, get_args

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cds_service.security.decoys import decoy
from cds_service.security.errors import InvalidToken
from cds_service.security.jwks import CallerKeySets
from cds_service.security.jwt import Verifier
from cds_service.settings.parts import Algorithm
from tests.doubles import ehr
from tests.doubles.ehr import Ehr
from tests.doubles.hooking import settings
from tests.security.test_tokens import AUD

STRANGER = rsa.generate_private_key(65537, 2048)
SIGNERS = {
    "ES384": Ehr(key=ehr.OTHER_KEY),
    "RS384": Ehr(key=STRANGER, kid=ehr.RSA_KID, algorithm="RS384"),
}


def verifier(**tenant: Any) -> Verifier:
    at = settings(tenants=(ehr.tenant(**tenant),))
    keys = CallerKeySets(lambda _: ehr.jwks(), lambda: ehr.NOW_S, lambda work: work())
    return Verifier(at.tenant_of, keys, lambda: ehr.NOW_S)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithm of each signature that is checked."""
    found: list[str] = []
    check = jwt.api_jws.decode_complete

    def noting(token: str, key: Any, algorithms: list[str]) -> Any:
        found.extend(algorithms)
        return check(token, key, algorithms=algorithms)

    monkeypatch.setattr(jwt.api_jws, "decode_complete", noting)
    return found


@pytest.mark.parametrize("algorithm", SIGNERS)
@pytest.mark.parametrize(
    "named",
    [
        pytest.param({"iss": "https://nobody.example"}, id="an issuer that is not known"),
        pytest.param({"headers": {"kid": "nobody"}}, id="a key that is not known"),
        pytest.param({"headers": {"kid": None}}, id="no key"),
        pytest.param({"headers": {"jku": "https://nobody.example"}}, id="another place of keys"),
        pytest.param({}, id="a key that did not sign"),
    ],
)
def test_what_is_not_known_costs_what_a_wrong_signature_does(
    algorithm: str, named: dict[str, Any], checked: list[str]
) -> None:
    token = SIGNERS[algorithm].token(AUD, **named)
    with pytest.raises(InvalidToken):
        verifier().verify(f"Bearer {token}", AUD)
    assert checked == [algorithm]


def test_an_algorithm_that_this_caller_may_not_use_costs_the_same(checked: list[str]) -> None:
    token = SIGNERS["RS384"].token(AUD)
    with pytest.raises(InvalidToken):
        verifier(algorithms=["ES384"]).verify(f"Bearer {token}", AUD)
    assert checked == ["RS384"]


def test_a_good_token_is_checked_once(checked: list[str]) -> None:
    verifier().verify(f"Bearer {Ehr().token(AUD)}", AUD)
    assert checked == ["ES384"]


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_there_is_one_decoy_for_each_algorithm_of_callers(algorithm: str) -> None:
    assert decoy(algorithm) is decoy(algorithm) is not None


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS1", "", None, [], {}])
def test_there_is_none_for_what_nobody_may_use(algorithm: object) -> None:
    assert decoy(algorithm) is None
