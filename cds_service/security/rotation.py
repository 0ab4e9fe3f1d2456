"""Rotate the signing keys of a file: under a lock, whole or not at all, for its owner alone."""

from __future__ import annotations

import fcntl
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cds_service.security.errors import RotationRefused
from cds_service.security.keyring import (
    LEAD_S,
    PUBLISHED_MAX_AGE_S,
    KeyRing,
    load_key_ring,
    new_key_like,
    only,
    ring_text,
)
from cds_service.security.keys import OTHERS_READ


@dataclass(frozen=True)
class Rotated:
    """What a rotation did: `kid` signs from `signs_from_s` (epoch s; 0: now).

    `read_by_others` says that the file may be read by others than its owner, as before.
    """

    ring: KeyRing
    kid: str
    signs_from_s: float
    read_by_others: bool


def rotate(
    path: Path,
    now_s: float,
    *,
    algorithm: str = "",
    lead_s: float = LEAD_S,
    at_once: bool = False,
) -> Rotated:
    """Put a new key beside the present one; or, `at_once`, in its place.

    The new key is published now and signs after `lead_s`; the present one is published for
    `KEPT_S` longer. `at_once` is for a key that may be in other hands: it is not published for
    another second, and until the EHR asks for our key set again it accepts nothing that we sign.

    Raises:
        RotationRefused: another rotation has not ended; or `lead_s` is shorter than copies of our
            key set may be kept.
        UnfitKey: the file cannot be read, or the algorithm is another one than ES384 and RS384.
        OSError: the file cannot be replaced; it is as it was.
    """
    if lead_s < PUBLISHED_MAX_AGE_S and not at_once:
        raise RotationRefused(
            f"A key may sign {PUBLISHED_MAX_AGE_S} s after it is published, and not sooner:"
            " EHRs may keep our key set for so long."
        )
    path, begins_s = path.resolve(), 0 if at_once else math.ceil(now_s + lead_s)
    with _alone(path):
        before = load_key_ring(path)
        if before.waiting(now_s) is not None and not at_once:
            raise RotationRefused("A new key is published already and does not sign yet.")
        new = new_key_like(before, now_s, algorithm)
        ring = only(new) if at_once else before.followed_by(new, begins_s, now_s)
        open_to_others = _replace(path, ring_text(ring))
    return Rotated(ring, new.kid, begins_s, open_to_others)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other rotation of this file at the same time; the system ends the lock of a dead one."""
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RotationRefused("Another rotation of this file is going on.") from None
    finally:
        os.close(lock)


def _replace(path: Path, text: str) -> bool:
    """Write the file anew under its owner; whether others than the owner may read it.

    It is 600 from its first moment. Only a file whose owner had opened it to others (a container
    that reads it under an id of its own) is opened so again.
    """
    stood = path.stat()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            if (stood.st_uid, stood.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), stood.st_uid, stood.st_gid)
            os.fchmod(file.fileno(), 0o600 | (stood.st_mode & OTHERS_READ))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync(path.parent)
    return bool(stood.st_mode & OTHERS_READ)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
