"""What became of each study's evidence, in Redis: ``cds:evidence:<study>``, kept like the record.

Opaque ids, kinds of object and of failure; nothing of a patient, no UID.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from redis import Redis

from cds_service.queue.errors import redis_reached
from cds_service.queue.records import KEEP_S

EVIDENCE = "cds:evidence:{}"


@dataclass(frozen=True)
class Told:
    """What became of one study's evidence: how many objects ended how, and why not all are there.

    `kinds` are those of errors and refusals (see `clients.errors`, `inference.errors`).
    """

    stored: int = 0
    refused: int = 0
    failed: int = 0
    kinds: tuple[str, ...] = ()
    under_way: bool = False

    @property
    def words(self) -> str:
        """For an operator's table."""
        if self.under_way:
            return "being stored"
        counts = (("stored", self.stored), ("refused", self.refused), ("failed", self.failed))
        said = ", ".join(f"{count} {what}" for what, count in counts if count) or "failed"
        return f"{said} ({', '.join(self.kinds)})" if self.kinds else said


UNDER_WAY = Told(under_way=True)


class EvidenceLedger:
    """Reads and writes what became of evidence. Raises QueueUnavailable."""

    def __init__(self, connection: Redis, keep_s: int = KEEP_S) -> None:
        self._redis = connection
        self._keep_s = keep_s

    def tell(self, study: str, told: Told) -> None:
        """Replace what was told of a study."""
        with redis_reached():
            self._redis.set(EVIDENCE.format(study), json.dumps(asdict(told)), ex=self._keep_s)

    def told(self, studies: Sequence[str]) -> dict[str, Told]:
        """What was told of these studies; one whose evidence was never asked for is not there."""
        if not studies:
            return {}
        with redis_reached():
            found = self._redis.mget([EVIDENCE.format(study) for study in studies])
        read = {study: _read(text) for study, text in zip(studies, found, strict=True) if text}
        return {study: told for study, told in read.items() if told is not None}


def _read(text: bytes | str) -> Told | None:
    """An entry; one of another shape says nothing."""
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    if not isinstance(entry, Mapping):
        return None
    counts = (entry.get(name) for name in ("stored", "refused", "failed"))
    stored, refused, failed = (c if isinstance(c, int) else 0 for c in counts)
    return Told(stored, refused, failed, _kinds(entry.get("kinds")), bool(entry.get("under_way")))


def _kinds(found: object) -> tuple[str, ...]:
    kinds: Iterable[object] = found if isinstance(found, list) else ()
    return tuple(str(kind)[:40] for kind in kinds)
