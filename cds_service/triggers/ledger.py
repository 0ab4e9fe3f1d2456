"""How far each source has been followed, in Redis: watermarks, cursors and event numbers.

``cds:follow:<name>`` holds one short text, and nothing of a patient: a time of a FHIR server, a
day, a number. It survives a restart, and a source that was silent for long is begun anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from redis import Redis

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached

FOLLOW = "cds:follow:{}"
KEEP_S = 400 * 86_400
CHARACTERS = 64


@dataclass(frozen=True)
class FollowLedger:
    """Reads and writes how far we are. Raises QueueUnavailable when Redis does not answer."""

    connection: Redis

    def reached(self, *name: str) -> str:
        """How far the source of this name was followed; empty if it never was."""
        with redis_reached():
            found = self.connection.get(_key(name))
        text = text_of(found or "")
        return text if len(text) <= CHARACTERS else ""

    def reach(self, mark: str, *name: str) -> None:
        """Note how far the source was followed: only after everything before it was given on."""
        with redis_reached():
            self.connection.set(_key(name), mark[:CHARACTERS], ex=KEEP_S)

    def events(self, *subscription: str) -> int | None:
        """The number that the events of a Subscription have reached."""
        found = self.reached("events", *subscription)
        return int(found) if found.isascii() and found.isdigit() else None

    def event(self, number: int, *subscription: str) -> None:
        """Note an event number."""
        self.reach(str(number), "events", *subscription)

    def heard_s(self, tenant: str) -> float | None:
        """When a tenant's FHIR server last spoke of its Subscription, epoch seconds."""
        found = self.reached("heard", tenant)
        return float(found) if found.isascii() and found.isdigit() else None

    def hear(self, now_s: float, tenant: str) -> None:
        """Note that it spoke."""
        self.reach(str(int(now_s)), "heard", tenant)

    def forget(self, *name: str) -> None:
        """Begin this source anew."""
        with redis_reached():
            self.connection.delete(_key(name))


def _key(name: tuple[str, ...]) -> str:
    """Hashed: a name may be what somebody else wrote."""
    return FOLLOW.format(hashlib.sha256("\n".join(name).encode()).hexdigest()[:32])
