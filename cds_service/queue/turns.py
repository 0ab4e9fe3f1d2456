"""Within one priority the tenants take turns, so that one tenant's flood makes no other wait.

A job that joins a queue gets the number of a round: the one after its tenant's last, but none that
is over. It goes behind all of that round, and before all of later ones. A round has one job of each
tenant at most, so that between two jobs of a tenant there are at most two of each other, those of
two rounds (start-time fair queueing, with jobs of equal size). Of one tenant the first that came
goes first.

``cds:turns:<priority>`` scores each job that waits by its round and its arrival,
``cds:rounds:<priority>`` holds the last round of each tenant, by its number. Both order one list
and nothing else: without them the first that came goes first, whosever it is. Who pops needs
neither.
"""

from __future__ import annotations

from redis import Redis
from rq import Queue

from cds_service.queue.shares import number_of

_TURNS, _ROUNDS = "cds:turns:{}", "cds:rounds:{}"

BELL = "cds:bell"
BELL_TOKENS = 64
"""Tokens above this many are dropped: they only wake sleepers."""

# KEYS list turns rounds bell queues ; ARGV job tenant-number tokens
_JOIN = """
local list, turns, rounds, bell, queues = unpack(KEYS)
local job, tenant = ARGV[1], ARGV[2]
local ARRIVALS = 1048576
redis.call('SADD', queues, list)
redis.call('LPUSH', bell, '1')
redis.call('LTRIM', bell, 0, ARGV[3] - 1)
if not redis.call('LPOS', list, job, 'RANK', -1) then return 0 end
if redis.call('LLEN', list) == 1 then redis.call('DEL', turns, rounds) end
local now = tonumber(redis.call('HGET', rounds, 'now') or 0)
local head = redis.call('ZSCORE', turns, redis.call('LINDEX', list, 0))
if head then
  now = math.max(now, math.floor(tonumber(head) / ARRIVALS))
  redis.call('HSET', rounds, 'now', now)
  redis.call('ZREMRANGEBYSCORE', turns, '-inf', '(' .. head)
end
local round = math.max(now, tonumber(redis.call('HGET', rounds, tenant) or -1) + 1)
redis.call('HSET', rounds, tenant, round)
local arrival = redis.call('HINCRBY', rounds, 'arrivals', 1) % ARRIVALS
local score = string.format('%.0f', round * ARRIVALS + arrival)
redis.call('ZADD', turns, score, job)
while true do
  local later = redis.call('ZRANGEBYSCORE', turns, '(' .. score, '+inf', 'LIMIT', 0, 1)[1]
  if not later then return 1 end
  if redis.call('LPOS', list, later) then
    redis.call('LREM', list, -1, job)
    redis.call('LINSERT', list, 'BEFORE', later, job)
    return 1
  end
  redis.call('ZREM', turns, later)
end
"""


class Turns:
    """Gives each job that was queued its place among the other tenants'."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._join = connection.register_script(_JOIN)

    def join(self, queue: Queue, job_id: str, tenant: str) -> None:
        """Move a job from the end of its queue to its tenant's turn, and wake a worker; the queue
        is one of RQ's list from then on.

        A job that was popped meanwhile has had its turn.
        """
        own = (_TURNS.format(queue.name), _ROUNDS.format(queue.name))
        keys = [queue.key, *own, BELL, queue.redis_queues_keys]
        self._join(keys=keys, args=[job_id, number_of(tenant), BELL_TOKENS])

    def go_first(self, queue: Queue, job_id: str) -> None:
        """Leave a job where it is, in front, and wake a worker: it had its turn already."""
        with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.sadd(queue.redis_queues_keys, queue.key)
            pipeline.zrem(_TURNS.format(queue.name), job_id)
            pipeline.lpush(BELL, "1")
            pipeline.ltrim(BELL, 0, BELL_TOKENS - 1)
            pipeline.execute()
