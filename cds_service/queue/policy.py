"""How the queue behaves: every number in one place, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DispatchPolicy:
    """What web and worker must agree on."""

    queue_cap: int = 10_000
    """Studies that may wait; above it an order is refused with QueueFull."""

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
