"""Metrics that are asked for when they are scraped: gauges, and what Redis keeps of the models.

What cannot be asked is left out of that scrape and hides nothing else. Names of models become
labels only if the models are in use, or, for feedback, look like names of ours and are few; the
rest is ``other``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter as Counted
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cds_service.feedback import OUTCOMES, REASONS, Tally
from cds_service.queue.shares import TenantLoad
from cds_service.shadow.ledger import ModelName, Watched

OTHER = "other"

VERSIONS_KEPT = 50
"""Model versions that are not installed any more and have feedback of their own in the metrics."""

_LIKE_AN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LIKE_A_VERSION = re.compile(r"v?[0-9][A-Za-z0-9.+_-]{0,31}")

Gauges = Mapping[str, Callable[[], float]]


class Scraped(Collector):
    """A collector that asks nothing while it is being registered; hashed by identity."""

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before a scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask now; nothing if that fails."""
        try:
            return list(self.asked())
        except Exception:  # noqa: BLE001 - what is down must not hide the others
            return []

    @abstractmethod
    def asked(self) -> Iterable[Metric]:
        """What there is to say now; may raise."""


@dataclass(frozen=True, eq=False)
class GaugeNow(Scraped):
    """One number without labels."""

    name: str
    gauge: Callable[[], float]

    def asked(self) -> Iterable[Metric]:
        """The number, now."""
        text = f"{self.name.replace('_', ' ')}, now"
        yield GaugeMetricFamily(f"scanhook_{self.name}", text, float(self.gauge()))


@dataclass(frozen=True, eq=False)
class ShadowRuns(Scraped):
    """What shadow runs have shown; `models` are those in use, with their labels."""

    watched: Callable[[], Sequence[Watched]]
    models: Mapping[ModelName, frozenset[str]]

    def asked(self) -> Iterable[Metric]:
        """The counts, the recent share, and which models fell back."""
        runs, differed, share, fell = _shadow_families()
        for each in self.watched():
            labels = self.models.get(each.name)
            if labels is None:
                continue
            for label, count in _by_label(each.seen, labels).items():
                runs.add_metric([each.name.id, label], count)
            for label, count in _by_label(each.disagreed, labels).items():
                differed.add_metric([each.name.id, label], count)
            share.add_metric([each.name.id], each.share)
            fell.add_metric([each.name.id], float(each.fallen_since_s is not None))
        return runs, differed, share, fell


@dataclass(frozen=True, eq=False)
class FeedbackCounts(Scraped):
    """What clinicians last did with cards, by model version; one that is ignored is not reported.

    A gauge, since an answer may be changed, and the same for every web process. `models` are those
    that are installed. A version that is not any more keeps its name while it is among the
    `VERSIONS_KEPT` with the most answers: it is compared with the one that took its place.
    """

    tallies: Callable[[], Sequence[Tally]]
    models: Collection[ModelName]

    def asked(self) -> Iterable[Metric]:
        """One sample for each model version, outcome and reason that there is."""
        found = GaugeMetricFamily(
            "scanhook_feedback_cards",
            "Cards by what clinicians last did with them.",
            labels=["model", "version", "outcome", "reason"],
        )
        counts: Counted[tuple[str, ...]] = Counted()
        tallies = self.tallies()
        named = self._named(tallies)
        for each in tallies:
            known = ModelName(each.model, each.version) in named
            name = (each.model, each.version) if known else (OTHER, OTHER)
            answer = (word(each.outcome, OUTCOMES), word(each.reason, REASONS))
            counts[*name, *answer] += each.cards
        for labels, count in sorted(counts.items()):
            found.add_metric(labels, count)
        yield found

    def _named(self, tallies: Iterable[Tally]) -> Set[ModelName]:
        """The versions that become labels: what Redis holds may be anybody's, and without end."""
        cards: Counted[ModelName] = Counted()
        for each in tallies:
            if _LIKE_AN_ID.fullmatch(each.model) and _LIKE_A_VERSION.fullmatch(each.version):
                cards[ModelName(each.model, each.version)] += each.cards
        gone = sorted(cards.keys() - set(self.models), key=lambda each: (-cards[each], each.key))
        return {*self.models, *gone[:VERSIONS_KEPT]}


@dataclass(frozen=True, eq=False)
class DisabledModels(Scraped):
    """Which of the installed models are switched off."""

    disabled: Callable[[], Set[str]]
    models: Collection[ModelName]

    def asked(self) -> Iterable[Metric]:
        """1 or 0 for each model."""
        found = GaugeMetricFamily(
            "scanhook_model_disabled", "1 while a model is switched off.", labels=["model"]
        )
        off = self.disabled()
        for model_id in sorted({name.id for name in self.models}):
            found.add_metric([model_id], float(model_id in off))
        yield found


@dataclass(frozen=True, eq=False)
class TenantLoads(Scraped):
    """Who has how much of the queue."""

    loads: Callable[[], Sequence[TenantLoad]]

    def asked(self) -> Iterable[Metric]:
        """One sample of each for each tenant."""
        held = GaugeMetricFamily(
            "scanhook_tenant_open",
            "Studies and notices under way, without backfill.",
            labels=["tenant"],
        )
        refused = CounterMetricFamily(
            "scanhook_orders_refused",
            "Orders for which a tenant had no room in the queue.",
            labels=["tenant"],
        )
        for each in self.loads():
            held.add_metric([each.tenant], each.under_way)
            refused.add_metric([each.tenant], each.refused)
        return held, refused


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
        found[word(label, labels)] += count
    return dict(found)


def word(value: str, words: Iterable[str]) -> str:
    """`value` if it is one of a closed list, else ``other``."""
    return value if value in words else OTHER
