"""What the workers say of their models: in which precision each serves, and which does not.

One entry of ``cds:serving`` in Redis for each machine, written when its worker has loaded the
models. The web process loads none, so this is how ``/readyz`` and ``scanhook models`` know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from redis import Redis

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached
from cds_service.shadow.ledger import ModelName, Watched

SERVING = "cds:serving"

SWITCHED_OFF = "switched off: not run, and on no card"

FORGOTTEN_S = 7 * 86_400
"""The entry of a machine that told nothing for so long is removed by the next that does."""


@dataclass(frozen=True)
class Served:
    """One model on one machine: its precision and why, or "" and why it does not serve."""

    name: ModelName
    precision: str
    reason: str


class ServingBoard:
    """Reads and writes what machines say. Raises QueueUnavailable when Redis does not answer."""

    def __init__(self, connection: Redis, clock_s: Callable[[], float] = time.time) -> None:
        self._redis = connection
        self._clock_s = clock_s

    def tell(self, host: str, served: Iterable[Served]) -> None:
        """Replace what this machine said before."""
        rows = [[s.name.id, s.name.version, s.precision, s.reason] for s in served]
        now_s = int(self._clock_s())
        with redis_reached():
            entries = self._redis.hgetall(SERVING)
            old = [key for key, text in entries.items() if _told_s(text) < now_s - FORGOTTEN_S]
            with self._redis.pipeline() as pipeline:
                if old:
                    pipeline.hdel(SERVING, *old)
                pipeline.hset(SERVING, host, json.dumps({"told_s": now_s, "models": rows}))
                pipeline.execute()

    def heard(self, hosts: Collection[str]) -> dict[str, tuple[Served, ...]]:
        """What these machines said, by their name."""
        with redis_reached():
            entries = self._redis.hgetall(SERVING)
        texts = {text_of(key): text for key, text in entries.items()}
        return {host: _served(texts[host]) for host in sorted(set(hosts) & texts.keys())}


def standing(
    names: Iterable[ModelName],
    heard: Mapping[str, Collection[Served]],
    watched: Iterable[Watched] = (),
    disabled: Set[str] = frozenset(),
) -> dict[str, str]:
    """A sentence for each model in use, by its name: how it serves, and what watching it showed.

    Of one whose id is among `disabled` only that is said.
    """
    shadows = {each.name: each for each in watched}
    return {
        str(name): SWITCHED_OFF
        if name.id in disabled
        else _standing(name, heard, shadows.get(name))
        for name in names
    }


def _standing(
    name: ModelName, heard: Mapping[str, Collection[Served]], watched: Watched | None
) -> str:
    found = [each for served in heard.values() for each in served if each.name == name]
    said = [
        f"serves in {each.precision}" if each.precision else f"not served: {each.reason}"
        for each in found
    ]
    if watched is not None and watched.recent:
        said.append(watched.sentence)
    return "; ".join(dict.fromkeys(said)) or "no worker has said anything of it yet"


def not_served(heard: Mapping[str, Collection[Served]]) -> tuple[Served, ...]:
    """The models that some machine does not serve, each with the reason."""
    return tuple(
        dict.fromkeys(each for served in heard.values() for each in served if not each.precision)
    )


def _served(text: bytes | str) -> tuple[Served, ...]:
    return tuple(
        Served(ModelName(str(model_id), str(version)), str(precision), str(reason))
        for model_id, version, precision, reason in _entry(text).get("models", ())
    )


def _told_s(text: bytes | str) -> float:
    told = _entry(text).get("told_s", 0)
    return float(told) if isinstance(told, int | float) else 0.0


def _entry(text: bytes | str) -> dict[str, Any]:
    """An entry; one that another version of scanhook wrote says nothing."""
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
