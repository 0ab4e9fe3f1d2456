"""Orders in an envelope that Redis can neither read nor change.

What a job needs to know (study UID, references) is personal data, so it is encrypted with a key
that is not in Redis; the whole JSON carries a MAC made with another key and checked before
anything is read. All keys come from the site secret through HKDF, one for each use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cds_service.queue.errors import PayloadTooLarge, TamperedPayload

VERSION = 1
PAYLOAD_BYTES = 4096
"""The most that a sealed order may take in Redis."""

NONCE_BYTES = 12


@dataclass(frozen=True)
class SealedOrder:
    """What was in the envelope: the study's opaque id and the order."""

    study: str
    order: dict[str, Any]


@dataclass(frozen=True)
class _Keys:
    seal: bytes
    mac: bytes
    study: bytes
    record: bytes


def _derive(secret: bytes) -> _Keys:
    def key(use: str) -> bytes:
        hkdf = HKDF(hashes.SHA256(), length=32, salt=None, info=f"scanhook queue {use} 1".encode())
        return hkdf.derive(secret)

    return _Keys(key("seal"), key("mac"), key("study"), key("record"))


class Sealer:
    """Seals and opens orders, and makes the opaque ids.

    Args:
        secrets: the site secrets, newest first: the first seals and makes ids, all of them open.
        entropy: bytes of randomness for the nonce.
    """

    def __init__(
        self, secrets: Sequence[bytes] | bytes, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        several = [secrets] if isinstance(secrets, bytes) else list(secrets)
        if not several or any(len(secret) < 16 for secret in several):
            raise ValueError("a site secret of at least 16 bytes is needed")
        self._keys = [_derive(secret) for secret in several]
        self._entropy = entropy

    def study_key(self, tenant: str, patient_reference: str, study_uid: str) -> str:
        """The opaque id of a study in one chart: 32 hex digits, worth nothing without the secret.

        The patient is part of it: a chart that names another patient's study has no part in what
        is known of that one. `patient_reference` is ``Patient/id``, as in `StudyRef`.
        """
        text = json.dumps([tenant, patient_reference, study_uid]).encode()
        return _mac(self._keys[0].study, text)[:32]

    def seal(self, study: str, order: Mapping[str, Any]) -> str:
        """Put an order into the envelope.

        Raises:
            PayloadTooLarge: above `PAYLOAD_BYTES`; pixels and names have no place in an order.
        """
        keys = self._keys[0]
        nonce = self._entropy(NONCE_BYTES)
        text = json.dumps(order, separators=(",", ":"), allow_nan=False).encode()
        sealed = nonce + AESGCM(keys.seal).encrypt(nonce, text, study.encode())
        body = {"v": VERSION, "study": study, "sealed": base64.urlsafe_b64encode(sealed).decode()}
        payload = json.dumps({**body, "mac": _mac(keys.mac, _canonical(body))})
        if len(payload) > PAYLOAD_BYTES:
            raise PayloadTooLarge(f"the order takes more than {PAYLOAD_BYTES} bytes")
        return payload

    def open(self, payload: str) -> SealedOrder:
        """Check the MAC, then decrypt.

        Raises:
            TamperedPayload: for anything that `seal` did not make, whatever is wrong with it.
        """
        body, mac = _body(payload)
        for keys in self._keys:
            if hmac.compare_digest(mac, _mac(keys.mac, _canonical(body))):
                return SealedOrder(body["study"], _decrypt(keys.seal, body))
        raise TamperedPayload("a payload in the queue does not carry our seal")

    def sign(self, text: bytes) -> str:
        """MAC of a record."""
        return _mac(self._keys[0].record, text)

    def verify(self, text: bytes, mac: str) -> bool:
        """Whether any of the secrets made this MAC of a record."""
        given = mac.encode("utf-8", "replace")
        return any(hmac.compare_digest(_mac(k.record, text).encode(), given) for k in self._keys)


def job_key(study: str, content: str, models: str) -> str:
    """The id of the one job for this content of a study and this set of models (40 hex digits)."""
    return hashlib.sha256(json.dumps([study, content, models]).encode()).hexdigest()[:40]


def _mac(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps([body["v"], body["study"], body["sealed"]]).encode()


def _body(payload: str) -> tuple[dict[str, Any], str]:
    """The parts of an envelope; every malformed one is the same error."""
    try:
        if len(payload) > PAYLOAD_BYTES:
            raise ValueError
        body = json.loads(payload)
        if set(body) != {"v", "study", "sealed", "mac"} or body["v"] != VERSION:
            raise ValueError
        mac = body.pop("mac")
        if not all(isinstance(value, str) and value.isascii() for value in (mac, body["study"])):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise TamperedPayload("a payload in the queue has not our form") from None
    return body, mac


def _decrypt(key: bytes, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        raw = base64.urlsafe_b64decode(body["sealed"])
        text = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], body["study"].encode())
        order = json.loads(text)
        if not isinstance(order, dict):
            raise TypeError
    except (InvalidTag, ValueError, TypeError):
        raise TamperedPayload("a payload in the queue cannot be decrypted") from None
    return order
