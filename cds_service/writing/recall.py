"""Takes back what one version of a model has written: entered-in-error, with a Provenance.

Safe to stop and to repeat: what is recalled already is only looked at, and the same targets have
one Provenance. A run that takes back what an earlier one could not adds one of all of them; the
earlier one stays, and says what was taken back by then. What a newer analysis took back is
recalled, too, since it could be stated anew. What a person has signed or changed is theirs: it is
listed, not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from cds_service.clients.errors import BadAnswer, Conflict, NotFound, Rejected, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.interactions import patient_of
from cds_service.writing.confirming import confirm, following
from cds_service.writing.writer import FhirWriter
from fhir_mapping.existing import Standing, ours
from fhir_mapping.identity import IDENTIFIER_ROOT
from fhir_mapping.reading import Json, member, members, text
from fhir_mapping.recall import Recall, amending, recall_provenance, voiding

Resource = dict[str, Any]

CHUNK = 20
"""References in one search."""


@dataclass(frozen=True)
class Row:
    """One resource and what becomes of it; `state` is one of `STATES` or ``failed: kind``."""

    reference: str
    issued: str
    state: str


OPEN, DONE, ALREADY, KEPT = "to be recalled", "recalled", "recalled before", "a person's, kept"
AMENDED = "recalled in part: other models answered, too"
UNASKED = "not asked: the tenant has no backend"
STATES = (OPEN, DONE, AMENDED, ALREADY, KEPT, UNASKED)


@dataclass(frozen=True)
class Recaller:
    """Finds and takes back, on one server.

    `devices` are values of Device identifiers that the model is known by, for servers that take no
    Device; `since` and `until` are days on which results were issued, both included.
    """

    server: FhirServer
    recall: Recall
    devices: Collection[str] = ()
    since: date | None = None
    until: date | None = None

    def knows(self) -> bool:
        """Whether the server has the model version as a Device.

        Raises:
            UpstreamError: it does not say.
        """
        return bool(self._devices())

    def rows(self, *, dry_run: bool = False) -> Iterator[Row]:
        """Each result of the model, as it has been dealt with.

        Raises:
            UpstreamError: the results could not be looked for; a single one that could not be
                written is a row, and the next run tries it again.
        """
        devices = self._devices()
        observations = {_place(o): o for o in self._observations(devices)}
        for report in self._reports(devices, observations):
            results = [observations.pop(r) for r in _results(report) if r in observations]
            gone = {_place(each) for each in results}
            left = self._standing(r for r in _results(report) if r not in gone) if results else []
            if left and _state(report) is OPEN:
                yield self._amended(report, left, dry_run=dry_run)
                yield from self._taken(results[0], results[1:], devices, dry_run=dry_run)
            else:
                yield from self._taken(report, results, devices, dry_run=dry_run)
        for observation in observations.values():
            yield from self._taken(observation, (), devices, dry_run=dry_run)

    def _devices(self) -> list[Resource]:
        """The model version's Devices; each file of weights has one of its own.

        Raises:
            Rejected, NotFound, BadAnswer: it looks for none, and `devices` names none either.
        """
        found: list[Resource] = []
        answered, refused = False, None
        for query in ({"model": self.recall.model_id}, {"identifier": _ours("device")}):
            try:
                found = [d for d in self.server.search("Device", query) if self._is_model(d)]
                answered = True
            except (Rejected, NotFound, BadAnswer) as error:
                refused = error
            if found:
                break
        if refused is not None and not answered and not self.devices:
            raise refused
        return found

    def _is_model(self, device: Json) -> bool:
        versions = {text(each, "value") for each in members(device, "version")}
        same = text(device, "modelNumber") == self.recall.model_id
        return same and self.recall.model_version in versions and bool(ours(device, "device"))

    def _observations(self, devices: Sequence[Resource]) -> Iterator[Resource]:
        """Every Observation of ours that names one of the Devices, by whatever it names it."""
        places = {_place(device) for device in devices}
        names = {*self.devices, *(name for d in devices for name in ours(d, "device"))}
        queries = [{"device": place} for place in sorted(places)]
        queries += [{"device:identifier": f"{_ours('device')}{name}"} for name in sorted(names)]
        seen: set[str] = set()
        for found in self._found_observations(queries):
            named = member(found, "device")
            literal = _last(text(named, "reference") or "")
            logical = text(member(named, "identifier"), "value")
            known = literal in places or logical in names
            if known and ours(found, "observation") and _place(found) not in seen:
                seen.add(_place(found))
                if self._in_time(found):
                    yield found

    def _found_observations(self, queries: Sequence[Mapping[str, str]]) -> Iterator[Resource]:
        """What the queries find; a server that looks for no device is asked for all of ours.

        Raises:
            Rejected: it looks for nothing of that, and what it holds cannot be known.
        """
        answered = not queries
        for query in queries:
            with suppress(Rejected, NotFound):
                yield from self.server.search("Observation", query)
                answered = True
        if not answered:
            with suppress(NotFound):
                yield from self.server.search("Observation", {"identifier": _ours("observation")})

    def _reports(
        self, devices: Sequence[Resource], observations: Mapping[str, Resource]
    ) -> Iterator[Resource]:
        """Every report of ours on one of the Observations, or whose Provenance names a Device."""
        seen: set[str] = set()
        for report in self._found_reports(devices, observations):
            place = _place(report)
            if place not in seen and ours(report, "report"):
                seen.add(place)
                yield report

    def _found_reports(
        self, devices: Sequence[Resource], observations: Mapping[str, Resource]
    ) -> Iterator[Resource]:
        wanted = set(observations)
        try:
            listed = sorted(wanted)
            for at in range(0, len(listed), CHUNK):
                chunk = ",".join(listed[at : at + CHUNK])
                yield from self._resting_on(wanted, {"result": chunk})
        except (Rejected, NotFound):  # a server that does not look for results
            yield from self._resting_on(wanted, {"identifier": _ours("report")})
        for device in devices:
            with suppress(Rejected, NotFound):
                made = list(self.server.search("Provenance", {"agent": _place(device)}))
                targets = {_last(text(t, "reference") or "") for p in made for t in _targets(p)}
                for place in sorted(t for t in targets if t.startswith("DiagnosticReport/")):
                    with suppress(NotFound):
                        report = self.server.read(place)
                        # one that has results has been found by them, if they are this model's
                        if not _results(report) and self._in_time(report):
                            yield report

    def _resting_on(self, wanted: Set[str], query: Mapping[str, str]) -> Iterator[Resource]:
        for report in self.server.search("DiagnosticReport", query):
            if not wanted.isdisjoint(_results(report)):
                yield report

    def _in_time(self, resource: Json) -> bool:
        day = (text(resource, "issued") or "")[:10]
        early = self.since is not None and day < self.since.isoformat()
        return not early and (self.until is None or day <= self.until.isoformat())

    def _standing(self, places: Iterable[str]) -> list[Resource]:
        """Those of some Observations that are not void."""
        found = []
        for place in places:
            with suppress(NotFound):
                found.append(self.server.read(place))
        return [each for each in found if not Standing.of(each).void]

    def _amended(self, report: Resource, left: Sequence[Resource], *, dry_run: bool) -> Row:
        """A report of several models, of which one is recalled."""
        place, issued = _place(report), text(report, "issued") or ""
        if dry_run:
            return Row(place, issued, OPEN)
        try:
            written = self.server.write(amending(report, left, self.recall))
            version = written.version or following(Standing.of(report).version)
            confirm(self.server, self.server.read(place), version)
        except UpstreamError as error:
            return Row(place, issued, f"failed: {error.kind}")
        return Row(place, issued, AMENDED)

    def _taken(
        self,
        first: Resource,
        results: Iterable[Resource],
        devices: Sequence[Resource],
        *,
        dry_run: bool,
    ) -> Iterator[Row]:
        """A report and its results, the report first: it is what people read."""
        rows = [self._void(each, dry_run=dry_run) for each in (first, *results)]
        targets = [row.reference for row in rows if row.state in (DONE, ALREADY)]
        if targets and not dry_run:
            try:
                self._explain(targets, devices, patient_of(first))
            except UpstreamError as error:
                rows[0] = Row(rows[0].reference, rows[0].issued, f"failed: {error.kind}")
        yield from rows

    def _void(self, found: Resource, *, dry_run: bool) -> Row:
        place, issued = _place(found), text(found, "issued") or ""
        state = _state(found)
        if state is not OPEN or dry_run:
            return Row(place, issued, state)
        try:
            try:
                self.server.write(voiding(found, self.recall))
            except Conflict:  # somebody was first: whose is it now?
                found = self.server.read(place)
                state = _state(found)
                if state is not OPEN:
                    return Row(place, issued, state)
                self.server.write(voiding(found, self.recall))
        except UpstreamError as error:
            return Row(place, issued, f"failed: {error.kind}")
        return Row(place, issued, DONE)

    def _explain(self, targets: Sequence[str], devices: Sequence[Resource], patient: str) -> None:
        named: list[Resource] = [{"reference": _place(d), "type": "Device"} for d in devices]
        item = recall_provenance(self.recall, targets, named, patient)
        writer = FhirWriter(self.server)
        written = writer.standings([item])
        if not written:
            writer.write([item], written)


def _state(found: Json) -> str:
    standing = Standing.of(found)
    if standing.void and not standing.superseded:  # what was superseded could be stated anew
        return ALREADY
    return KEPT if standing.taken_over else OPEN


def _ours(kind: str) -> str:
    return f"{IDENTIFIER_ROOT}:{kind}|"


def _place(resource: Json) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _last(reference: str) -> str:
    """``Type/id`` at the end of a reference, without its version."""
    return "/".join(reference.split("/_history/")[0].split("/")[-2:])


def _results(report: Json) -> list[str]:
    return [_last(text(each, "reference") or "") for each in members(report, "result")]


def _targets(provenance: Json) -> Iterator[Json]:
    return members(provenance, "target")
