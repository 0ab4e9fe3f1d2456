"""Links to explanations: short-lived and signed on a card, permanent and powerless in a record.

A card's link is opened minutes later in a browser that has no session with us, so it carries its
own proof. A report's link stays in the record for years, so it carries none (CDS Hooks 2.0.1,
Link; the secret of a URL ends in logs and histories).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LAUNCH_PATH = "/smart/launch"

_ID = re.compile(r"(?:[0-9a-f]{2}){16,32}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{100,122}")
_EXPLANATION, _STATUS = b"\x01", b"\x02"  # what a token opens
_KEY_ID, _EXPIRY, _STUDY, _MAC = 4, 6, 16, 32  # bytes of each field; the explanation id is between
_PURPOSE = b"scanhook explanation link 1: "


@dataclass(frozen=True)
class OpenedLink:
    """What a valid token says: which explanation, for which study, until when (epoch seconds)."""

    explanation_id: str
    study_tag: bytes
    expires_s: int
    key_id: bytes


@dataclass(frozen=True)
class _Key:
    key_id: bytes
    signing: bytes
    studies: bytes

    @classmethod
    def of(cls, secret: str | bytes) -> _Key:
        raw = secret.encode() if isinstance(secret, str) else secret
        if not raw:
            raise ValueError("a site secret is empty")

        def derived(label: bytes) -> bytes:
            return HKDF(SHA256(), length=32, salt=None, info=_PURPOSE + label).derive(raw)

        return cls(derived(b"key id")[:_KEY_ID], derived(b"signature"), derived(b"study"))

    def mac(self, signed: bytes) -> bytes:
        return hmac.digest(self.signing, signed, sha256)

    def tag(self, study_key: str) -> bytes:
        return hmac.digest(self.studies, study_key.encode(), sha256)[:_STUDY]


class Links:
    """Makes and opens links; the first of `secrets` signs, every one of them opens.

    The token is base64url of what it opens, key id, expiry, study tag, opaque id and HMAC-SHA256.
    The tag stands for the study without naming it: it is keyed, so nobody can try UIDs on it.
    """

    def __init__(self, secrets: Sequence[str | bytes], base_url: str, lifetime_s: int) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise ValueError("the base URL of links is an absolute http(s) URL without a query")
        if not secrets:
            raise ValueError("links need a site secret")
        self._keys = tuple(_Key.of(secret) for secret in secrets)
        self._base_url = base_url.rstrip("/")
        self._lifetime_s = lifetime_s

    @property
    def base_path(self) -> str:
        """The path under which we are reached: empty, or starting with a slash."""
        return urlsplit(self._base_url).path

    @property
    def launch_url(self) -> str:
        """Where an EHR launches the explanation as a SMART app: the same for every study."""
        return f"{self._base_url}{LAUNCH_PATH}"

    def explanation_url(self, explanation_id: str, study_key: str, now_s: float) -> str:
        """The link of a card: opens this explanation for as long as links live.

        Raises:
            ValueError: the id is not 32 to 64 hex digits.
        """
        return f"{self._base_url}/e/{self._token(_EXPLANATION, explanation_id, study_key, now_s)}"

    def status_url(self, study_key: str, now_s: float) -> str:
        """The link of a card whose study is not ready: shows how far its analysis is.

        Raises:
            ValueError: the key is not 32 to 64 hex digits.
        """
        return f"{self._base_url}/s/{self._token(_STATUS, study_key, study_key, now_s)}"

    def _token(self, kind: bytes, opaque_id: str, study_key: str, now_s: float) -> str:
        key = self._keys[0]
        signed = b"".join(
            (
                kind,
                key.key_id,
                (int(now_s) + self._lifetime_s).to_bytes(_EXPIRY, "big"),
                key.tag(study_key),
                bytes.fromhex(_checked(opaque_id)),
            )
        )
        return _encoded(signed + key.mac(signed))

    def permanent_url(self, explanation_id: str) -> str:
        """The link of a record: never expires, opens nothing by itself, and holds no secret."""
        return f"{self._base_url}/explanations/{_checked(explanation_id)}"

    def model_card_url(self, model_id: str, version: str) -> str:
        """The page of a model's card."""
        named = "/".join(quote(part, safe="", errors="replace") for part in (model_id, version))
        return f"{self._base_url}/models/{named}"

    def open(self, token: str, now_s: float) -> OpenedLink | None:
        """What the token says, or ``None``: changed, expired, of another key or another kind."""
        return self._opened(_EXPLANATION, token, now_s)

    def open_status(self, token: str, now_s: float) -> str | None:
        """The key of the study whose status the token shows, or ``None`` as `open`."""
        opened = self._opened(_STATUS, token, now_s)
        return opened.explanation_id if opened else None

    def _opened(self, kind: bytes, token: str, now_s: float) -> OpenedLink | None:
        raw = _decoded(token)
        if raw is None or raw[:1] != kind:
            return None
        signed, mac = raw[:-_MAC], raw[-_MAC:]
        key = next((k for k in self._keys if k.key_id == raw[1 : 1 + _KEY_ID]), None)
        if key is None or not hmac.compare_digest(key.mac(signed), mac):
            return None
        fields = signed[1 + _KEY_ID :]
        expires_s = int.from_bytes(fields[:_EXPIRY], "big")
        if now_s >= expires_s:
            return None
        tag, explanation = fields[_EXPIRY : _EXPIRY + _STUDY], fields[_EXPIRY + _STUDY :]
        return OpenedLink(explanation.hex(), tag, expires_s, key.key_id)

    def concerns(self, opened: OpenedLink, study_key: str) -> bool:
        """Whether the link was made for this study."""
        key = next((k for k in self._keys if k.key_id == opened.key_id), None)
        return key is not None and hmac.compare_digest(key.tag(study_key), opened.study_tag)


def _checked(explanation_id: str) -> str:
    if _ID.fullmatch(explanation_id) is None:
        raise ValueError("an explanation id is 32 to 64 hex digits")
    return explanation_id


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(token: str) -> bytes | None:
    """The bytes of a token in its one spelling: the last character may have bits that count for
    nothing, and a spelling in which they are set is refused."""
    if _TOKEN.fullmatch(token) is None or len(token) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return raw if hmac.compare_digest(_encoded(raw), token) else None
