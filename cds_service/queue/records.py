"""The study records in Redis, written by compare-and-set through one Lua script.

Keys: ``cds:study:<id>`` (the record), ``cds:open`` (ids of open records, scored by the time at
which a reconciler should look at them), ``cds:ended`` and ``cds:failed`` (ids by time of ending),
``cds:counts`` (what went wrong how often); see `shares` for who has how many. All times are Redis
TIME.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from cds_service.queue.connection import text_of
from cds_service.queue.errors import QueueFull, StaleRecord, TamperedPayload, redis_reached
from cds_service.queue.payload import Sealer
from cds_service.queue.shares import OWNERS, REFUSED, Share
from cds_service.queue.state import (
    State,
    StudyRecord,
    check_step,
    from_fields,
    signed_text,
    to_fields,
)

OPEN, ENDED, FAILED, COUNTS = "cds:open", "cds:ended", "cds:failed", "cds:counts"
RECORD = "cds:study:{}"

LOOK_AGAIN_S = 30.0
"""An open record is looked at after so long without news."""

FIRST_LOOK_S = 5.0
"""The same for a new record, whose sender may have died before the job was queued."""

KEEP_S = 30 * 86_400
"""How long an ended record answers for its study."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")

_STEP = re.compile(rf"\b({'|'.join(State)}):(\d{{1,15}})\b")

TRIES = 20
"""Compare-and-set is repeated so often when only bystanders (a priority) got in between."""

_NO_ROOM = -2
"""In the place of a revision; how many are under way follows."""

# KEYS record open ended failed owners refused
# ARGV expected-revision id "open"|"ended"|"failed" look-again-ms not-before keep-s
#      owner own most field value ...
# not-before: ms from now, or minus a Redis time in ms that stays
# owner: whose it is if this is an order, which is refused where there is no room (see shares)
_WRITE = """
local stored = redis.call('HGET', KEYS[1], 'revision')
if (stored or '0') ~= ARGV[1] then return {-1, 0, 0, 0} end
if ARGV[7] ~= '' then
  if not redis.call('ZSCORE', KEYS[2], ARGV[2])
    and redis.call('ZCOUNT', KEYS[5], ARGV[7], ARGV[7]) >= tonumber(ARGV[8])
    and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[9]) then
    redis.call('HINCRBY', KEYS[6], ARGV[7], 1)
    return {-2, redis.call('ZCARD', KEYS[2]), 0, 0}
  end
  redis.call('ZADD', KEYS[5], ARGV[7], ARGV[2])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local revision = (tonumber(ARGV[1]) or 0) + 1
local created = tonumber(redis.call('HGET', KEYS[1], 'created_ms') or now) or now
local start = tonumber(ARGV[5])
if start > 0 then start = now + start else start = -start end
local reached = redis.call('HGET', KEYS[1], 'reached') or ''
local last, state = string.match(reached, '(%a+):%d+$'), nil
for i = 10, #ARGV, 2 do if ARGV[i] == 'state' then state = ARGV[i + 1] end end
if state ~= last then
  if state == 'received' then reached = '' end
  reached = reached .. ' ' .. state .. ':' .. string.format('%.0f', now)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 10))
redis.call('HSET', KEYS[1], 'revision', string.format('%.0f', revision),
  'created_ms', string.format('%.0f', created), 'updated_ms', string.format('%.0f', now),
  'not_before_ms', string.format('%.0f', start), 'reached', reached)
redis.call('ZREM', KEYS[4], ARGV[2])
if ARGV[3] == 'open' then
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('ZADD', KEYS[2], math.max(now + tonumber(ARGV[4]), start), ARGV[2])
else
  local old = now - tonumber(ARGV[6]) * 1000
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('ZREM', KEYS[5], ARGV[2])
  redis.call('ZADD', KEYS[3], now, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', old)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', old)
  if ARGV[3] == 'failed' then redis.call('ZADD', KEYS[4], now, ARGV[2]) end
end
return {revision, created, now, start}
"""


class StudyRecords:
    """Reads and writes study records.

    Every record carries a MAC: one that somebody else wrote into Redis is counted and treated as
    absent, so that nobody can put a result onto a card from there.

    Args:
        connection: of the web or of the worker; its patience is the caller's choice.
        sealer: signs and checks.
        keep_s: how long ended records stay.
    """

    def __init__(self, connection: Redis, sealer: Sealer, keep_s: int = KEEP_S) -> None:
        self._redis = connection
        self._sealer = sealer
        self._keep_s = keep_s
        self._script = connection.register_script(_WRITE)

    def get(self, study: str) -> StudyRecord | None:
        """The record of a study, or None. Raises QueueUnavailable."""
        return self.get_many([study])[0]

    def get_many(self, studies: Sequence[str]) -> list[StudyRecord | None]:
        """The records of several studies in one round trip, None for each that is not there."""
        return [record for record, _ in self.with_steps(studies)]

    def with_steps(
        self, studies: Sequence[str]
    ) -> list[tuple[StudyRecord | None, Mapping[State, int]]]:
        """The same, each with when its present attempt reached each step (see `reached`)."""
        with redis_reached(), self._redis.pipeline(transaction=False) as pipeline:
            self.ask(pipeline, studies)
            return self.told(studies, pipeline.execute())

    def ask(self, pipeline: Pipeline, studies: Sequence[str]) -> None:
        """Put the question into somebody's round trip."""
        for study in studies:
            pipeline.hgetall(RECORD.format(study))

    def told(
        self, studies: Sequence[str], rows: Sequence[Mapping[bytes, bytes]]
    ) -> list[tuple[StudyRecord | None, Mapping[State, int]]]:
        """The records in the answers to `ask`, as `with_steps` has them."""
        return [
            (self._decode(study, row), _steps(row.get(b"reached", b"")))
            for study, row in zip(studies, rows, strict=True)
        ]

    def reached(self, study: str) -> Mapping[State, int]:
        """When the present attempt reached each step, Redis TIME in ms, in order.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        with redis_reached():
            return _steps(self._redis.hget(RECORD.format(study), "reached") or "")

    def create_or_get(
        self, record: StudyRecord, share: Share | None = None
    ) -> tuple[StudyRecord, bool]:
        """Write a first record unless there is one; says whether it was written.

        A record there whose MAC does not hold is replaced. Without a `share` there is always room.

        Raises:
            QueueFull: there is no room for it.
        """
        for _ in range(TRIES):
            written = self._write(record, FIRST_LOOK_S, share=share)
            if written is not None:
                return written, True
            there = self.get(record.id)
            if there is not None:
                return there, False
            record = replace(record, revision=self._discard_foreign(record.id))
        raise StaleRecord("the record of a study keeps changing")

    def advance(self, record: StudyRecord, state: State | str, **changes: Any) -> StudyRecord:
        """Take one step of the table, if this attempt still owns the study.

        Raises:
            IllegalTransition: the table does not have the step.
            StaleRecord: another attempt or newer content has taken over.
            QueueUnavailable: Redis did not answer; the step may have been taken or not.
        """
        after = State(state)
        return self._change(record, {**changes, "state": after}, step=after)

    def begin(self, record: StudyRecord, worker: str) -> StudyRecord:
        """Start an attempt: back to received, one attempt more. Older attempts are stale now."""
        changes = {"state": State.RECEIVED, "attempts": record.attempts + 1, "worker": worker}
        return self._change(record, changes)

    def postpone(self, record: StudyRecord, delay_s: float, error_kind: str) -> StudyRecord:
        """Leave the study to a later attempt; the reconciler queues it when the time has come."""
        changes = {"state": State.RECEIVED, "error_kind": error_kind}
        return self._change(record, changes, not_before_s=max(delay_s, 0.001), look_s=0)

    def fail(self, record: StudyRecord, error_kind: str) -> StudyRecord:
        """End the study as failed."""
        return self.advance(record, State.FAILED, error_kind=error_kind)

    def restart(
        self, record: StudyRecord, share: Share | None = None, **changes: Any
    ) -> StudyRecord:
        """Begin anew, with the attempts counted from 0; the previous summary stays for now.

        Raises:
            StaleRecord: somebody else changed the record first.
            QueueFull: it had ended, and there is no room for it.
        """
        fresh = {"state": State.RECEIVED, "attempts": 0, "error_kind": "", "outcome": ""}
        return self._exact(replace(record, **{**fresh, **changes}), share)

    def claim(self, record: StudyRecord) -> StudyRecord:
        """Win the right to queue this record's job again; StaleRecord for all but one."""
        return self._exact(record)

    def reprioritise(self, record: StudyRecord, priority: Any) -> StudyRecord:
        """Note another priority; it does not disturb a running attempt."""
        return self._change(record, {"priority": priority}, look_s=0, not_before_s=None)

    def note_content(self, record: StudyRecord, content_key: str) -> StudyRecord:
        """Note a fuller name of the same content; it does not disturb a running attempt."""
        return self._change(record, {"content_key": content_key}, look_s=0, not_before_s=None)

    def open_records(self, due_only: bool = True, limit: int = 1000) -> list[str]:
        """Ids of open records, those first that wait longest to be looked at."""
        with redis_reached():
            latest = self.now_ms() if due_only else "+inf"
            ids = self._redis.zrangebyscore(OPEN, "-inf", latest, start=0, num=limit)
            foreign = [cast("bytes", each) for each in ids if not is_id(each)]
            if foreign:
                self._redis.zrem(OPEN, *foreign)
        return [text_of(each) for each in ids if is_id(each)]

    def look_again(self, delays_s: Mapping[str, float]) -> None:
        """Note when to look at open records next, by id; nothing for those that have ended."""
        if delays_s:
            with redis_reached():
                now_ms = self.now_ms()
                at_ms = {study: now_ms + int(s * 1000) for study, s in delays_s.items()}
                self._redis.zadd(OPEN, at_ms, xx=True)

    def forget(self, study: str) -> None:
        """Drop an id from the index of open records."""
        with redis_reached():
            self._redis.zrem(OPEN, study)
            self._redis.zrem(OWNERS, study)

    def listed(self, index: str, limit: int = 1000) -> list[str]:
        """Ids in an index, newest first."""
        with redis_reached():
            ids = self._redis.zrevrange(index, 0, limit - 1)
        return [text_of(each) for each in ids if is_id(each)]

    def now_ms(self) -> int:
        """Redis TIME."""
        with redis_reached():
            seconds, microseconds = self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def count(self, what: str) -> None:
        """Add one to a counter."""
        with redis_reached():
            self._redis.hincrby(COUNTS, what, 1)

    def counts(self) -> dict[str, int]:
        """What went wrong how often, since the Redis data began."""
        with redis_reached():
            found = self._redis.hgetall(COUNTS).items()
        return {text_of(name): int(number) for name, number in found if text_of(number).isdigit()}

    def _change(
        self,
        record: StudyRecord,
        changes: Mapping[str, Any],
        step: State | None = None,
        not_before_s: float | None = 0,
        look_s: float = LOOK_AGAIN_S,
    ) -> StudyRecord:
        """Compare-and-set that lets bystanders pass: only another attempt makes it stale.

        With `not_before_s` None a wait that is under way goes on.
        """
        current = record
        for _ in range(TRIES):
            if step is not None:
                check_step(current.state, step)
            written = self._write(replace(current, **changes), look_s, not_before_s)
            if written is not None:
                return written
            there = self.get(record.id)
            if there is None or not there.same_attempt(record) or there.ended:
                break
            current = there
        raise StaleRecord("a newer attempt has taken this study over")

    def _exact(self, record: StudyRecord, share: Share | None = None) -> StudyRecord:
        written = self._write(record, FIRST_LOOK_S, share=share)
        if written is None:
            raise StaleRecord("the record of this study has changed")
        return written

    def _write(
        self,
        record: StudyRecord,
        look_s: float,
        not_before_s: float | None = 0,
        share: Share | None = None,
    ) -> StudyRecord | None:
        """One call of the script; None when the revision in Redis is another one.

        Raises:
            QueueFull: it is an order, for which there is no room.
        """
        texts = to_fields(record)
        texts["mac"] = self._sealer.sign(signed_text(texts))
        index = "failed" if record.state is State.FAILED else "ended" if record.ended else "open"
        start = -record.not_before_ms if not_before_s is None else int(not_before_s * 1000)
        room = (share.owner, share.own, share.most) if share else ("", "", "")
        with redis_reached():
            answer = self._script(
                keys=[RECORD.format(record.id), OPEN, ENDED, FAILED, OWNERS, REFUSED],
                args=[
                    *(record.revision, record.id, index),
                    *(int(look_s * 1000), start, self._keep_s, *room),
                    *(part for pair in texts.items() for part in pair),
                ],
            )
        revision, *rest = (int(each) for each in answer)
        if revision == _NO_ROOM:
            raise QueueFull(f"{rest[0]} studies are under way already; try again later")
        if revision < 0:
            return None
        created_ms, updated_ms, not_before_ms = rest
        return replace(
            record,
            revision=revision,
            not_before_ms=not_before_ms,
            created_ms=created_ms,
            updated_ms=updated_ms,
        )

    def _decode(self, study: str, row: Mapping[bytes, bytes]) -> StudyRecord | None:
        if not row:
            return None
        try:
            texts = {key.decode(): value.decode() for key, value in row.items()}
            mac = texts.pop("mac", "")
            texts.pop("reached", "")
            if texts.get("id") != study or not self._sealer.verify(signed_text(texts), mac):
                raise TamperedPayload("a study record in Redis does not carry our seal")
            return from_fields(texts)
        except (TamperedPayload, UnicodeDecodeError):
            self.count("tampered")
            return None

    def _discard_foreign(self, study: str) -> int:
        """Remove a record whose MAC does not hold; the revision to expect afterwards is 0."""
        with redis_reached():
            self._redis.delete(RECORD.format(study))
        return 0


def is_id(value: object) -> bool:
    """Whether this could be an id that we or RQ made; anything else in Redis is somebody's junk."""
    return _ID.fullmatch(text_of(value)) is not None


def _steps(text: object) -> dict[State, int]:
    return {State(state): int(at_ms) for state, at_ms in _STEP.findall(text_of(text))}
