"""Evidence that an archive did not take is tried again by a job of its own, and stored once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cds_service.clients.errors import ServerError
from cds_service.clients.interactions import nobody
from cds_service.clients.stow import Receipt, Said
from cds_service.evidence.again import OUTCOME, EvidenceAgain, EvidenceMissing
from cds_service.evidence.keeping import EvidenceKeeper, Shelf
from cds_service.evidence.lane import EvidenceLane, is_evidence_order, of_evidence
from cds_service.model_choice import ServedModels
from cds_service.ops.depth import is_study
from cds_service.queue.errors import QueueFull, QueueUnavailable
from cds_service.queue.state import Priority, State, StudyRecord, check_step
from inference.analysis import Analysis
from models.contract import SeriesFacts
from tests.doubles.evidence_cases import AT
from tests.doubles.lane_queue import LaneQueue
from tests.unit.cds_service.evidence.test_keeping import (
    ANALYSIS,
    MANIFESTS,
    ORDER,
    PICTURES,
    STUDY,
    Ledger,
    Pacs,
)

DIGEST = ANALYSIS.instance_digest
ENDED = StudyRecord("5d" * 16, state=State.FINAL, models="m1", instance_digest=DIGEST)
OWN = StudyRecord(f"evidence-{ENDED.id}", job_id="j1")


class Archive(Pacs):
    """Holds the study as well as its evidence."""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return (SeriesFacts("1.2.3", modality="MR", instances=6),)

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        return iter(())


@dataclass
class Records:
    """The study's record, and the way of the job's own."""

    study: StudyRecord | None
    states: list[State] = field(default_factory=list)
    outcome: str = ""

    def get(self, study: str) -> StudyRecord | None:
        return self.study if self.study and study == self.study.id else None

    def advance(self, record: StudyRecord, state: State, **changes: Any) -> StudyRecord:
        check_step(record.state, state)
        self.states.append(state)
        self.outcome = changes.get("outcome", "")
        return replace(record, state=state)


def run(
    pacs: Archive, study: StudyRecord | None = ENDED, analysis: Analysis = ANALYSIS
) -> tuple[Records, Ledger]:
    """One attempt at the evidence of `study`, whose images give `analysis` now."""
    records, ledger = Records(study), Ledger()

    def analyse(
        plan: object, fetch: object, told: Callable[[str], None], *, identity: object
    ) -> Analysis:
        told("reading")
        return analysis

    task = SimpleNamespace(
        archives={"pacs": pacs},
        analyser=SimpleNamespace(plan=lambda series, withheld: series, analyse=analyse),
        records=records,
        models=lambda tenant: ServedModels("m1", frozenset()),
        unverified={"north"},
        watch=lambda tenant, archive: nobody,
    )
    keeper = EvidenceKeeper(
        {"north": Shelf(PICTURES, {"pacs": pacs}, {"pacs": pacs})},
        MANIFESTS,
        ledger,  # type: ignore[arg-type]  # a double with the one method that is used
        lambda: AT,
        sleep=lambda _: None,
    )
    again = EvidenceAgain(lambda: task, keeper)  # type: ignore[arg-type,return-value]  # what is read of it
    again({**ORDER, "evidence": ENDED.id}, SimpleNamespace(record=OWN))  # type: ignore[arg-type]  # what is read of it
    return records, ledger


def test_what_is_missing_is_stored_once_and_the_study_is_not_touched() -> None:
    pacs = Archive()
    records, ledger = run(pacs)
    assert records.states[-2:] == [State.WRITING, State.FINAL]
    assert records.outcome == OUTCOME
    assert ledger.said[-1].stored == 1
    run(pacs)
    assert pacs.requests == 1


@pytest.mark.parametrize(
    "pacs",
    [Archive(fails=ServerError("503")), Archive(Receipt(Said.BUSY, 0xA700)), Archive(late=9)],
)
def test_an_archive_that_is_still_away_is_tried_again(pacs: Archive) -> None:
    with pytest.raises(EvidenceMissing) as caught:
        run(pacs)
    assert caught.value.retryable


@pytest.mark.parametrize("pacs", [Archive(Receipt(Said.FAILED, 0x0122)), Archive()])
def test_what_the_archive_does_not_take_is_not_tried_again(pacs: Archive) -> None:
    assert run(pacs)[0].states[-1] is State.FINAL


@pytest.mark.parametrize("study", [None, replace(ENDED, state=State.FETCHING)])
def test_a_study_that_began_anew_stores_its_own(study: StudyRecord | None) -> None:
    pacs = Archive()
    records, _ = run(pacs, study)
    assert records.states == [State.ABSTAINED]
    assert pacs.requests == 0


def test_other_images_than_those_of_the_result_have_no_evidence_here() -> None:
    pacs = Archive()
    run(pacs, analysis=replace(ANALYSIS, instance_digest="ee" * 32))
    assert pacs.requests == 0


def test_it_is_queued_behind_everything_with_a_record_of_its_own() -> None:
    queue = LaneQueue()
    order: Mapping[str, Any] = {**ORDER, "patient_identifiers": ["MRN-1"]}
    EvidenceLane(queue).offer(order, ENDED, DIGEST)
    ((asked, study, content, models, priority),) = queue.orders
    assert is_evidence_order(asked)
    assert not is_evidence_order(order)
    assert asked["patient_identifiers"] == ["MRN-1"], "the report is written again"
    assert of_evidence(study)
    assert not is_study(study)
    assert (content, models, priority) == (DIGEST, "m1", Priority.BACKFILL)
    assert asked["study_uid"] == STUDY


@pytest.mark.parametrize("error", [QueueFull("full"), QueueUnavailable("away")])
def test_a_queue_that_does_not_take_it_fails_no_study(error: Exception) -> None:
    EvidenceLane(LaneQueue(error)).offer(ORDER, ENDED, DIGEST)
