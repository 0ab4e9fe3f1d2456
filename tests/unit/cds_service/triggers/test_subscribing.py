"""One Subscription for each tenant, on servers that behave in several ways."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cds_service.clients.interactions import EntryResult
from cds_service.clients.policy import HttpPolicy
from cds_service.settings.triggers import SubscriptionSettings
from cds_service.triggers.errors import NotActive
from cds_service.triggers.subscribing import Subscriber
from tests.doubles.triggered import Charts

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ENDPOINT = "https://ai.test/notifications/fhir/north"


class Server(Charts):
    """Switches a Subscription on by itself, when it is told, or never."""

    def __init__(self, switches_on: str = "itself") -> None:
        super().__init__()
        self.switches_on = switches_on
        self.written: list[str] = []

    def write(self, entry: dict[str, Any], policy: HttpPolicy | None = None) -> EntryResult:
        self.written.append(f"{entry['request']['method']} {entry['resource']['status']}")
        return super().write(entry)

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        found = dict(super().read(reference))
        if self.switches_on == "itself":
            self.resources = [{**r, "status": "active"} for r in self.resources]
        if self.switches_on == "never":
            found["status"] = "error"
        return found


def subscriber(server: Server, now: datetime = NOW, **settings: Any) -> Subscriber:
    wanted = SubscriptionSettings(tenant="north", **settings)
    header = "Authorization: Bearer s"
    return Subscriber(server, wanted, ENDPOINT, header, lambda: now, lambda _: None)


def test_one_is_made_and_then_left_alone() -> None:
    server = Server()
    first = subscriber(server).ensure()
    assert subscriber(server).ensure() == first
    assert server.written == ["POST requested"]


def test_one_that_ends_soon_is_renewed_in_its_place() -> None:
    server = Server()
    first = subscriber(server).ensure()
    assert subscriber(server, NOW + timedelta(days=15)).ensure() == first
    assert subscriber(server, NOW + timedelta(days=25)).ensure() == first
    assert server.written == ["POST requested", "PUT requested"]


def test_one_that_asks_for_something_else_is_changed() -> None:
    server = Server()
    subscriber(server).ensure()
    subscriber(server, topic="https://ehr.test/topic").ensure()
    assert server.written == ["POST requested", "PUT requested"]
    (only,) = server.resources
    assert only["criteria"] == "https://ehr.test/topic"


def test_that_of_another_subscriber_is_not_touched() -> None:
    server = Server()
    server.resources.append(
        {"resourceType": "Subscription", "id": "theirs", "channel": {"endpoint": ENDPOINT + "2"}}
    )
    subscriber(server).ensure()
    assert "channel" in server.resources[0]
    assert server.resources[0]["id"] == "theirs"


def test_a_server_that_leaves_it_to_the_client_is_told_to_switch_it_on() -> None:
    server = Server("told")
    subscriber(server).ensure()
    assert server.written == ["POST requested", "PUT active"]


def test_a_server_that_cannot_reach_us_is_an_error_that_may_pass() -> None:
    with pytest.raises(NotActive) as raised:
        subscriber(Server("never")).ensure()
    assert raised.value.retryable
