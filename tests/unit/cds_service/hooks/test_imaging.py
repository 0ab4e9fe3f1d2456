"""Which studies a call means, and what asking for them may cost."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.claims import EXTENSION
from cds_service.clients.policy import HttpPolicy
from cds_service.hooks.invoke import content_of
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import State, StudyRecord
from fhir_mapping.study import patient_ref, study_ref
from tests.doubles import ehr
from tests.doubles.hooking import (
    MODELS,
    PATIENT_VIEW,
    STUDY_UID,
    ChartInMemory,
    Site,
    authorization,
    bundle,
    imaging_study,
    patient,
    patient_view,
    site,
    study_key,
)


def cards(at: Site, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = at.client().post(PATIENT_VIEW, json=body, headers=at.ehr.bearer(PATIENT_VIEW))
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.get_json()["cards"]
    return found


def with_studies(*studies: dict[str, Any]) -> dict[str, Any]:
    return patient_view(prefetch={"patient": patient(), "studies": bundle(*studies)})


def test_studies_come_newest_first_whatever_the_precision_of_their_dates() -> None:
    started = ["2024", "2026-03-03T23:30:00-05:00", None, "2026-03-04T01:00:00Z", "2025-12-31"]
    studies = [imaging_study(f"1.2.3.{i}", started=when) for i, when in enumerate(started)]
    shown = [card["summary"] for card in cards(site(), with_studies(*studies))]
    dates = [text.split(" of ")[2][:10] if text.count(" of ") > 1 else "" for text in shown]
    assert [date[:7].split(" ")[0] for date in dates] == [
        "2026-03",
        "2026-03",
        "2025-12",
        "2024",
        "",
    ]
    assert dates[0] == "2026-03-03"


def test_a_study_that_is_listed_twice_is_one() -> None:
    assert len(cards(site(), with_studies(imaging_study(), imaging_study()))) == 1


@pytest.mark.parametrize("status", ["registered", "cancelled", "entered-in-error", "unknown"])
def test_a_study_that_is_not_available_is_left_out(status: str | None) -> None:
    at = site()
    second = imaging_study(STUDY_UID + ".2")
    assert len(cards(at, with_studies(imaging_study(status=status), second))) == 1


def test_entries_that_are_no_studies_are_passed_over() -> None:
    page = bundle(imaging_study())
    page["entry"] += [
        {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
        {"resource": None},
        {},
        None,
        7,
        {"resource": patient()},
    ]
    assert len(cards(site(), patient_view(prefetch={"studies": page}))) == 1


class SlowChart(ChartInMemory):
    """Each call takes all the time that it is given."""

    def __init__(self, at: Site, resources: list[Any]) -> None:
        super().__init__(resources)
        self.at, self.given_s = at, list[float]()

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Any:
        self.wait(policy)
        return super().read(reference, policy)

    def search(self, resource_type: str, params: Any, policy: HttpPolicy | None = None) -> Any:
        self.wait(policy)
        return super().search(resource_type, params, policy)

    def wait(self, policy: HttpPolicy | None) -> None:
        assert policy is not None
        self.given_s.append(policy.deadline_s)
        self.at.now_s += policy.deadline_s * 0.6


def test_all_reading_of_one_call_shares_one_deadline() -> None:
    at = site({"fhir_deadline_s": 2})
    study = imaging_study(endpoint=[{"reference": f"Endpoint/e{i}"} for i in range(9)])
    at.chart = SlowChart(at, [study, patient()])
    body = patient_view(prefetch=None, fhirServer=ehr.FHIR_BASE, fhirAuthorization=authorization())
    assert len(cards(at, body)) == 1
    assert at.chart.given_s[0] == 2
    assert sum(given * 0.6 for given in at.chart.given_s) <= 2
    assert len(at.chart.given_s) <= 6


@pytest.mark.parametrize("value", [7, "", "x" * 300, {"a": 1}, "\u0000"])
def test_an_identifier_that_cannot_be_used_is_not_the_same_as_none(value: Any) -> None:
    at = site()
    damaged = patient() | {"identifier": [{"value": value}]}
    cards(at, patient_view(prefetch={"patient": damaged, "studies": bundle(imaging_study())}))
    assert "patient_identifiers" not in at.queue.orders[0]
    assert at.queue.orders[0]["identifiers_left_out"] is True


def test_what_the_server_says_of_another_patient_is_not_used() -> None:
    at = site()
    at.chart.read = lambda *_: patient("p2")  # type: ignore[method-assign]  # a server's fault
    body = patient_view(prefetch={"studies": bundle(imaging_study())}, fhirServer=ehr.FHIR_BASE)
    cards(at, body)
    assert "patient_identifiers" not in at.queue.orders[0]


def test_a_study_in_an_archive_that_is_not_allowed_says_why_it_was_not_analysed() -> None:
    at = site()
    endpoint = {
        "resourceType": "Endpoint",
        "id": "c",
        "status": "active",
        "connectionType": {"code": "dicom-wado-rs"},
        "address": "http://169.254.169.254/",
    }
    at.chart.resources = [endpoint]
    study = imaging_study(endpoint=[{"reference": "Endpoint/c"}])
    body = with_studies(study) | {"fhirServer": ehr.FHIR_BASE}
    (card,) = cards(at, body)
    assert card["extension"][EXTENSION]["outcome"] == "not-analysed"
    assert "169" not in str(card)
    assert at.queue.orders == []


DICOM_UID = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
ELSEWHERE = {
    "resourceType": "Endpoint",
    "id": "c",
    "status": "active",
    "connectionType": {"code": "dicom-wado-rs"},
    "address": "http://169.254.169.254/",
}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        (
            {"contained": [ELSEWHERE], "endpoint": [{"reference": "#c"}]},
            "archive-not-allowed",
        ),
        ({"identifier": []}, "missing-element"),
        ({"identifier": [DICOM_UID, {**DICOM_UID, "value": "urn:oid:1.2.4"}]}, "contradiction"),
        ({"identifier": [{**DICOM_UID, "value": "urn:oid:x"}]}, "malformed"),
        ({"status": None}, "missing-element"),
    ],
)
def test_a_study_that_cannot_be_ordered_has_one_card_that_says_why(
    changes: dict[str, Any], kind: str
) -> None:
    at = site()
    damaged = imaging_study(STUDY_UID + ".2", started="2020-01-01", **changes)
    good, told = cards(at, with_studies(imaging_study(), damaged, damaged))
    said = told["extension"][EXTENSION]
    assert (said["state"], said["outcome"], said["reasons"]) == (
        "abstained",
        "not-analysed",
        [kind],
    )
    assert told["summary"] == "MR of 2020-01-01 was not analysed by AI"
    assert "169" not in str(told)
    assert good["extension"][EXTENSION]["state"] == "received"
    assert len(at.queue.orders) == 1


def test_a_study_without_a_uid_is_ordered_by_its_accession_number_and_once() -> None:
    at = site()
    number = {"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"}
    studies = [imaging_study(identifier=[number], id=name) for name in ("a", "b")]
    for _ in range(2):
        said = [c["extension"][EXTENSION]["state"] for c in cards(at, with_studies(*studies))]
        assert said == ["received", "received"]
    assert [each["accession_number"] for each in at.queue.orders] == ["A1", "A1"]
    assert not any("study_uid" in each for each in at.queue.orders)
    assert len(at.queue.records) == 2


def test_two_studies_without_a_uid_are_two_cards() -> None:
    studies = [imaging_study(identifier=[], id=name, started=None) for name in ("a", "b", None)]
    assert len({card["uuid"] for card in cards(site(), with_studies(*studies))}) == 3


@pytest.mark.parametrize("subject", [None, {"display": "p1"}, {"reference": "Patient/p2"}])
def test_a_study_that_is_not_said_to_be_the_patient_s_is_left_out(subject: Any) -> None:
    assert cards(site(), with_studies(imaging_study(subject=subject, identifier=[]))) == []


def test_after_one_failure_of_the_queue_it_is_left_alone() -> None:
    at = site()
    asked = []

    def submit(*_: Any) -> StudyRecord:
        asked.append(1)
        raise QueueUnavailable("down")

    at.queue.submit = submit  # type: ignore[method-assign]  # the double's fault of this test
    studies = [imaging_study(f"1.2.3.{i}") for i in range(4)]
    (card,) = cards(at, with_studies(*studies))
    assert card["extension"][EXTENSION]["state"] == "unavailable"
    assert asked == [1]


def test_a_summary_of_another_version_is_no_result_and_no_crash() -> None:
    at = site()
    archives = at.deps.desk.archives(at.settings.tenants[0])
    ref = study_ref(
        imaging_study(), patient=patient_ref("p1"), archives=archives, fhir_base=ehr.FHIR_BASE
    )
    key = study_key("ehr", ref.patient_reference, ref.study_uid)
    at.queue.records[key] = StudyRecord(
        key,
        state=State.FINAL,
        content_key=content_of(ref, at.settings.tenants[0], at.deps.desk),
        models=MODELS.version,
        summary={"outcome": "finding", "something": "new"},
    )
    (card,) = cards(at, with_studies(imaging_study()))
    assert "could not be completed" in card["summary"]
    assert "label" not in card["extension"][EXTENSION]
