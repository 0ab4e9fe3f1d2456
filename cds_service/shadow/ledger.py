"""How often a model's two precisions disagreed, kept in Redis, and which models fell back for it.

Of each model version ``cds:shadow:recent:<name>`` holds the last runs, newest first (``=`` for an
agreement, else ``!`` and the label that was stated), ``cds:shadow:totals:<name>`` the counts since
the data began. ``cds:shadow:fallen`` names the models that run in fp32 until an operator clears
them, ``cds:shadow:models`` those that were ever compared. Nothing here is about a study or a
person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from redis import Redis

from cds_service.queue.connection import text_of
from cds_service.queue.errors import redis_reached
from inference.shadow import Disagreement, Window

MODELS, FALLEN = "cds:shadow:models", "cds:shadow:fallen"
RECENT, TOTALS, COUNTED = "cds:shadow:recent:{}", "cds:shadow:totals:{}", "cds:shadow:counted:{}:{}"

RUNS = Window().size
"""The runs that a share of disagreement is taken over."""

COUNTED_S = 7 * 86_400
"""A run that is repeated within this time is not counted twice."""

_AGREED, _DIFFERED = "=", "!"

# KEYS counted recent totals models
# ARGV "=" or "!label", label runs counted-s name
_NOTE = """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[4]) then
  redis.call('SADD', KEYS[4], ARGV[5])
  redis.call('LPUSH', KEYS[2], ARGV[1])
  redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
  redis.call('HINCRBY', KEYS[3], 'seen:' .. ARGV[2], 1)
  if ARGV[1] ~= '=' then redis.call('HINCRBY', KEYS[3], 'disagreed:' .. ARGV[2], 1) end
end
return redis.call('LRANGE', KEYS[2], 0, -1)
"""


@dataclass(frozen=True, order=True)
class ModelName:
    """One version of one model."""

    id: str
    version: str

    @property
    def key(self) -> str:
        """As it stands in Redis: unambiguous whatever the two parts hold."""
        return json.dumps([self.id, self.version])

    @classmethod
    def of(cls, key: bytes | str) -> ModelName | None:
        """The inverse of `key`; None for what is not ours."""
        try:
            model_id, version = json.loads(key)
        except (ValueError, TypeError):
            return None
        return cls(str(model_id), str(version))

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.id} {self.version}"


@dataclass(frozen=True)
class Watched:
    """What the shadow runs of one model version have shown.

    `recent` and `recent_disagreed` are over the last `RUNS`; `seen` and `disagreed` are by label
    since the data began. `fallen_since_s` is Redis TIME in seconds, None while the model runs in
    the precision that was chosen.
    """

    name: ModelName
    recent: int = 0
    recent_disagreed: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    disagreed: Mapping[str, int] = field(default_factory=dict)
    fallen_since_s: int | None = None

    @property
    def share(self) -> float:
        """Disagreements among the recent runs, 0 to 1."""
        return self.recent_disagreed / self.recent if self.recent else 0.0

    @property
    def sentence(self) -> str:
        """For an operator."""
        said = f"{self.recent_disagreed} of the last {self.recent} shadow runs disagreed"
        return f"runs in fp32, because {said}" if self.fallen_since_s is not None else said


class ShadowLedger:
    """Counts shadow runs and holds the flags that make every worker fall back.

    Every method raises QueueUnavailable when Redis does not answer.
    """

    def __init__(self, connection: Redis) -> None:
        self._redis = connection
        self._note = connection.register_script(_NOTE)

    def note(self, run: str, seen: Disagreement, limit: float) -> bool:
        """Count one comparison; whether this one made the model fall back.

        Args:
            run: opaque name of the run; a model is counted once in each.
            seen: what was compared.
            limit: share of disagreement (0 to 1) above which the model falls back.
        """
        name = ModelName(seen.model_id, seen.model_version)
        said = f"{_DIFFERED}{seen.label}" if seen.differs else _AGREED
        with redis_reached():
            recent = self._note(
                keys=[
                    COUNTED.format(run, name.key),
                    RECENT.format(name.key),
                    TOTALS.format(name.key),
                    MODELS,
                ],
                args=[said, seen.label, RUNS, COUNTED_S, name.key],
            )
            differs = [each != _AGREED.encode() for each in reversed(recent)]
            if not Window(limit, RUNS).judge(differs).fall_back:
                return False
            seconds, _ = self._redis.time()
            return bool(self._redis.hsetnx(FALLEN, name.key, int(seconds)))

    def fallen(self) -> frozenset[ModelName]:
        """The models that every worker must run in fp32."""
        with redis_reached():
            keys = self._redis.hkeys(FALLEN)
        return frozenset(name for key in keys if (name := ModelName.of(key)) is not None)

    def watched(self) -> tuple[Watched, ...]:
        """What is known of every model that was ever compared, by id and version."""
        with redis_reached():
            fallen = self._redis.hgetall(FALLEN)
            since = {ModelName.of(key): int(text_of(at)) for key, at in fallen.items()}
            found = {ModelName.of(key) for key in self._redis.smembers(MODELS)} | since.keys()
            names = sorted(name for name in found if name is not None)
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.lrange(RECENT.format(name.key), 0, RUNS - 1)
                    pipeline.hgetall(TOTALS.format(name.key))
                rows = pipeline.execute()
        return tuple(
            _watched(name, recent, totals, since.get(name))
            for name, recent, totals in zip(names, rows[0::2], rows[1::2], strict=True)
        )

    def clear(self, model_id: str) -> tuple[ModelName, ...]:
        """Let the versions of a model run in the chosen precision again, and forget their recent
        runs (they would make it fall again at once); those that had fallen.

        The totals stay.
        """
        names = [each.name for each in self.watched() if each.name.id == model_id]
        fallen = self.fallen()
        with redis_reached(), self._redis.pipeline() as pipeline:
            for name in names:
                pipeline.hdel(FALLEN, name.key)
                pipeline.delete(RECENT.format(name.key))
            pipeline.execute()
        return tuple(name for name in names if name in fallen)


def _watched(
    name: ModelName, recent: list[bytes], totals: Mapping[bytes, bytes], since_s: int | None
) -> Watched:
    counts = {text_of(key): int(text_of(value)) for key, value in totals.items()}
    return Watched(
        name=name,
        recent=len(recent),
        recent_disagreed=sum(each != _AGREED.encode() for each in recent),
        seen=_under("seen:", counts),
        disagreed=_under("disagreed:", counts),
        fallen_since_s=since_s,
    )


def _under(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {k.removeprefix(prefix): n for k, n in sorted(counts.items()) if k.startswith(prefix)}
