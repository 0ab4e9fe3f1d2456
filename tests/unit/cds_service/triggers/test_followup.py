"""What a worker does with a notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cds_service.clients.errors import Rejected, ServerError
from cds_service.orders import content_of, ref_of
from cds_service.queue.content import changed
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.triggers import followup
from cds_service.triggers.chart import OpenChart
from cds_service.triggers.errors import NoBackend, NotInChart
from cds_service.triggers.followup import FollowUp
from cds_service.triggers.notices import Asks, Notice
from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.study import StudyRef
from inference.analysis import SeriesUse
from inference.evidence.objects import Kind, content_uid
from models.contract import SeriesFacts
from tests.doubles import ehr
from tests.doubles.triggered import Charts, FewKeys, Queue, ledger, notices, study_key

TENANT = ehr.tenant()
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
UID = "1.2.826.0.1.3680043.8.498.1"


def patient(own_id: str = "p1") -> dict[str, Any]:
    return {"resourceType": "Patient", "id": own_id, "identifier": [{"value": f"MRN-{own_id}"}]}


def study(own_id: str = "s1", uid: str = UID, whose: str = "p1", **members: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": own_id,
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
        "subject": {"reference": f"Patient/{whose}"},
        "meta": {"versionId": "1", "lastUpdated": "2026-11-22T08:00:00Z"},
        **members,
    }


@dataclass
class Job:
    """What is read of a job."""

    record: StudyRecord = field(default_factory=lambda: StudyRecord("notice-1"))
    last_attempt: bool = False


@dataclass
class Images:
    """An archive with one study."""

    series_of: dict[str, Sequence[SeriesFacts]]
    replaced: str = ""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return self.series_of.get(study_uid, ())

    def instances(self, study_uid: str, series_uid: str) -> Sequence[str]:
        (found,) = [s for s in self.series(study_uid) if s.series_uid == series_uid]
        return [f"{series_uid}.{n}{self.replaced}" for n in range(found.instances or 0)]


class Desk:
    """A follow-up with all its neighbours."""

    def __init__(self, *resources: dict[str, Any], instances: int = 3) -> None:
        self.queue, self.keys = Queue(), FewKeys()
        self.charts = Charts(list(resources))
        self.subscribed: list[str] = []
        bases = {TENANT.archive: "https://pacs.example.org/wado"}
        self.archive = Images({UID: [SeriesFacts("1.9", "MR", instances=instances)]})
        self.follow_up = FollowUp(
            charts={
                TENANT.name: OpenChart(
                    TENANT, self.charts, ArchiveAddresses(bases, default=TENANT.archive)
                )
            },
            archives={TENANT.archive: self.archive},
            planned=lambda _, series: [
                SeriesUse(s.series_uid, None, s.modality, s.modality == "MR", s.instances)
                for s in series
            ],
            notices=notices(self.queue),
            records=self.queue,
            ledger=ledger(self.keys),
            study_key=study_key,
            subscribe=self.subscribed.append,
            now=lambda: NOW,
        )

    def follow(self, asks: Asks, subject: str = "", version: str = "", **job: Any) -> StudyRecord:
        about = TENANT.archive if asks is Asks.IMAGES else ""
        notice = Notice(asks, TENANT.name, subject, about, version)
        made = Job(**job)
        self.follow_up(notice.order(), made)  # type: ignore[arg-type]  # what is read of a job
        return self.queue.records[made.record.id]


def test_a_study_is_ordered_as_a_hook_would_order_it() -> None:
    desk = Desk(study(numberOfInstances=3), patient())
    ended = desk.follow(Asks.STUDY, "ImagingStudy/s1")
    assert (ended.state, ended.error_kind) == (State.ABSTAINED, "")
    (order,) = desk.queue.studies
    asked = ref_of(order)
    assert (asked.tenant, asked.ref.study_uid) == (TENANT.name, UID)
    assert asked.ref.patient_identifiers == ("MRN-p1",)
    key = study_key(TENANT.name, "Patient/p1", UID)
    hook = StudyRef(UID, TENANT.archive, "Patient/p1", instances=3)
    content = content_of(hook, TENANT.name, study_key)
    assert desk.queue.records[key].content_key == content, "so that the hook finds it done"


def test_studies_without_a_uid_are_ordered_by_number_and_apart_from_each_other() -> None:
    """Under the keys that a hook of the same chart would use."""
    numbered = {"identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"}]}
    desk = Desk(study("s1", **numbered), study("s2", **numbered), patient())
    for name in ("s1", "s2"):
        desk.follow(Asks.STUDY, f"ImagingStudy/{name}")
    keys = {study_key(TENANT.name, "Patient/p1", f"ImagingStudy/s{n}") for n in (1, 2)}
    assert keys <= set(desk.queue.records)
    assert [ref_of(order).ref.accession_number for order in desk.queue.studies] == ["A1", "A1"]


@pytest.mark.parametrize(
    ("resources", "kind"),
    [
        ([], "not-found"),
        ([study(status="registered"), patient()], "study-not-available"),
        ([study(status="cancelled"), patient()], "study-not-available"),
        ([study(subject={}), patient()], "not-ours"),
        ([study(identifier=[]), patient()], "missing-element"),
    ],
)
def test_what_cannot_be_analysed_ends_quietly(resources: list[Any], kind: str) -> None:
    desk = Desk(*resources)
    ended = desk.follow(Asks.STUDY, "ImagingStudy/s1")
    assert (ended.state, ended.error_kind) == (State.ABSTAINED, kind)
    assert desk.queue.studies == []


def test_images_lead_to_every_chart_that_has_the_study_and_to_no_other() -> None:
    desk = Desk(
        study("s1"), patient("p1"), study("s2", whose="p2"), patient("p2"), study("s3", "1.2.3")
    )
    desk.follow(Asks.IMAGES, UID)
    assert [ref_of(order).ref.patient_reference for order in desk.queue.studies] == [
        "Patient/p1",
        "Patient/p2",
    ]


def test_images_that_grew_are_another_content_whatever_the_ehr_says() -> None:
    desk = Desk(study(), patient())
    desk.follow(Asks.IMAGES, UID)
    before = desk.queue.records[study_key(TENANT.name, "Patient/p1", UID)].content_key
    more = Desk(study(), patient(), instances=5)
    more.follow(Asks.IMAGES, UID)
    after = more.queue.records[study_key(TENANT.name, "Patient/p1", UID)].content_key
    assert changed(before, after)


def stored(desk: Desk, kind: Kind) -> None:
    """Our own evidence of the study is put into its archive."""
    made = SeriesFacts(
        content_uid("series", kind), "OT", series_number=kind.series_number, instances=1
    )
    desk.archive.series_of[UID] = [*desk.archive.series(UID), made]


def test_what_we_made_of_a_study_does_not_count_as_its_growth() -> None:
    desk = Desk(study(), patient())
    desk.follow(Asks.IMAGES, UID, "20261122T080000")
    stored(desk, Kind.REPORT)
    desk.follow(Asks.IMAGES, UID, "20261122T080100")
    stored(desk, Kind.PICTURE)
    desk.follow(Asks.IMAGES, UID, "20261122T080200")
    assert len(desk.queue.studies) == 1
    desk.archive.series_of[UID] = [
        SeriesFacts("1.9", "MR", instances=4),
        *desk.archive.series(UID)[1:],
    ]
    desk.follow(Asks.IMAGES, UID, "20261122T080300")
    assert len(desk.queue.studies) == 2, "it grew after all"


def test_another_state_of_the_study_is_another_content_if_nothing_of_ours_is_in_it() -> None:
    desk = Desk(study(), patient())
    for version in ("1", "2", "2"):
        desk.follow(Asks.IMAGES, UID, version)
    assert len(desk.queue.studies) == 2


def test_images_that_others_took_the_place_of_are_read_again_beside_what_we_made() -> None:
    desk = Desk(study(), patient())
    stored(desk, Kind.REPORT)
    desk.follow(Asks.IMAGES, UID, "1")
    desk.archive.replaced = "0"
    desk.follow(Asks.IMAGES, UID, "2")
    assert len(desk.queue.studies) == 2


def test_images_without_a_chart_are_waited_for_and_then_let_go() -> None:
    desk = Desk()
    with pytest.raises(NotInChart) as raised:
        desk.follow(Asks.IMAGES, UID)
    assert raised.value.retryable
    ended = desk.follow(Asks.IMAGES, UID, last_attempt=True)
    assert (ended.state, ended.error_kind) == (State.ABSTAINED, "not-in-chart")


def test_a_search_gives_a_notice_for_each_study_and_moves_its_mark() -> None:
    later = {"versionId": "2", "lastUpdated": "2026-11-22T08:30:00.250Z"}
    desk = Desk(study("s1"), study("s2", meta=later), patient())
    desk.follow(Asks.SEARCH)
    assert [each["subject"] for each in desk.queue.notices] == [
        "ImagingStudy/s1",
        "ImagingStudy/s2",
    ]
    (first,) = desk.charts.asked
    assert first[1]["_lastUpdated"] == "ge2026-11-21T08:55:00Z", "a day, and the overlap"
    desk.follow(Asks.SEARCH)
    assert desk.charts.asked[1][1]["_lastUpdated"] == "ge2026-11-22T08:25:00Z"
    assert len(desk.queue.notices) == 2, "what was seen in this version costs nothing"


def test_a_change_that_claims_to_be_of_the_future_hides_nothing() -> None:
    desk = Desk(study("s1", meta={"versionId": "1", "lastUpdated": "2099-01-01T00:00:00Z"}))
    desk.follow(Asks.SEARCH)
    desk.follow(Asks.SEARCH)
    assert desk.charts.asked[1][1]["_lastUpdated"] == "ge2026-11-22T08:55:00Z"


def test_a_mark_that_lies_in_the_future_is_not_believed() -> None:
    desk = Desk()
    desk.follow_up.ledger.reach("2099-01-01T00:00:00+00:00", "search", TENANT.name)
    desk.follow(Asks.SEARCH)
    assert desk.charts.asked[0][1]["_lastUpdated"] == "ge2026-11-21T08:55:00Z"


def test_a_page_that_fails_leaves_the_mark_where_it_was() -> None:
    desk = Desk(study("s1"))
    desk.charts.fails = ServerError("500")
    with pytest.raises(ServerError):
        desk.follow(Asks.SEARCH)
    assert desk.keys.values == {}


def test_a_server_that_cannot_sort_is_asked_without() -> None:
    desk = Desk(study("s1"))
    desk.charts.fails = Rejected("400")
    with pytest.raises(Rejected):
        desk.follow(Asks.SEARCH)
    assert ["_sort" in params for _, params in desk.charts.asked] == [True, False]


def test_a_search_that_finds_too_much_goes_on_in_a_job_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followup, "MOST", 3)
    stamps = [(NOW + timedelta(minutes=10 * n)).isoformat() for n in range(9)]
    many = [study(f"s{n}", meta={"lastUpdated": stamp}) for n, stamp in enumerate(stamps)]
    desk = Desk(*many)
    desk.follow(Asks.SEARCH)
    asked = [each["asks"] for each in desk.queue.notices]
    assert asked == ["study", "study", "study", "search"]


def test_what_is_not_in_order_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followup, "MOST", 3)
    stamps = [(NOW - timedelta(minutes=10 * n)).isoformat() for n in range(9)]
    desk = Desk(*(study(f"s{n}", meta={"lastUpdated": at}) for n, at in enumerate(stamps)))
    desk.follow(Asks.SEARCH)
    assert len(desk.queue.notices) == 9


def test_a_subscription_is_seen_to() -> None:
    desk = Desk()
    desk.follow(Asks.SUBSCRIBE)
    assert desk.subscribed == [TENANT.name]


def test_the_priority_of_a_notice_is_that_of_its_study() -> None:
    desk = Desk(study(), patient())
    desk.follow(Asks.STUDY, "ImagingStudy/s1", record=StudyRecord("n", priority=Priority.BACKFILL))
    assert desk.queue.given[0][1] is Priority.BACKFILL


def test_a_tenant_that_may_not_be_read_is_an_error() -> None:
    desk = Desk()
    order = Notice(Asks.SEARCH, "nobody").order()
    with pytest.raises(NoBackend):
        desk.follow_up(order, Job())  # type: ignore[arg-type]  # what is read of a job
