"""A share of the studies is analysed once more, and nothing of that reaches a record or a chart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cds_service.model_choice import ServedModels
from cds_service.orders import order_of
from cds_service.queue import Priority, QueueFull, QueueUnavailable
from cds_service.queue.state import State, StudyRecord, check_step
from cds_service.shadow.lane import ShadowLane, is_shadow, of_shadow
from cds_service.shadow.run import OUTCOME, ShadowRun
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, ModelResult, StudyIdentity
from inference.errors import ModelFailed
from inference.shadow import Disagreement
from models.contract import SeriesFacts
from tests.doubles.lane_queue import LaneQueue
from tests.unit.fhir_mapping.cases import NEGATIVE, RESULT, SERIES_UID, STUDY_UID, analysis_of

REF = StudyRef(STUDY_UID, "main", "Patient/p1", ("MRN-1",), accession_number="A1")
ORDER = order_of(REF, "north")
RECORD = StudyRecord("5d" * 16, models="m1", job_id="j1")
OWN = StudyRecord("shadow-x", job_id="run-1")
FP32 = replace(RESULT, precision="fp32")


def offered(
    queue: LaneQueue, share: float = 1.0, both: tuple[str, ...] = ("brain-mri-tumour",)
) -> None:
    ShadowLane(queue, share, frozenset(both)).offer(ORDER, RECORD, analysis_of(RESULT))


def test_a_shadow_run_has_an_order_a_name_and_a_queue_of_its_own() -> None:
    queue = LaneQueue()
    offered(queue)
    ((order, study, content, models, priority),) = queue.orders
    assert is_shadow(order)
    assert not is_shadow(ORDER)
    assert study == f"shadow-{RECORD.id}"
    assert of_shadow(study)
    assert not of_shadow(RECORD.id)
    assert (content, models, priority) == (
        analysis_of(RESULT).instance_digest,
        "m1",
        Priority.BACKFILL,
    )
    assert "MRN-1" not in str(order), "who the images are of is no matter of a comparison"
    assert "A1" not in str(order)


@pytest.mark.parametrize(
    ("share", "both"), [(0.0, ("brain-mri-tumour",)), (1.0, ()), (1.0, ("another",))]
)
def test_nothing_is_queued_without_a_share_or_a_second_precision(
    share: float, both: tuple[str, ...]
) -> None:
    queue = LaneQueue()
    offered(queue, share, both)
    assert queue.orders == []


@pytest.mark.parametrize("error", [QueueFull("full"), QueueUnavailable("away")])
def test_a_queue_that_does_not_take_it_fails_no_study(error: Exception) -> None:
    offered(LaneQueue(error))


class OneStudy:
    """An archive, and an analyser whose answer is known."""

    def __init__(self, *results: ModelResult, digest: str = "cd" * 32) -> None:
        self.answer = replace(analysis_of(*results), instance_digest=digest)

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return (SeriesFacts(SERIES_UID, modality="MR", instances=4),)

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        return iter(())

    def plan(
        self, series: Sequence[SeriesFacts], withheld: Collection[str]
    ) -> Sequence[SeriesFacts]:
        return series

    def analyse(
        self, plan: object, fetch: object, step: Callable[[str], None], *, identity: StudyIdentity
    ) -> Analysis:
        assert identity == StudyIdentity(STUDY_UID)
        step("reading")
        return self.answer


class Broken(OneStudy):
    """An analyser that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(RESULT)
        self.error = error

    def analyse(self, *_: Any, **__: Any) -> Analysis:
        raise self.error


@dataclass
class Kept:
    """Records and ledger at once."""

    states: list[State] = field(default_factory=lambda: [State.RECEIVED])
    changes: dict[str, Any] = field(default_factory=dict)
    noted: list[tuple[str, Disagreement, float]] = field(default_factory=list)
    falls: bool = False

    def advance(self, record: StudyRecord, state: State, **changes: Any) -> StudyRecord:
        check_step(record.state, state)
        self.states.append(state)
        self.changes |= changes
        return replace(record, state=state)

    def note(self, run: str, seen: Disagreement, limit: float) -> bool:
        self.noted.append((run, seen, limit))
        return self.falls


@dataclass
class Job:
    """What a run reads of its job."""

    record: StudyRecord = OWN
    last_attempt: bool = False


def run(kept: Kept, second: OneStudy, *, first: OneStudy | None = None, last: bool = False) -> None:
    asked: list[Mapping[str, str]] = []

    def other(served: Mapping[str, str]) -> Any:
        asked.append(served)
        return nullcontext(second)

    serving = first or OneStudy(RESULT)
    ShadowRun(
        archives={"main": serving},
        serving=lambda: serving,  # type: ignore[arg-type,return-value]  # all that is called of it
        open_other=other,
        records=kept,  # type: ignore[arg-type]  # the one function that is called
        ledger=kept,  # type: ignore[arg-type]  # the one function that is called
        models=lambda _: ServedModels("m", frozenset()),
        limits={"brain-mri-tumour": 0.05},
    )(ORDER, Job(last_attempt=last))  # type: ignore[arg-type]  # all that is read of it
    assert asked in ([], [{"brain-mri-tumour": "int8"}])


def test_a_run_ends_with_what_was_compared_and_nothing_of_the_answer() -> None:
    kept = Kept()
    run(kept, OneStudy(replace(NEGATIVE, precision="fp32")))
    assert kept.states[-2:] == [State.WRITING, State.FINAL]
    assert kept.changes == {"outcome": OUTCOME, "error_kind": ""}
    assert kept.noted == [
        ("run-1", Disagreement("brain-mri-tumour", "1.0.0", "glioma", differs=True), 0.05)
    ]


def test_the_same_answer_in_both_is_an_agreement() -> None:
    kept = Kept()
    run(kept, OneStudy(FP32))
    assert [seen.differs for _, seen, _ in kept.noted] == [False]


def test_a_model_that_falls_back_is_logged_as_an_error_that_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        run(Kept(falls=True), OneStudy(FP32))
    (record,) = caplog.records
    assert "fell back to fp32" in record.getMessage()
    assert (record.__dict__["model"], record.__dict__["version"]) == ("brain-mri-tumour", "1.0.0")


def test_a_study_that_grew_between_the_two_is_tried_again_and_then_let_go() -> None:
    grown = OneStudy(FP32, digest="ee" * 32)
    with pytest.raises(Exception, match="arrived") as caught:
        run(Kept(), grown)
    assert caught.value.retryable  # type: ignore[attr-defined]  # one of ours
    kept = Kept()
    run(kept, grown, last=True)
    assert (kept.states[-1], kept.changes) == (State.ABSTAINED, {"error_kind": "grew"})
    assert kept.noted == []


def test_what_fails_for_good_ends_quietly() -> None:
    """A shadow run is nobody's study: it never stands among those that were given up."""
    kept = Kept()
    run(kept, Broken(ModelFailed("The model could not be run.")))
    assert (kept.states[-1], kept.changes) == (State.ABSTAINED, {"error_kind": "model"})


def test_a_queue_that_is_away_is_no_end_of_a_run() -> None:
    kept = Kept()
    with pytest.raises(QueueUnavailable):
        run(kept, Broken(QueueUnavailable("away")), last=True)
    assert not kept.states[-1].ended
