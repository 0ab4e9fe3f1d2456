"""One study's evidence, from its result to the archive: fetch headers, make, store, look.

A repeat finds the objects there by their UIDs, which are made from content, and sends nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from cds_service.clients.errors import UpstreamError
from cds_service.clients.stow import Receipt, Said, ToStore
from cds_service.errors import ServiceError
from cds_service.evidence.ledger import UNDER_WAY, EvidenceLedger, Told
from cds_service.orders import ref_of
from cds_service.queue.errors import QueueError
from cds_service.queue.state import StudyRecord
from fhir_mapping.errors import MappingError
from inference.analysis import Analysis, ModelResult, SliceResult
from inference.boundary import contained
from inference.errors import EvidenceRefused, InferenceError
from inference.evidence.making import Made, Maker, slices_needed
from inference.evidence.objects import EvidenceObject, Kind, Refusal
from inference.evidence.source import SourceImage, source_image
from models.manifest import Manifest

log = logging.getLogger(__name__)

LOOKS_S = (0.0, 0.5, 1.0, 2.0)
"""Waits before each look: an archive may answer before it has indexed what it took."""


_NOT_LISTED = "not-listed"
_PASSING = (_NOT_LISTED, str(Said.BUSY))
"""How the kinds of failure begin that may be gone when the archive is asked again."""


class Archive(Protocol):
    """An archive that is read (see `clients.dicomweb`)."""

    def instances(self, study_uid: str, series_uid: str) -> Sequence[str]:
        """The SOP Instance UIDs that it lists for a series."""

    def retrieve_some(
        self, study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]
    ) -> Iterator[bytes]:
        """These instances of a series."""


class Store(Protocol):
    """An archive that is written to (see `clients.stow`)."""

    def store(self, study_uid: str, objects: Sequence[ToStore]) -> Mapping[str, Receipt]:
        """What was said of each object."""


@dataclass(frozen=True)
class Shelf:
    """What one tenant keeps (`kinds`), and in which of the archives, by their names."""

    kinds: frozenset[Kind]
    archives: Mapping[str, Archive]
    stores: Mapping[str, Store]


Verified = Callable[[Mapping[str, Any], StudyRecord, Analysis, Sequence[EvidenceObject]], None]
"""Told of the objects that are there, if any are: order, record, analysis, objects."""


def _nobody(
    order: Mapping[str, Any],
    record: StudyRecord,
    analysis: Analysis,
    objects: Sequence[EvidenceObject],
) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class EvidenceKeeper:
    """Keeps the evidence of each study that has ended, where its tenant wants that.

    `shelves` are by tenant name, `manifests` by model id. `verified` is told of what is there.
    """

    shelves: Mapping[str, Shelf]
    manifests: Mapping[str, Manifest]
    ledger: EvidenceLedger
    now: Callable[[], datetime]
    verified: Verified = _nobody
    sleep: Callable[[float], None] = time.sleep

    def keep(self, order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> bool:
        """Keep one study's evidence; whether something is missing that a later attempt may bring.

        Never raises: the study is over, and its result is written.
        """
        shelf = self.shelves.get(ref_of(order).tenant)
        if shelf is None or not shelf.kinds or not analysis.results:
            return False
        self._tell(record, UNDER_WAY)
        try:
            with contained(_failed):
                told, again = self._attempt(order, record, analysis, shelf)
        except InferenceError as error:
            told, again = Told(failed=1, kinds=(error.kind,)), error.retryable
        self._tell(record, told)
        return again

    def _attempt(
        self, order: Mapping[str, Any], record: StudyRecord, analysis: Analysis, shelf: Shelf
    ) -> tuple[Told, bool]:
        told, again = Told(failed=1), False
        try:
            there, told = self._kept(analysis, shelf, ref_of(order).ref.archive)
            again = any(kind.startswith(_PASSING) for kind in told.kinds)
            if there:
                self.verified(order, record, analysis, there)
        except (UpstreamError, MappingError, ServiceError) as error:
            told = replace(told, kinds=(*told.kinds, error.kind))
            again = again or error.retryable
        return told, again

    def _tell(self, record: StudyRecord, told: Told) -> None:
        if not told.under_way:
            level = logging.WARNING if told.failed else logging.INFO
            said = {"study": record.id, "stored": told.stored, "failed": told.failed}
            log.log(level, "evidence", extra={**said, "kind": ",".join(told.kinds)})
        try:
            self.ledger.tell(record.id, told)
        except QueueError as error:
            log.warning("what became of evidence was not noted", extra={"kind": error.kind})

    def _kept(
        self, analysis: Analysis, shelf: Shelf, archive: str
    ) -> tuple[Sequence[EvidenceObject], Told]:
        """The objects that are there, and how all of them ended."""
        refusals: list[Refusal] = []
        objects: list[EvidenceObject] = []
        for result in analysis.results:
            for made in self._made(analysis, result, shelf, archive):
                (refusals if isinstance(made, Refusal) else objects).append(made)  # type: ignore[arg-type]  # sorted by what they are
        receipts = self._store(objects, shelf, archive)
        there = [
            each for each in objects if self._is_there(each, shelf.archives[archive], receipts)
        ]
        kinds = ["evidence-refused"] * bool(refusals)
        kinds += [_why(receipts.get(o.name.sop_instance_uid)) for o in objects if o not in there]
        told = Told(
            len(there), len(refusals), len(objects) - len(there), tuple(dict.fromkeys(kinds))
        )
        return there, told

    def _made(
        self, analysis: Analysis, result: ModelResult, shelf: Shelf, archive: str
    ) -> Iterator[Made]:
        """The objects of one result, on the headers of the slices that decided it."""
        wanted = set(slices_needed(result, shelf.kinds))
        slices = [each for each in result.slices if each.number in wanted]
        sources = dict(_sources(analysis, result, slices, shelf.archives[archive]))
        maker = Maker(result, self.manifests[result.model_id], sources, self.now())
        yield from maker.make(shelf.kinds)

    def _store(
        self, objects: Sequence[EvidenceObject], shelf: Shelf, archive: str
    ) -> Mapping[str, Receipt]:
        """Send what is not there yet, a study's objects in one request."""
        missing = [each for each in objects if not _listed(each, shelf.archives[archive])]
        receipts: dict[str, Receipt] = {}
        for study_uid, group in groupby(missing, lambda each: each.study_uid):
            sent = [ToStore(each.name.sop_instance_uid, each.encoded) for each in group]
            receipts |= shelf.stores[archive].store(study_uid, sent)
        return receipts

    def _is_there(
        self, one: EvidenceObject, archive: Archive, receipts: Mapping[str, Receipt]
    ) -> bool:
        """Whether the archive lists the object; one that was refused is looked for once."""
        receipt = receipts.get(one.name.sop_instance_uid)
        hopeful = receipt is None or receipt.said in (Said.STORED, Said.WARNED, Said.NOTHING)
        for wait_s in LOOKS_S if hopeful else LOOKS_S[:1]:
            if wait_s:
                self.sleep(wait_s)
            if _listed(one, archive):
                return True
        return False


def _sources(
    analysis: Analysis, result: ModelResult, slices: Collection[SliceResult], archive: Archive
) -> Iterator[tuple[int, SourceImage]]:
    """The headers of some slices, by their numbers; the instances are dropped one by one."""
    wanted: dict[str, list[SliceResult]] = {}
    for each in slices:
        wanted.setdefault(each.sop_instance_uid, []).append(each)
    study_uid = analysis.identity.study_uid
    for data in archive.retrieve_some(study_uid, result.series_uid, list(wanted)):
        first = source_image(data, 1, analysis.identity)
        for each in wanted[first.sop_instance_uid]:
            same = first if each.frame == 1 else source_image(data, each.frame, analysis.identity)
            yield each.number, same


def _listed(one: EvidenceObject, archive: Archive) -> bool:
    return one.name.sop_instance_uid in archive.instances(one.study_uid, one.name.series_uid)


def _why(receipt: Receipt | None) -> str:
    """The kind of failure of an object that is not there."""
    if receipt is None or receipt.said in (Said.STORED, Said.WARNED, Said.NOTHING):
        return _NOT_LISTED
    return str(receipt.said) if receipt.reason is None else f"{receipt.said}-{receipt.reason:04x}"


def _failed(reason: str) -> EvidenceRefused:
    return EvidenceRefused("The evidence of the study could not be made.")
