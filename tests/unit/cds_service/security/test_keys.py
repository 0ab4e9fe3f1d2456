"""Our own signing keys: private on disk, public half alone to publish."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cds_service.security.errors import UnfitKey
from cds_service.security.keyring import KeyFile
from cds_service.security.keys import generate_signing_key, load_signing_key, public_jwks
from tests.doubles.hooking import site

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_what_a_key_signs_its_published_half_verifies(tmp_path: Path, algorithm: str) -> None:
    made = generate_signing_key(tmp_path / "key.jwk", algorithm)
    loaded = load_signing_key(tmp_path / "key.jwk")
    assert (loaded.kid, loaded.algorithm) == (made.kid, algorithm)
    (published,) = public_jwks([made, loaded])["keys"]
    assert PRIVATE.isdisjoint(published)
    token = loaded.sign({"iss": "us"}, {"jku": "https://us.example.org"})
    header = jwt.get_unverified_header(token)
    assert header == {
        "alg": algorithm,
        "typ": "JWT",
        "kid": made.kid,
        "jku": "https://us.example.org",
    }
    assert jwt.decode(token, jwt.PyJWK(published), algorithms=[algorithm]) == {"iss": "us"}


def test_the_file_is_for_its_owner_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.jwk"
    generate_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        generate_signing_key(path)
    assert path.read_bytes() == before


def test_a_pem_is_named_by_its_thumbprint(tmp_path: Path) -> None:
    path = tmp_path / "key.jwk"
    made = generate_signing_key(path)
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        made.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert load_signing_key(pem).kid == made.kid


def test_the_thumbprint_is_that_of_rfc_7638(tmp_path: Path) -> None:
    made = generate_signing_key(tmp_path / "key.jwk")
    import base64
    import hashlib

    text = '{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}'.format(**made.public_jwk)
    digest = hashlib.sha256(text.encode()).digest()
    assert made.kid == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _pem(key: object) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


UNFIT = {
    "empty": b"",
    "not-json": b"{",
    "no-key": b"{}",
    "list": b"[]",
    "symmetric": b'{"kty": "oct", "k": "c2VjcmV0"}',
    "p256": _pem(ec.generate_private_key(ec.SECP256R1())),
    "ed25519": _pem(ed25519.Ed25519PrivateKey.generate()),
    "rsa-1024": _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - meant
    "broken-pem": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("kind", UNFIT)
def test_an_unfit_key_is_one_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(UNFIT[kind])
    with pytest.raises(UnfitKey):
        load_signing_key(path)


def test_a_public_key_signs_nothing(tmp_path: Path) -> None:
    made = generate_signing_key(tmp_path / "key.jwk")
    path = tmp_path / "public.jwk"
    path.write_text(json.dumps(made.public_jwk))
    with pytest.raises(UnfitKey):
        load_signing_key(path)


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfitKey):
        generate_signing_key(tmp_path / "key", "HS256")


def test_the_key_is_not_in_its_repr(tmp_path: Path) -> None:
    made = generate_signing_key(tmp_path / "key.jwk")
    assert "private" not in repr(made)


def test_our_public_keys_are_published_without_authentication(tmp_path: Path) -> None:
    at = site()
    generate_signing_key(tmp_path / "key.jwk")
    at.extra["signing_keys"] = KeyFile(tmp_path / "key.jwk").published
    answer = at.client().get("/.well-known/jwks.json")
    (key,) = answer.get_json()["keys"]
    assert PRIVATE.isdisjoint(key)
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
