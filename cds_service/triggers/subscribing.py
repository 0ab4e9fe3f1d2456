"""Asks a FHIR server to tell us: one Subscription for each tenant, found again by its address."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cds_service.clients.errors import Rejected
from cds_service.clients.interactions import EntryResult
from cds_service.clients.policy import HttpPolicy
from cds_service.settings.triggers import SubscriptionSettings
from cds_service.triggers.errors import NotActive
from fhir_mapping.reading import ID, text
from fhir_mapping.subscription import Wanted, is_ours, still_good, subscription

log = logging.getLogger(__name__)

LOOKS = 10
LOOK_EVERY_S = 0.5
"""A server switches a Subscription on by itself, after a handshake or at once."""


class FhirWriter(Protocol):
    """A tenant's FHIR server as we reach it without a user (see `clients.fhir.FhirServer`)."""

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        """One resource. Raises UpstreamError."""

    def search(
        self, resource_type: str, params: Mapping[str, str], policy: HttpPolicy | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Every match. Raises UpstreamError while iterating."""

    def write(self, entry: dict[str, Any], policy: HttpPolicy | None = None) -> EntryResult:
        """Create or update. Raises UpstreamError."""


@dataclass(frozen=True)
class Subscriber:
    """Makes and renews one tenant's Subscription. `endpoint` is where it calls us."""

    server: FhirWriter
    settings: SubscriptionSettings
    endpoint: str
    header: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep

    def ensure(self) -> str:
        """Make the Subscription if there is none, renew it if it ends soon; its reference.

        Raises:
            NotActive: the server does not switch it on.
            UpstreamError: the server cannot be asked, or may not be (scope Subscription.cruds).
        """
        wanted, now = self._wanted(), self.now()
        soon = _instant(now + timedelta(days=self.settings.days) / 3)
        ours = [found for found in self._found() if is_ours(found, self.endpoint)]
        good = [found for found in ours if still_good(found, wanted, soon)]
        if good:
            return f"Subscription/{good[0].get('id')}"
        own_id = next((text(found, "id", 64) for found in ours), None)
        return self._switched_on(wanted, self._written(wanted, own_id, "requested"))

    def _wanted(self) -> Wanted:
        settings = self.settings
        return Wanted(
            endpoint=self.endpoint,
            header=self.header,
            criteria=settings.topic or settings.criteria,
            end=_instant(self.now() + timedelta(days=settings.days)),
            topic=bool(settings.topic),
            filters=settings.filters,
            payload=settings.payload,
            heartbeat_s=settings.heartbeat_s,
        )

    def _found(self) -> list[Mapping[str, Any]]:
        try:
            return list(self.server.search("Subscription", {"url": self.endpoint}))
        except Rejected:
            return list(self.server.search("Subscription", {"type": "rest-hook"}))

    def _written(self, wanted: Wanted, own_id: str | None, status: str) -> str:
        resource = subscription(wanted, status)
        if own_id and ID.fullmatch(own_id):
            request = {"method": "PUT", "url": f"Subscription/{own_id}"}
            resource = {**resource, "id": own_id}
        else:
            request = {"method": "POST", "url": "Subscription"}
        reference = self.server.write({"resource": resource, "request": request}).reference
        log.info("subscription written", extra={"tenant": self.settings.tenant})
        if reference is None:
            raise NotActive("the FHIR server does not say where it put the Subscription")
        return reference

    def _switched_on(self, wanted: Wanted, reference: str) -> str:
        """Wait for the server; some leave it to the client to say ``active``."""
        for told in (False, True):
            if told:
                self._written(wanted, reference.partition("/")[2], "active")
            for _ in range(LOOKS):
                status = text(self.server.read(reference), "status", 64)
                if status == "active":
                    return reference
                if status == "error":
                    break
                self.sleep(LOOK_EVERY_S)
        raise NotActive("the FHIR server has not switched the Subscription on; can it reach us?")


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
