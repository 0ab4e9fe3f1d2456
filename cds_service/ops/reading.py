"""What the operations page knows, read from Redis as frozen values; nobody else is asked.

Some twenty short questions, over a connection that waits 200 ms for each; the first that is not
answered ends the reading, and so does a Redis that is slow at all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

from cds_service.ops.depth import failed_studies, open_studies
from cds_service.ops.drift import Baseline, Drift, DriftLedger, Recent, drift
from cds_service.ops.upstreams import Health, Upstream, UpstreamBoard
from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.listing import (
    JobRow,
    WorkerRow,
    dead_letters,
    ended_jobs,
    job,
    open_jobs,
    workers,
)
from cds_service.rights import RightsBoard
from cds_service.serving import Served, ServingBoard
from cds_service.shadow.ledger import ModelName, ShadowLedger, Watched
from cds_service.switches import ModelSwitches

T = TypeVar("T")

BUDGET_S = 1.0
"""For the whole reading: a page that comes late is of no use to whoever looks for a fault."""


@dataclass(frozen=True)
class FailureKind:
    """Studies that were given up for the same reason, newest first."""

    kind: str
    studies: tuple[JobRow, ...]


@dataclass(frozen=True)
class ServedBy:
    """In which precision, "" for none, these machines run a model, and why."""

    precision: str
    reason: str
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """A share of the last results beside that of the test split, and what that says."""

    count: int
    expected: float | None
    said: Drift


@dataclass(frozen=True)
class ModelState:
    """One model version: how it serves, and what was seen of it.

    `off_since_s` is epoch seconds, 0 if the settings switch it off, None while it is in use.
    """

    name: ModelName
    served: tuple[ServedBy, ...]
    off_since_s: int | None
    shadow: Watched
    recent: Recent
    tested: Baseline | None
    strange: Compared
    silent: Compared


@dataclass(frozen=True)
class Standing:
    """Everything, at one moment: `at_s` is epoch seconds by this machine's clock."""

    at_s: float
    waiting: Mapping[str, int]
    open_studies: int
    failed_studies: int
    workers: tuple[WorkerRow, ...]
    under_way: tuple[JobRow, ...]
    ended: tuple[JobRow, ...]
    failures: tuple[FailureKind, ...]
    models: tuple[ModelState, ...]
    upstreams: tuple[Health, ...]
    counts: Mapping[str, int]
    rights: Mapping[str, str]


@dataclass(frozen=True)
class Reader:
    """Reads the state for the page.

    `dispatcher` is the web's, so that a frozen Redis is noticed at once. `models` are those in use
    with the test figures of their packages, `disabled` those that the settings switch off, and
    `upstreams` whom the settings name. At most `limit` studies stand in each list.
    """

    dispatcher: Dispatcher
    models: Mapping[ModelName, Mapping[str, Baseline]]
    upstreams: Sequence[Upstream]
    disabled: Set[str] = frozenset()
    limit: int = 50
    clock_s: Callable[[], float] = time.time
    elapsed_s: Callable[[], float] = field(default=time.monotonic)

    def read(self) -> Standing:
        """The state now.

        Raises:
            QueueUnavailable: Redis does not answer, or not quickly enough.
        """
        records, transport = self.dispatcher.records, self.dispatcher.transport
        redis, budget = transport.connection, _Budget(self.elapsed_s)
        now_s = self.clock_s()
        waiting = {str(priority): count for priority, count in transport.waiting().items()}
        found = budget.left(tuple(workers(redis, now_s)))
        return Standing(
            at_s=now_s,
            waiting=waiting,
            open_studies=open_studies(records),
            failed_studies=budget.left(failed_studies(records)),
            workers=found,
            under_way=budget.left(tuple(open_jobs(records, self.limit))),
            ended=budget.left(tuple(ended_jobs(records, self.limit))),
            failures=budget.left(by_kind(dead_letters(records, self.limit))),
            models=budget.left(self._models({row.host for row in found if row.live})),
            upstreams=UpstreamBoard(redis).heard(self.upstreams),
            counts=dict(sorted(records.counts().items())),
            rights=budget.left(RightsBoard(redis).standing()),
        )

    def study(self, study: str) -> JobRow | None:
        """One study; None if there is no record of it. Raises QueueUnavailable."""
        return job(self.dispatcher.records, study)

    def _models(self, hosts: Set[str]) -> tuple[ModelState, ...]:
        redis = self.dispatcher.transport.connection
        heard = ServingBoard(redis).heard(hosts)
        watched = {each.name: each for each in ShadowLedger(redis).watched()}
        recent = DriftLedger(redis).recent(tuple(self.models))
        off = {**dict.fromkeys(self.disabled, 0), **ModelSwitches(redis).since()}
        return tuple(
            _model(
                name,
                _served_by(name, heard),
                off.get(name.id),
                watched.get(name, Watched(name)),
                recent[name],
                figures,
            )
            for name, figures in self.models.items()
        )


class _Budget:
    """Ends a reading that takes too long."""

    def __init__(self, elapsed_s: Callable[[], float]) -> None:
        self._elapsed_s, self._began_s = elapsed_s, elapsed_s()

    def left(self, value: T) -> T:
        if self._elapsed_s() - self._began_s > BUDGET_S:
            raise QueueUnavailable("the queue answers too slowly")
        return value


def by_kind(rows: Sequence[JobRow]) -> tuple[FailureKind, ...]:
    """Failed studies by the kind of their failure, the most frequent first."""
    kinds: dict[str, list[JobRow]] = {}
    for row in rows:
        kinds.setdefault(row.error_kind, []).append(row)
    groups = [FailureKind(kind, tuple(found)) for kind, found in kinds.items()]
    return tuple(sorted(groups, key=lambda group: (-len(group.studies), group.kind)))


def _served_by(name: ModelName, heard: Mapping[str, Sequence[Served]]) -> tuple[ServedBy, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for host, served in heard.items():
        for each in served:
            if each.name == name:
                found.setdefault((each.precision, each.reason), []).append(host)
    return tuple(ServedBy(*how, tuple(hosts)) for how, hosts in sorted(found.items()))


def _model(
    name: ModelName,
    served: tuple[ServedBy, ...],
    off_since_s: int | None,
    shadow: Watched,
    recent: Recent,
    figures: Mapping[str, Baseline],
) -> ModelState:
    precisions = (recent.precision, *(how.precision for how in served))
    tested = next((figures[each] for each in precisions if each in figures), None)

    def compared(count: int, expected: float | None) -> Compared:
        return Compared(count, expected, drift(count, recent.results, expected))

    return ModelState(
        name=name,
        served=served,
        off_since_s=off_since_s,
        shadow=shadow,
        recent=recent,
        tested=tested,
        strange=compared(recent.strange, tested.strange if tested else None),
        silent=compared(recent.silent, tested.silent if tested else None),
    )
