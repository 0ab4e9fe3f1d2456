"""FHIR servers that were asked for heartbeats and have fallen silent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cds_service.settings.triggers import SubscriptionSettings
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import Asks, Notice, Notices

log = logging.getLogger(__name__)

PERIODS = 2
"""A server that said nothing for so many heartbeats has fallen silent."""


@dataclass(frozen=True)
class Silence:
    """Looks which of the `subscriptions` are overdue; `clock_s` is epoch seconds.

    Any notification that states its subscription counts as heard, for a server need not send a
    heartbeat when it has events to tell. What was never heard is waited for from the first look on.
    """

    subscriptions: Iterable[SubscriptionSettings]
    notices: Notices
    ledger: FollowLedger
    clock_s: Callable[[], float] = time.time

    def look(self) -> None:
        """Let a worker search for what was missed, once in each time of silence.

        Raises:
            QueueError: Redis does not answer, or the queue is full.
        """
        for wanted in self.subscriptions:
            if wanted.topic and wanted.heartbeat_s:
                self._look_at(wanted.tenant, PERIODS * wanted.heartbeat_s)

    def _look_at(self, tenant: str, patience_s: float) -> None:
        now_s, heard_s = self.clock_s(), self.ledger.heard_s(tenant)
        silent = heard_s is not None and now_s - heard_s > patience_s
        if silent:
            self.notices.give(Notice(Asks.SEARCH, tenant))
            log.warning("a subscription has fallen silent, searching", extra={"tenant": tenant})
        if silent or heard_s is None:
            self.ledger.hear(now_s, tenant)
