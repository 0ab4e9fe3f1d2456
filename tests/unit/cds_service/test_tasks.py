"""One order through the worker's function, with neighbours in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from cds_service.clients.facts import StudyFacts
from cds_service.model_choice import ServedModels
from cds_service.orders import order_of
from cds_service.queue.state import State, StudyRecord
from cds_service.tasks import StudyTask
from fhir_mapping.errors import PatientNotKnown
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, StudyIdentity
from inference.errors import IdentityMismatch
from models.contract import SeriesFacts
from tests.unit.fhir_mapping.cases import RESULT, SERIES_UID, STUDY_UID, analysis_of

OWN = StudyRef(STUDY_UID, "main", "Patient/p1", ("MRN-1",))
UNKNOWN = replace(OWN, patient_identifiers=())
HAD_A_FINDING = StudyRecord(
    "5d" * 16, summary={"outcome": "finding"}, explanation_id="ab" * 32, report_id="r1"
)


class OneStudy:
    """An archive with one series, and an analyser that knows its answer."""

    answer: Analysis = replace(analysis_of(RESULT), identity=StudyIdentity(STUDY_UID, "MRN-1"))
    found: Sequence[StudyFacts] = ()

    def find_study(self, *, accession: str) -> Sequence[StudyFacts]:
        return self.found

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return (SeriesFacts(SERIES_UID, modality="MR", instances=4),)

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        return iter(())

    def plan(
        self, series: Sequence[SeriesFacts], withheld: Collection[str]
    ) -> Sequence[SeriesFacts]:
        return series

    def analyse(
        self, plan: object, fetch: object, step: Callable[[str], None], **_: Any
    ) -> Analysis:
        step("reading")
        return self.answer


@dataclass
class Kept:
    """Records, store and report at once: everything that is left behind."""

    record: StudyRecord = HAD_A_FINDING
    written: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    refs: list[StudyRef] = field(default_factory=list)
    named: list[str] = field(default_factory=list)

    def content(self, tenant: str, ref: StudyRef, read: object) -> str:
        self.named.append(ref.study_uid)
        return ""

    def advance(self, record: StudyRecord, state: str, **changes: Any) -> StudyRecord:
        self.record = replace(record, **{**changes, "state": State(state)})
        return self.record

    def keep(self, analysis: Analysis, **_: Any) -> None:
        self.written.append("explanation")

    def keep_slices(self, analysis: Analysis, **_: Any) -> None:
        """Nobody scrolls here."""

    def supersede(self, explanation_id: str) -> None:
        self.superseded.append(explanation_id)

    def write(self, analysis: Analysis, ref: StudyRef, explanation_id: str, at: datetime) -> str:
        self.written.append("report")
        self.refs.append(ref)
        return "DiagnosticReport/1"


@dataclass
class Job:
    """What the task reads of a job."""

    record: StudyRecord = HAD_A_FINDING


def attempt(
    ref: StudyRef,
    kept: Kept,
    *,
    unverified: frozenset[str] = frozenset(),
    answer: Analysis = OneStudy.answer,
    had: StudyRecord = HAD_A_FINDING,
    found: Sequence[StudyFacts] = (),
    ended: Any = lambda *_: None,
) -> None:
    one = OneStudy()
    one.answer, one.found = answer, found
    task = StudyTask(
        archives={"main": one},
        writers={"north": kept},
        analyser=one,  # type: ignore[arg-type]  # the two functions that are called
        records=kept,  # type: ignore[arg-type]  # the one function that is called
        store=kept,  # type: ignore[arg-type]  # the one function that is called
        notes={},
        models=lambda _: ServedModels("m", frozenset()),
        unverified=unverified,
        ended=ended,
        content=kept.content,
    )
    task(order_of(ref, "north"), Job(had))  # type: ignore[arg-type]  # all that is read of it


def test_images_of_the_chart_s_patient_are_kept_and_written() -> None:
    kept = Kept()
    attempt(OWN, kept)
    assert kept.record.state is State.FINAL
    assert kept.written == ["explanation", "report"]
    assert kept.superseded == [HAD_A_FINDING.explanation_id], "the page of the analysis before"


@pytest.mark.parametrize("patient_id", ["MRN-1", "MRN-2", ""])
def test_a_study_without_a_uid_is_found_by_its_number_and_kept_under_its_uid(
    patient_id: str,
) -> None:
    kept, told = Kept(), []
    unnamed = replace(
        OWN, study_uid="", accession_number="A1", imaging_study_reference="ImagingStudy/s1"
    )
    found = [StudyFacts(STUDY_UID, "A1", patient_id)]
    if patient_id != "MRN-1":
        with pytest.raises((IdentityMismatch, PatientNotKnown)):
            attempt(unnamed, kept, found=found, unverified=frozenset({"north"}))
        assert kept.written == []
        return
    attempt(unnamed, kept, found=found, ended=lambda order, *_: told.append(order["study_uid"]))
    assert kept.record.state is State.FINAL
    assert [ref.study_uid for ref in kept.refs] == [STUDY_UID]
    assert told == [STUDY_UID], "what comes after it needs not look again"
    assert kept.named == [""], "as the chart will name it again"


@pytest.mark.parametrize(
    ("had", "written"),
    [(HAD_A_FINDING, ["report"]), (replace(HAD_A_FINDING, report_id=""), [])],
)
def test_an_analysis_without_a_result_takes_back_the_report_that_stands(
    had: StudyRecord, written: list[str]
) -> None:
    kept = Kept()
    attempt(OWN, kept, answer=analysis_of(), had=had)
    assert kept.record.state is State.ABSTAINED
    assert kept.record.report_id == ""
    assert kept.written == written


@pytest.mark.parametrize(
    ("ref", "error", "unverified"),
    [
        (replace(OWN, patient_identifiers=("MRN-2",)), IdentityMismatch, False),
        (replace(OWN, patient_identifiers=("MRN-2",)), IdentityMismatch, True),
        (UNKNOWN, PatientNotKnown, False),
        (replace(UNKNOWN, identifiers_left_out=True), PatientNotKnown, True),
        (replace(OWN, patient_identifiers=("x" * 65,)), PatientNotKnown, True),
    ],
)
def test_images_that_may_be_of_another_patient_leave_nothing_behind(
    ref: StudyRef, error: type[Exception], unverified: bool
) -> None:
    """Nor does the finding of an earlier attempt stay on the card."""
    kept = Kept()
    with pytest.raises(error):
        attempt(ref, kept, unverified=frozenset({"north"} if unverified else ()))
    assert kept.written == []
    assert (kept.record.summary, kept.record.explanation_id, kept.record.report_id) == ({}, "", "")


def test_a_site_may_trust_charts_that_state_no_identifier() -> None:
    kept = Kept()
    attempt(UNKNOWN, kept, unverified=frozenset({"north"}))
    assert kept.written == ["explanation", "report"]
    with pytest.raises(PatientNotKnown):
        attempt(UNKNOWN, Kept(), unverified=frozenset({"south"}))
