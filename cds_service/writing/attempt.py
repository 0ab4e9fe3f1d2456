"""One write in one way: level by level, softer where a server refuses, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from cds_service.clients.interactions import EntryResult
from cds_service.writing.confirming import following
from cds_service.writing.errors import Contended, NotTaken
from cds_service.writing.plans import Plan, Transport
from fhir_mapping.context import WriteForm
from fhir_mapping.existing import Standing, standing
from fhir_mapping.forms import Item, Softness, entry, resolved, softened, transaction, without

LEAVABLE = frozenset({"Device", "Provenance"})
"""A server may refuse these: the report names its model and its images all the same."""

_NO_SUCH_THING = (403, 404, 405, 501)


@dataclass
class Attempt:
    """One write of `items`, which stand after what they refer to.

    `standings` is what is there, by urn. `left_out` begins with the types that the server is known
    to refuse, and ends with those that it refused; `softness` is how much it takes of the others.
    """

    server: FhirServer
    plan: Plan
    items: Sequence[Item]
    standings: dict[str, Standing]
    left_out: set[str]
    softness: Softness = Softness.NOTHING
    references: dict[str, str] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    versions: dict[str, str | None] = field(default_factory=dict)
    """Of what was written, as far as it can be known."""

    def run(self) -> None:
        """Write everything.

        Raises:
            UpstreamError: a transaction wrote nothing; other ways may have written a beginning.
        """
        for item in self.items:  # how a report came to be does not change any more
            known = self.standings.get(item.identity.urn)
            if known is not None and item.kind == "Provenance":
                self.references[item.identity.urn] = known.reference
        if self.plan.transport is Transport.TRANSACTION:
            self._together(self._open_items(), "transaction")
            return
        for kind, _ in groupby(self.items, key=lambda item: item.kind):
            try:
                self._level(kind)
            except (Rejected, NotFound, Refused) as error:
                if not _leavable(kind, error) or self.plan.transport is not Transport.SINGLE:
                    raise
                self.left_out.add(kind)

    def _open_items(self) -> list[Item]:
        """What is still to be written, without what the server refuses."""
        kept = without(self.items, self.left_out, self._identities)
        return [item for item in kept if item.identity.urn not in self.references]

    def _level(self, kind: str) -> None:
        """Everything of one type, after what it refers to."""
        ready = [item for item in self._open_items() if item.kind == kind]
        if ready and self.plan.transport is Transport.BATCH:
            self._together(ready, "batch")
        elif self.plan.transport is Transport.SINGLE:
            for item in ready:
                self._alone(item)

    def _together(self, items: Sequence[Item], kind: str) -> None:
        (form,) = self.plan.forms
        if form is WriteForm.PLAIN:
            self._look_for(items)

        def send(softness: Softness) -> None:
            soft = [self._ready(item, softness) for item in items]
            bundle = transaction(soft, form, self.standings, kind)
            result = self.server.transact(bundle, once=_only_once(bundle))
            for item, one in zip(soft, result.entries, strict=True):
                self._note(item, one, form)

        try:
            send(self.softness)
        except (Rejected, NotFound) as error:
            self._softer(send, items[-1].kind, error)

    def _alone(self, item: Item) -> None:
        """One resource: by each form, and if none does, with less and less in it."""
        last, refused = self.plan.forms[0], None
        for last in self.plan.forms:
            try:
                self._write(item, last, self.softness)
            except (Rejected, NotFound, Refused, Conflict) as error:
                refused = self._refusal(item, error)
            else:
                return
            if refused.status == 422 or item.identity.urn in self.standings:
                break  # it was understood
        form = last
        if refused is not None:
            self._softer(lambda soft: self._write(item, form, soft), item.kind, refused)

    def _refusal(self, item: Item, error: UpstreamError) -> UpstreamError:
        """`error`, if another form or less content may be taken; everything else is raised."""
        if error.status == 401:
            raise error
        if isinstance(error, Conflict) and "not-supported" not in error.issues:
            raise error
        if isinstance(error, NotFound) and item.identity.urn in self.standings:
            raise Contended(f"A {item.kind} was removed meanwhile.")
        return error

    def _write(self, item: Item, form: WriteForm, softness: Softness) -> None:
        if form is WriteForm.PLAIN:
            self._look_for([item])
        known = self.standings.get(item.identity.urn)
        if known is None or item.kind != "Provenance":
            written = self.server.write(entry(self._ready(item, softness), form, known))
            self._note(item, written, form)

    def _ready(self, item: Item, softness: Softness) -> Item:
        return resolved(softened(item, softness, self._identities), self.references)

    def _softer(self, send: Callable[[Softness], None], kind: str, refused: UpstreamError) -> None:
        """Where it was refused for its content, send it with less in it."""
        unsupported = "not-supported" in refused.issues
        steps = self.softness.steps if refused.status in (400, 404, 422) else ()
        for softness in () if unsupported else steps:
            try:
                send(softness)
            except (Rejected, NotFound):
                continue
            self.softness = softness
            return
        if refused.status in _NO_SUCH_THING:
            raise refused
        raise NotTaken.of(refused, self.server.name, kind)

    def _look_for(self, items: Iterable[Item]) -> None:
        """Before a create that may not be repeated: what is there already is updated."""
        for item in items:
            urn = item.identity.urn
            if item.kind in LEAVABLE and urn not in self.standings:
                found = next(self._found(item), None)
                self.standings |= {urn: found} if found else {}

    def _found(self, item: Item) -> Any:
        """Where a resource is; a server that knows no tags is asked by what it speaks of."""
        parameter, value = item.query
        targets = item.resource.get("target")
        queries = [{parameter: value}]
        if isinstance(targets, list) and targets:
            queries.append({"target": str(targets[0]["reference"])})
        for query in queries:
            with suppress(Rejected, NotFound, Refused, BadAnswer):
                for resource in self.server.search(item.kind, query):
                    found = standing(resource, item.identity)
                    if found is not None:
                        yield found

    def _note(self, item: Item, result: EntryResult, form: WriteForm) -> None:
        urn = item.identity.urn
        known = self.standings.get(urn)
        reference = known.reference if known else result.reference
        if reference is None:
            reference = next((one.reference for one in self._found(item)), None)
        if reference is None:
            raise BadAnswer(f"{self.server.name} does not say where a {item.kind} went.")
        self.references[urn] = reference
        if known is not None or result.created or form is not WriteForm.CONDITIONAL_CREATE:
            self.versions[urn] = result.version or following(known.version if known else "0")
        if known is None and form is not WriteForm.CLIENT_ASSIGNED_IDS:
            self.created.add(urn)

    @property
    def _identities(self) -> dict[str, Any]:
        return {item.identity.urn: item.identity for item in self.items}


def _only_once(bundle: dict[str, Any]) -> bool:
    requests = [entry["request"] for entry in bundle["entry"]]
    return any(r["method"] == "POST" and "ifNoneExist" not in r for r in requests)


def _leavable(kind: str, error: UpstreamError) -> bool:
    """Results may only be left out by a server that takes none of them, not for their content."""
    closed = error.status in _NO_SUCH_THING or "not-supported" in error.issues
    return kind in LEAVABLE or (kind == "Observation" and closed)
