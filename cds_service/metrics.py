"""Counters and histograms for Prometheus; every label is a word of a closed list.

No id, URL or text of a request becomes a label: it would be personal data, and without bounds.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.registry import Collector

from cds_service.scrapes import OTHER, GaugeNow, Gauges, word
from fhir_mapping.notification import Kind

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Around the 500 ms that CDS Hooks asks for, and our own 50 ms."""

STATES = (
    "received",
    "fetching",
    "inferring",
    "writing",
    "final",
    "abstained",
    "failed",
    "unavailable",
)


NOTIFICATION_KINDS = (*Kind, "archive")
NOTIFICATION_OUTCOMES = ("accepted", "invalid", "refused", "unavailable")


class Metrics:
    """Everything that the web process counts, in a registry of its own.

    Args:
        services, tenants, refusals: the words that may stand in these labels.
        gauges: further values by name (``queue_waiting``), asked at each scrape.
        scraped: whatever else is asked at each scrape (see `scrapes`).
    """

    def __init__(
        self,
        services: Iterable[str] = (),
        tenants: Iterable[str] = (),
        refusals: Iterable[str] = (),
        gauges: Gauges | None = None,
        scraped: Iterable[Collector] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        self._services, self._tenants = frozenset(services), frozenset(tenants)
        self._refusals = frozenset(refusals)
        self._calls = Histogram(
            "scanhook_hook_seconds",
            "Time from a hook's arrival to its answer.",
            ("service", "tenant", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._refused = Counter(
            "scanhook_tokens_refused",
            "Calls whose token was not accepted.",
            ("refusal",),
            registry=self.registry,
        )
        self._cards = Counter(
            "scanhook_cards", "Cards answered.", ("service", "state"), registry=self.registry
        )
        self._notifications = Counter(
            "scanhook_notifications",
            "Notifications of FHIR servers and archives, and what became of them.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        for collector in (*(GaugeNow(*gauge) for gauge in (gauges or {}).items()), *scraped):
            self.registry.register(collector)

    def hook_answered(self, service: str, tenant: str, status: int, seconds: float) -> None:
        """Count one call with the time it took."""
        labels = (word(service, self._services), word(tenant, self._tenants), _status(status))
        self._calls.labels(*labels).observe(seconds)

    def token_refused(self, refusal: str) -> None:
        """Count one token that was not accepted."""
        self._refused.labels(word(refusal, self._refusals)).inc()

    def card_answered(self, service: str, state: str) -> None:
        """Count one card."""
        self._cards.labels(word(service, self._services), word(state, STATES)).inc()

    def notification_received(self, kind: str, outcome: str) -> None:
        """Count one notification; who sent it is not told."""
        labels = (word(kind, NOTIFICATION_KINDS), word(outcome, NOTIFICATION_OUTCOMES))
        self._notifications.labels(*labels).inc()

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


def _status(status: int) -> str:
    return str(status) if 100 <= status < 600 else OTHER


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """``GET /metrics``: numbers about the service, nothing about a person."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
