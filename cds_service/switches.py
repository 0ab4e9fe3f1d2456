"""The kill switch of each model: thrown by an operator, obeyed from the next hook on.

One entry of ``cds:models:disabled`` in Redis for each model that is out of use, read by the web at
each hook and by the worker before each study; nothing has to start again. The entries carry no MAC
on purpose: a switch that is obeyed though nobody meant it costs cards, one that is passed over
because a secret was changed costs more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached

DISABLED = "cds:models:disabled"

Disabled = Callable[[], frozenset[str]]
"""The ids of the models that are out of use now. Raises QueueUnavailable."""


class ModelSwitches:
    """Reads and throws the switches. Raises QueueUnavailable when Redis does not answer."""

    def __init__(self, connection: Redis) -> None:
        self._redis = connection

    def disabled(self) -> frozenset[str]:
        """The ids of the models that are switched off."""
        return frozenset(self.since())

    def since(self) -> Mapping[str, int]:
        """The models that are switched off, each since when: Redis TIME in seconds."""
        with redis_reached():
            return switched_off(self._redis.hgetall(DISABLED))

    def disable(self, model_id: str) -> bool:
        """Switch a model off; whether it was on."""
        with redis_reached():
            seconds, _ = self._redis.time()
            return bool(self._redis.hsetnx(DISABLED, model_id, int(seconds)))

    def enable(self, model_id: str) -> bool:
        """Switch a model on again; whether it was off."""
        with redis_reached():
            return bool(self._redis.hdel(DISABLED, model_id))


def switched_off(entries: Mapping[Any, Any]) -> Mapping[str, int]:
    """The switches in what lies under `DISABLED`."""
    return {text_of(model_id): _number(at) for model_id, at in entries.items()}


def _number(value: bytes | str) -> int:
    """0 for what is no number: a switch counts, whatever was written beside it."""
    text = text_of(value)
    return int(text) if text.isascii() and text.isdigit() else 0
