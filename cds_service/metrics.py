"""Counters and histograms for Prometheus; every label is a word of a closed list.

No id, URL or text of a request becomes a label: it would be personal data, and without bounds.
"""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cds_service.shadow.ledger import ModelName, Watched

OTHER = "other"

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
OUTCOMES = ("accepted", "overridden")

Gauges = Mapping[str, Callable[[], float]]


@dataclass(frozen=True)
class Shadow:
    """How to ask what shadow runs have shown; `models` are those in use, with their labels."""

    watched: Callable[[], Sequence[Watched]]
    models: Mapping[ModelName, frozenset[str]]


class _Scraped(Collector):
    """Gauges that are asked when they are scraped; one that fails is left out of that scrape."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked while being registered."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Ask each gauge now."""
        for name, gauge in self._gauges.items():
            try:
                value = float(gauge())
            except Exception:  # noqa: BLE001, S112 - a gauge that is down must not hide the others
                continue
            yield GaugeMetricFamily(f"scanhook_{name}", f"{name.replace('_', ' ')}, now", value)


class _ShadowScraped(Collector):
    """Counts of shadow runs, read when they are scraped; left out while Redis is away."""

    def __init__(self, shadow: Shadow | None) -> None:
        self._shadow = shadow

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked while being registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask the ledger now."""
        runs, differed, share, fell = _shadow_families()
        try:
            watched = self._shadow.watched() if self._shadow else ()
        except Exception:  # noqa: BLE001 - without Redis the other metrics are as good
            return
        for each in watched:
            labels = self._shadow.models.get(each.name) if self._shadow else None
            if labels is None:
                continue
            for label, count in _by_label(each.seen, labels).items():
                runs.add_metric([each.name.id, label], count)
            for label, count in _by_label(each.disagreed, labels).items():
                differed.add_metric([each.name.id, label], count)
            share.add_metric([each.name.id], each.share)
            fell.add_metric([each.name.id], float(each.fallen_since_s is not None))
        yield from (runs, differed, share, fell)


def _shadow_families() -> tuple[
    CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily
]:
    return (
        CounterMetricFamily(
            "scanhook_shadow_runs",
            "Studies analysed in both precisions, by what the serving one stated.",
            labels=["model", "label"],
        ),
        CounterMetricFamily(
            "scanhook_shadow_disagreements",
            "Shadow runs in which the other precision answered differently.",
            labels=["model", "label"],
        ),
        GaugeMetricFamily(
            "scanhook_shadow_disagreement_share",
            "Share of the last shadow runs that disagreed, 0 to 1.",
            labels=["model"],
        ),
        GaugeMetricFamily(
            "scanhook_model_fallback",
            "1 while a model runs in fp32 because its precisions disagreed too often.",
            labels=["model"],
        ),
    )


def _by_label(counts: Mapping[str, int], labels: frozenset[str]) -> dict[str, int]:
    """Counts by the labels that are known, the rest together as ``other``."""
    found: Counted[str] = Counted()
    for label, count in counts.items():
        found[label if label in labels else OTHER] += count
    return dict(found)


class Metrics:
    """Everything that the web process counts, in a registry of its own.

    Args:
        services, tenants, refusals, reasons: the words that may stand in these labels.
        gauges: further values by name (``queue_waiting``), asked at each scrape.
        shadow: what the shadow runs of the models in use have shown, asked at each scrape.
    """

    def __init__(
        self,
        services: Iterable[str] = (),
        tenants: Iterable[str] = (),
        refusals: Iterable[str] = (),
        reasons: Iterable[str] = (),
        gauges: Gauges | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._services, self._tenants = frozenset(services), frozenset(tenants)
        self._refusals, self._reasons = frozenset(refusals), frozenset(reasons)
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
        self._feedback = Counter(
            "scanhook_feedback",
            "What clinicians did with cards; ignored cards are never reported.",
            ("outcome", "reason"),
            registry=self.registry,
        )
        self.registry.register(_Scraped(gauges or {}))
        self.registry.register(_ShadowScraped(shadow))

    def hook_answered(self, service: str, tenant: str, status: int, seconds: float) -> None:
        """Count one call with the time it took."""
        labels = (_word(service, self._services), _word(tenant, self._tenants), _status(status))
        self._calls.labels(*labels).observe(seconds)

    def token_refused(self, refusal: str) -> None:
        """Count one token that was not accepted."""
        self._refused.labels(_word(refusal, self._refusals)).inc()

    def card_answered(self, service: str, state: str) -> None:
        """Count one card."""
        self._cards.labels(_word(service, self._services), _word(state, STATES)).inc()

    def feedback_received(self, outcome: str, reason: str) -> None:
        """Count what became of one card."""
        self._feedback.labels(_word(outcome, OUTCOMES), _word(reason, self._reasons)).inc()

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


def _word(value: str, words: Iterable[str]) -> str:
    return value if value in words else OTHER


def _status(status: int) -> str:
    return str(status) if 100 <= status < 600 else OTHER


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """``GET /metrics``: numbers about the service, nothing about a person."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
