"""Whose studies are under way, so that one tenant's flood does not shut the others out.

``cds:owners`` holds the id of each open record, scored by a number that stands for its tenant: one
look-up says how many a tenant has. ``cds:refused`` counts by that number what was not accepted.
Both are written by the script that writes the record (see `records`). What is prepared of the past
is nobody's, so that no tenant's own backfill takes the place of its clinicians.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from cds_service.queue.errors import redis_reached

OWNERS, REFUSED = "cds:owners", "cds:refused"


NOBODY = 0


@dataclass(frozen=True)
class Share:
    """What must hold for one more study: its `owner` (a tenant's number) has fewer than `own` under
    way, or fewer than `most` are under way at all."""

    owner: int
    own: int
    most: int


def number_of(tenant: str) -> int:
    """A number for a name: 48 bits, which a score (a double) holds exactly."""
    return int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:6])


@dataclass(frozen=True)
class TenantLoad:
    """One tenant's studies, without backfill: how many are under way, how many were refused."""

    tenant: str
    under_way: int
    refused: int


def tenant_loads(connection: Redis, tenants: Sequence[str]) -> list[TenantLoad]:
    """How much of the queue each of them has. Raises QueueUnavailable."""
    numbers = [number_of(tenant) for tenant in tenants]
    with redis_reached(), connection.pipeline(transaction=False) as pipeline:
        for number in numbers:
            pipeline.zcount(OWNERS, number, number)
            pipeline.hget(REFUSED, str(number))
        found = pipeline.execute()
    counts = zip(tenants, found[0::2], found[1::2], strict=True)
    return [TenantLoad(tenant, int(held), int(refused or 0)) for tenant, held, refused in counts]


def trim_owners(connection: Redis, open_index: str) -> None:
    """Forget the owner of what is not open any more: a process of an older version ended it, or
    its record is gone."""
    with redis_reached():
        connection.zinterstore(OWNERS, {OWNERS: 1, open_index: 0})
