"""One study's evidence against archives that take it, refuse it, forget it or fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cds_service.clients.errors import Incomplete, ServerError, UpstreamError
from cds_service.clients.stow import Receipt, Said, ToStore
from cds_service.evidence.keeping import EvidenceKeeper, Shelf
from cds_service.evidence.ledger import Told
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import StudyRecord
from inference.analysis import StudyIdentity
from inference.evidence.objects import EvidenceObject, Kind
from tests.doubles import explained
from tests.doubles.evidence_cases import (
    AT,
    OUTLINE_MANIFEST,
    found_on,
    manifest_of,
    outlined_on,
    series,
)
from tests.reference.dicom_factory import encoded

IMAGES = series(6)
STUDY = str(IMAGES[0].StudyInstanceUID)
ORDER = {
    "tenant": "north", "study_uid": STUDY, "archive": "pacs", "patient_reference": "Patient/1",
}  # fmt: skip
RECORD = StudyRecord("5d" * 16)
ANALYSIS = replace(
    explained.finding(),
    identity=StudyIdentity(STUDY, str(IMAGES[0].PatientID)),
    results=(found_on(IMAGES), outlined_on(IMAGES)),
)
MANIFESTS = {result.model_id: manifest_of(result) for result in ANALYSIS.results}
PICTURES = frozenset({Kind.PICTURE})


class Pacs:
    """An archive in memory: `forgets` lists nothing that it took, `says` overrides its receipts.

    It lists what it took after so many more looks (`late`).
    """

    def __init__(
        self,
        says: Receipt | None = None,
        *,
        late: int = 0,
        fails: UpstreamError | None = None,
        lost: UpstreamError | None = None,
    ) -> None:
        self.held: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.requests = 0
        self._says, self._late, self._fails, self._lost = says, late, fails, lost

    def instances(self, study_uid: str, series_uid: str) -> Sequence[str]:
        if self.held and self._late:
            self._late -= 1
            return ()
        return tuple(self.held)

    def retrieve_some(
        self, study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]
    ) -> Iterator[bytes]:
        if self._lost is not None:
            raise self._lost
        self.asked += sop_instance_uids
        by_uid = {str(each.SOPInstanceUID): encoded(each) for each in IMAGES}
        return iter([by_uid[uid] for uid in sop_instance_uids])

    def store(self, study_uid: str, objects: Sequence[ToStore]) -> Mapping[str, Receipt]:
        self.requests += 1
        if self._fails is not None:
            raise self._fails
        said = self._says or Receipt(Said.STORED)
        if said.said in (Said.STORED, Said.WARNED):
            self.held |= {each.sop_instance_uid: each.data for each in objects}
        return {each.sop_instance_uid: said for each in objects}


class Ledger:
    """Remembers what was told."""

    def __init__(self, *, broken: bool = False) -> None:
        self.said: list[Told] = []
        self._broken = broken

    def tell(self, study: str, told: Told) -> None:
        if self._broken:
            raise QueueUnavailable("Redis is not there")
        self.said.append(told)


def kept(
    pacs: Pacs, kinds: frozenset[Kind] = PICTURES, **options: Any
) -> tuple[Ledger, list[EvidenceObject]]:
    """Keep the study's evidence in `pacs`; what was told, and the objects that were verified."""
    ledger, seen, waits = Ledger(broken=options.pop("broken", False)), [], []

    def verified(*told: Any) -> None:
        seen.extend(told[3])

    keeper = EvidenceKeeper(
        shelves={"north": Shelf(kinds, {"pacs": pacs}, {"pacs": pacs})},
        manifests=options.pop("manifests", MANIFESTS),
        ledger=ledger,  # type: ignore[arg-type]  # a double with the one method that is used
        now=lambda: AT,
        verified=options.pop("verified", verified),
        sleep=waits.append,
    )
    keeper.keep({**ORDER, **options}, RECORD, ANALYSIS)
    return ledger, seen


def test_everything_that_was_asked_for_is_stored_and_verified() -> None:
    pacs = Pacs()
    ledger, seen = kept(pacs, frozenset(Kind))
    assert ledger.said == [Told(under_way=True), Told(stored=5)]
    assert [(each.model_id, each.name.kind) for each in seen] == [
        ("brain-mri-tumour", Kind.MAP), ("brain-mri-tumour", Kind.PICTURE),
        ("brain-mri-tumour", Kind.REPORT),
        (OUTLINE_MANIFEST.id, Kind.OUTLINE), (OUTLINE_MANIFEST.id, Kind.REPORT),
    ]  # fmt: skip
    assert pacs.requests == 1


def test_only_the_images_that_decided_are_fetched() -> None:
    pacs = Pacs()
    kept(pacs)
    deciding = str(IMAGES[2].SOPInstanceUID)
    assert set(pacs.asked) == {deciding}, "a picture needs the header of one image"


def test_a_repeat_sends_nothing() -> None:
    pacs = Pacs()
    kept(pacs, frozenset(Kind))
    ledger, seen = kept(pacs, frozenset(Kind))
    assert pacs.requests == 1
    assert ledger.said[-1] == Told(stored=5)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("pacs", "told"),
    [
        (Pacs(Receipt(Said.WARNED, 0xB000)), Told(stored=1)),
        (Pacs(late=3), Told(stored=1)),
        (Pacs(late=99), Told(failed=1, kinds=("not-listed",))),
        (Pacs(Receipt(Said.NOTHING)), Told(failed=1, kinds=("not-listed",))),
        (Pacs(Receipt(Said.FAILED, 0x0122)), Told(failed=1, kinds=("failed-0122",))),
        (Pacs(Receipt(Said.BUSY, 0xA700)), Told(failed=1, kinds=("busy-a700",))),
        (Pacs(Receipt(Said.TOO_LARGE)), Told(failed=1, kinds=("too-large",))),
        (Pacs(fails=ServerError("503")), Told(failed=1, kinds=("server-error",))),
        (Pacs(lost=Incomplete("gone")), Told(failed=1, kinds=("incomplete",))),
    ],
)
def test_what_the_archive_made_of_it_is_told(pacs: Pacs, told: Told) -> None:
    ledger, seen = kept(pacs)
    assert ledger.said[-1] == told
    assert len(seen) == told.stored


def test_a_report_that_cannot_be_written_again_leaves_the_objects_stored() -> None:
    def fails(*_: Any) -> None:
        raise ServerError("the FHIR server failed")

    ledger, _ = kept(Pacs(), verified=fails)
    assert ledger.said[-1] == Told(stored=1, kinds=("server-error",))


@pytest.mark.parametrize("options", [{"manifests": {}}, {"broken": True}])
def test_no_fault_of_ours_ends_a_study_that_is_over(options: dict[str, Any]) -> None:
    kept(Pacs(), **options)


def test_nothing_is_kept_for_a_tenant_that_wants_none() -> None:
    pacs = Pacs()
    for ledger, _ in (kept(pacs, frozenset()), kept(pacs, tenant="south")):
        assert ledger.said == []
    assert (pacs.asked, pacs.requests) == ([], 0)


def test_what_is_told_of_it_reads_as_words() -> None:
    assert Told(under_way=True).words == "being stored"
    assert Told(stored=4, refused=1, kinds=("evidence-refused",)).words == (
        "4 stored, 1 refused (evidence-refused)"
    )
    assert Told(failed=1, kinds=("server-error",)).words == "1 failed (server-error)"
