"""Evidence of a known study, kept in a real archive by the service's own keeper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cds_service.clients.dicomweb import Archive
from cds_service.clients.http import HttpClient
from cds_service.clients.policy import HttpPolicy
from cds_service.clients.stow import StowService
from cds_service.evidence.keeping import EvidenceKeeper, Shelf
from cds_service.evidence.ledger import Told
from cds_service.queue.state import StudyRecord
from cds_service.security.egress import Allowance
from inference.evidence.objects import EvidenceObject
from tests.doubles.evidence import KnownStudy
from tests.doubles.evidence_cases import ALL, AT, manifest_of

RECORD = StudyRecord("5d" * 16)


class Ledger:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def tell(self, study: str, told: Told) -> None:
        """One more line."""
        self.told.append(told)


@dataclass
class Keeping:
    """A keeper before one archive, with what it told and what was seen to be there."""

    study: KnownStudy
    archive: Archive
    stow: StowService
    ledger: Ledger = field(default_factory=Ledger)
    seen: list[EvidenceObject] = field(default_factory=list)

    def keep(self) -> None:
        """Keep the evidence of the finding and of the outline."""
        results = (self.study.found, self.study.outlined)
        keeper = EvidenceKeeper(
            {"north": Shelf(ALL, {"pacs": self.archive}, {"pacs": self.stow})},
            {result.model_id: manifest_of(result) for result in results},
            self.ledger,  # type: ignore[arg-type]  # a double of the protocol that is used
            lambda: AT,
            self._verified,
        )
        keeper.keep(self._order(), RECORD, replace(self.study.analysis, results=results))

    def _verified(self, *told: Any) -> None:
        self.seen.extend(told[3])

    def _order(self) -> dict[str, Any]:
        uid = self.study.analysis.identity.study_uid
        return {
            "tenant": "north", "study_uid": uid, "archive": "pacs",
            "patient_reference": "Patient/1",
        }  # fmt: skip


@contextmanager
def keeping(study: KnownStudy, base_url: str) -> Iterator[Keeping]:
    """The keeper, with connections that are closed in the end."""
    base = Allowance("Orthanc", base_url, http_ok=True)
    archive, stow = Archive(base), StowService(HttpClient(base, policy=HttpPolicy()))
    try:
        yield Keeping(study, archive, stow)
    finally:
        archive.close()
        stow.close()
