"""What web and worker agree on about the queue."""

from __future__ import annotations

from cds_service.queue.policy import DispatchPolicy
from cds_service.settings import Settings


def dispatch_policy(settings: Settings) -> DispatchPolicy:
    """The queue as the settings have it, shared by all their tenants."""
    worker = settings.worker
    return DispatchPolicy(
        queue_cap=worker.queue_cap,
        tenants=max(1, len(settings.tenants)),
        tenant_reserve=worker.tenant_reserve,
        attempts=worker.attempts,
        job_timeout_s=worker.job_timeout_s,
    )
