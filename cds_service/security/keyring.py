"""The signing keys of one file over time: which is published, which signs, which has been.

The file holds one key (JWK or PEM), as `scanhook keys new` makes it, or after a rotation a JWK set
whose members say when: ``nbf``, from when a key signs, and ``exp``, until when it is published
(epoch seconds; both registered for JWKs). So every process that reads the file agrees, without a
word between them: a new key is published first, signs when every copy of our key set can have it,
and the one before stays published until nothing that it signed is good any more.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cds_service.security.errors import UnfitKey
from cds_service.security.keys import UNREADABLE, SigningKey, new_signing_key, signing_key

_log = logging.getLogger(__name__)

PUBLISHED_MAX_AGE_S = 3600
"""How long others may keep a copy of our key set (``Cache-Control`` of its answer)."""

LONGEST_ASSERTION_S = 300
"""The specification's limit (SMART App Launch 2.2, Asymmetric Authentication)."""

LONGEST_TOKEN_S = 3600
"""No access token is used for longer, whatever the server says."""

LEAD_S = 2 * PUBLISHED_MAX_AGE_S
"""From the publication of a new key to its first signature."""

KEPT_S = LONGEST_TOKEN_S + LONGEST_ASSERTION_S
"""From the last signature of a key to the end of its publication."""


@dataclass(frozen=True)
class DatedKey:
    """A key, from when it signs and until when it is published (epoch s; None: no end)."""

    key: SigningKey
    signs_from_s: float = 0
    published_until_s: float | None = None

    def published(self, now_s: float) -> bool:
        """Whether its public half is in our key set."""
        return self.published_until_s is None or now_s < self.published_until_s


@dataclass(frozen=True)
class KeyRing:
    """The keys of one file; at least one, and one without an end."""

    keys: tuple[DatedKey, ...]

    def published(self, now_s: float) -> tuple[SigningKey, ...]:
        """What our key set shows."""
        return tuple(dated.key for dated in self.keys if dated.published(now_s))

    def signing(self, now_s: float) -> SigningKey:
        """The newest key that has begun; a clock that is behind gets the oldest there is."""
        begun = [dated for dated in self._living(now_s) if dated.signs_from_s <= now_s]
        if begun:
            return max(begun, key=lambda dated: dated.signs_from_s).key
        return min(self._living(now_s), key=lambda dated: dated.signs_from_s).key

    def waiting(self, now_s: float) -> DatedKey | None:
        """The key that is published and does not sign yet."""
        return next((dated for dated in self.keys if dated.signs_from_s > now_s), None)

    def followed_by(self, new: SigningKey, signs_from_s: float, now_s: float) -> KeyRing:
        """With a new key; the present ones end `KEPT_S` after it begins, past ones are gone."""
        end_s = signs_from_s + KEPT_S
        kept = (
            replace(dated, published_until_s=min(dated.published_until_s or end_s, end_s))
            for dated in self._living(now_s)
        )
        return KeyRing((*kept, DatedKey(new, signs_from_s)))

    def _living(self, now_s: float) -> tuple[DatedKey, ...]:
        return tuple(dated for dated in self.keys if dated.published(now_s))


def only(key: SigningKey) -> KeyRing:
    """A ring of one key that always was and has no end."""
    return KeyRing((DatedKey(key),))


def new_key_like(ring: KeyRing, now_s: float, algorithm: str = "") -> SigningKey:
    """A new key of the algorithm, by default that of the one that signs now."""
    return new_signing_key(algorithm or ring.signing(now_s).algorithm)


def load_key_ring(path: Path) -> KeyRing:
    """Read the file: a JWK set with dates, one JWK, or a PEM.

    Raises:
        UnfitKey: it cannot be read, a key in it is unfit, or all of them end.
    """
    try:
        text = path.read_bytes()
        found = text if text.lstrip()[:1] == b"-" else json.loads(text)
    except (OSError, ValueError):
        raise UnfitKey(UNREADABLE) from None
    if not isinstance(found, dict) or "keys" not in found:
        return only(signing_key(found))
    members = found["keys"] if isinstance(found["keys"], list) else []
    keys = tuple(_dated(member) for member in members)
    if not any(dated.published_until_s is None for dated in keys):
        raise UnfitKey("The file of signing keys has no key that goes on.")
    return KeyRing(keys)


def ring_text(ring: KeyRing) -> str:
    """The ring as a JWK set with its private members: for its file alone."""
    return json.dumps({"keys": [_member(dated) for dated in ring.keys]})


def _member(dated: DatedKey) -> Mapping[str, Any]:
    end = {} if dated.published_until_s is None else {"exp": int(dated.published_until_s)}
    return {**dated.key.private_jwk, "nbf": int(dated.signs_from_s), **end}


def _dated(member: object) -> DatedKey:
    if not isinstance(member, dict):
        raise UnfitKey(UNREADABLE)
    begins, ends = member.get("nbf", 0), member.get("exp")
    if type(begins) is not int or type(ends) not in (int, type(None)):
        raise UnfitKey("A signing key has a date that is no whole number of seconds.")
    return DatedKey(signing_key(member), begins, ends)


class KeyFile:
    """The keys of a file as it is now: read again when it changes, so that nothing is restarted.

    A file that cannot be read any more leaves the keys as they were, and is told to the log once.

    Raises:
        UnfitKey: when it is made, if the file cannot be read then.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.time) -> None:
        self._path, self._clock_s = path, clock_s
        self._lock = threading.Lock()
        self._seen = _state(path)
        self._ring = load_key_ring(path)

    def signing(self) -> SigningKey:
        """The key that signs now."""
        return self._present().signing(self._clock_s())

    def published(self) -> tuple[SigningKey, ...]:
        """The keys whose public halves are published now."""
        return self._present().published(self._clock_s())

    def _present(self) -> KeyRing:
        with self._lock:
            state = _state(self._path)
            if state != self._seen:
                self._seen = state
                try:
                    self._ring = load_key_ring(self._path)
                except UnfitKey:
                    _log.error("a signing key file cannot be read; the keys from before go on")
            return self._ring


def _state(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns)
