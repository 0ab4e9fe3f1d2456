"""Writes resources into a FHIR server in the best way that it takes, and learns which that is.

Safe to repeat in every way: what is there already is found by identifier and replaced in exactly
the version that was read; what is new is found again afterwards, and a second one that a race has
made is taken back. A failure in the middle leaves no report without its results, since each
resource is written after those that it refers to, and the next attempt goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from cds_service.clients.errors import (
    BadAnswer,
    Conflict,
    NotFound,
    Refused,
    Rejected,
    UpstreamError,
)
from cds_service.clients.fhir import FhirServer
from cds_service.clients.policy import MIB, HttpPolicy
from cds_service.writing.attempt import LEAVABLE, Attempt
from cds_service.writing.confirming import confirm
from cds_service.writing.plans import Plan, Transport, plans
from fhir_mapping.abilities import Abilities, abilities
from fhir_mapping.context import WriteForm
from fhir_mapping.existing import Standing, chosen, standing
from fhir_mapping.forms import Item
from fhir_mapping.recall import taken_back

log = logging.getLogger(__name__)

STATED_FOR_S = 3600.0
"""How long a CapabilityStatement, and what was learnt after it, is believed."""

_STATEMENT = HttpPolicy(deadline_s=10, attempts=2, bytes_cap=8 * MIB)


Standings = Mapping[str, Standing]
"""What is there already, by the urn of what it is."""


@dataclass(frozen=True)
class Written:
    """Where everything is, by urn; what is new, and types that the server does not take."""

    references: Mapping[str, str]
    created: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Of what was written now; ``None`` where the server does not tell."""


@dataclass(frozen=True)
class _Learnt:
    """What is known of the server, until `until_s` of the clock."""

    until_s: float
    able: Abilities
    plan: Plan | None = None
    left_out: frozenset[str] = frozenset()


@dataclass
class FhirWriter:
    """Writes to one server from any thread of one process.

    `wanted` is how new resources shall be named, whatever the server states; ``None`` leaves it
    to the server.
    """

    server: FhirServer
    wanted: WriteForm | None = None
    clock: Callable[[], float] = time.monotonic
    _known: _Learnt | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def standings(self, items: Iterable[Item]) -> dict[str, Standing]:
        """What is there of `items`, by urn; doubles that a race has made are taken back.

        Raises:
            UpstreamError: the server could not be asked.
        """
        return {urn: kept for urn, (kept, _) in self._held(items).items()}

    def confirmed(self, items: Iterable[Item], written: Written) -> dict[str, Standing]:
        """The same of what was just `written`; what the server changed in it is marked as ours.

        Raises:
            UpstreamError: the server could not be asked, or not all is marked.
        """
        held = self._held(item for item in items if item.identity.urn in written.versions)
        for urn, (kept, resource) in held.items():
            if kept.reference == written.references[urn]:
                confirm(self.server, resource, written.versions[urn])
        return {urn: kept for urn, (kept, _) in held.items()}

    def write(self, items: Sequence[Item], standings: Standings) -> Written:
        """Write `items`, which stand after what they refer to.

        Raises:
            Conflict: somebody changed one of `standings`, or made one that was not there: ask for
                them again.
            NotTaken: the server takes a resource in no form that we have.
            UpstreamError: nothing, or a beginning, was written; repeat all of it.
        """
        known = self._learnt()
        kinds = frozenset(item.kind for item in items)
        closed = {kind for kind in kinds & LEAVABLE if not known.able.writable(kind)}
        closed |= known.left_out
        ways = plans(known.able, kinds - closed, self.wanted)
        ways = ways[ways.index(known.plan) :] if known.plan in ways else ways
        for plan in ways:
            attempt = Attempt(self.server, plan, items, dict(standings), set(closed))
            try:
                attempt.run()
            except UpstreamError as error:
                if plan is ways[-1] or not _steps_down(error, plan):
                    raise
                log.info("another way of writing is tried", extra={"kind": error.kind})
                continue
            self._learn(known, attempt, closed)
            return Written(
                attempt.references,
                frozenset(attempt.created),
                frozenset(attempt.left_out),
                attempt.versions,
            )
        raise AssertionError("there is always a last way")

    def _learnt(self) -> _Learnt:
        """What the server states; asked once an hour, and nothing if it does not say."""
        now_s = self.clock()
        with self._lock:
            if self._known is not None and now_s < self._known.until_s:
                return self._known
        able = Abilities()
        with suppress(UpstreamError):
            able = abilities(self.server.capabilities(_STATEMENT))
        with self._lock:
            self._known = _Learnt(now_s + STATED_FOR_S, able)
            return self._known

    def _learn(self, known: _Learnt, attempt: Attempt, closed: set[str]) -> None:
        for kind in sorted(attempt.left_out - closed):
            log.warning("the server does not take a type", extra={"kind": kind})
        left_out = frozenset(attempt.left_out)
        with self._lock:
            self._known = _Learnt(known.until_s, known.able, attempt.plan, left_out)

    def _held(self, items: Iterable[Item]) -> dict[str, tuple[Standing, dict[str, Any]]]:
        """What stands, by urn, with the resource as it was read."""
        held = {}
        for kind, same in groupby(items, key=lambda item: item.kind):
            wanted = list(same)
            found = self._found(kind, wanted)
            for item in wanted:
                pairs = [(one, r) for r in found if (one := standing(r, item.identity)) is not None]
                kept, doubles = chosen(one for one, _ in pairs)
                if kept is not None:
                    held[item.identity.urn] = next(pair for pair in pairs if pair[0] is kept)
                self._take_back([(one, r) for one, r in pairs if one in doubles], item)
        return held

    def _found(self, kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Every resource of theirs; a server that knows no list of values is asked for each."""
        parameter = items[0].query[0]
        values = [item.query[1] for item in items]
        try:
            return list(self.server.search(kind, {parameter: ",".join(values)}))
        except (Rejected, NotFound, Refused, BadAnswer) as error:
            if kind != "DiagnosticReport" and (kind in LEAVABLE or isinstance(error, Refused)):
                return []  # written without being looked for, if it is written at all
            if len(values) == 1:
                raise
        return [r for value in values for r in self.server.search(kind, {parameter: value})]

    def _take_back(self, doubles: Sequence[tuple[Standing, dict[str, Any]]], item: Item) -> None:
        """Mark what a race has made twice; a person has touched none of it."""
        for double, resource in doubles:
            if "status" in resource:
                log.warning("a result was there twice", extra={"kind": item.kind})
                with suppress(Conflict):
                    self.server.write(taken_back(resource, double, item.identity))


def _steps_down(error: UpstreamError, plan: Plan) -> bool:
    """Whether the next way may work where this one was refused."""
    if isinstance(error, Refused):  # a token for each type is none for the system (SMART scopes)
        return plan.transport is not Transport.SINGLE and error.status == 403
    return isinstance(error, Rejected | NotFound | BadAnswer)
