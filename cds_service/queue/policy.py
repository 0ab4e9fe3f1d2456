"""How the queue behaves: every number in one place, with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cds_service.queue.shares import NOBODY, Share, number_of
from cds_service.queue.state import Priority


@dataclass(frozen=True)
class DispatchPolicy:
    """What web and worker must agree on."""

    queue_cap: int = 10_000
    """Studies that may be under way; above it an order is refused with QueueFull."""

    tenants: int = 1
    """How many share the queue."""

    tenant_reserve: float = 0.5
    """Part of the cap that is kept for the tenants in equal parts; the rest is for whoever comes
    first."""

    backfill_share: float = 0.5
    """Part of the cap that backfill may fill: the archive's past must not shut out a clinician."""

    attempts: int = 3
    """Attempts at one content of a study before it ends as failed."""

    job_timeout_s: int = 120
    """Time for one attempt, enforced in the child."""

    retry_failed_after_s: float = 3600
    """A failed study that is asked for again is tried again after this time, not before."""

    failure_ttl_s: int = 3600
    """How long RQ's own failed registry shows a job; our record lasts longer."""

    def share(self, tenant: str, priority: Priority) -> Share:
        """What may be under way when this tenant orders one study more.

        Below its own part a tenant is never refused. Above it, it may use what is not kept for the
        others; backfill has no part and takes of the rest alone. So there are never more than the
        cap, and nobody's part is taken.
        """
        if priority is Priority.BACKFILL:
            rest = min(self.backfill_share, 1 - self.tenant_reserve)
            return Share(NOBODY, own=0, most=math.ceil(self.queue_cap * rest))
        own = int(self.queue_cap * self.tenant_reserve / self.tenants)
        most = self.queue_cap - (self.tenants - 1) * own
        return Share(number_of(tenant), own=own, most=most)


@dataclass(frozen=True)
class WorkerPolicy:
    """How one worker runs."""

    folder: Path
    """Where working directories are made, one for each worker, mode 700."""

    jobs_per_child: int = 1000
    """Then the child is replaced by a fresh one, against slow leaks."""

    memory_bytes: int = 4096 * 1024 * 1024
    """Address space of the child: MemoryError comes before the OOM killer."""

    nice: int = 0
    """How far the child stands back for other processes of the machine, 0 to 19."""

    rss_bytes: int = 2048 * 1024 * 1024
    """A child that holds more after a job is replaced."""

    warm_up_timeout_s: float = 120
    """Time to load all models; then the child is ended and tried again."""

    grace_s: float = 10
    """After the job's time-out, before the parent kills a child that cannot be interrupted."""

    farewell_s: float = 10
    """A worker that was told to end and whose Redis is away keeps its last result for so long;
    then the lease runs out and another worker does the study again."""

    backoff_s: tuple[float, ...] = (2.0, 15.0, 60.0)
    """Wait before the 2nd, 3rd, ... attempt."""

    beat_s: float = 3
    """Between heartbeats of the worker and of its running job."""

    lease_s: int = 12
    """A running job without heartbeat for so long has lost its worker."""

    stuck_s: float = 4
    """A job popped but not started for so long has lost its worker."""

    sweep_s: float = 2
    """Between looks for jobs that have lost their worker."""

    lower_first_every: int = 8
    """Each so many picks a lower priority goes first, so that none starves."""

    wait_s: float = 1
    """The longest that an idle worker sleeps; a new job wakes it at once."""

    def backoff_of(self, attempt: int) -> float:
        """Wait after this attempt (1 is the first) has failed."""
        return self.backoff_s[min(attempt, len(self.backoff_s)) - 1] if self.backoff_s else 0.0
