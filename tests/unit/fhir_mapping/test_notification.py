"""Notifications of FHIR servers: three forms, and whatever else may be sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mapping.notification import STUDIES_AT_MOST, Kind, NamedStudy, notification

BASE = "https://ehr.test/fhir"
STUDY = {"resourceType": "ImagingStudy", "id": "s1", "meta": {"versionId": "4"}}
S1, S2 = NamedStudy("ImagingStudy/s1"), NamedStudy("ImagingStudy/s2")
SENT = NamedStudy("ImagingStudy/s1", "4")


def event(number: int, *focus: str) -> dict[str, Any]:
    """One notification-event of a Parameters status."""
    parts = [{"name": "event-number", "valueString": str(number)}]
    parts += [{"name": "focus", "valueReference": {"reference": each}} for each in focus]
    return {"name": "notification-event", "part": parts}


def topical(
    kind: str, total: int, *events: Any, entries: list[Any] | None = None
) -> dict[str, Any]:
    """A notification of the R4 backport, as its examples are."""
    said = [
        {"name": "subscription", "valueReference": {"reference": f"{BASE}/Subscription/7"}},
        {"name": "topic", "valueCanonical": "http://example.org/topic"},
        {"name": "status", "valueCode": "active"},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(total)},
        *events,
    ]
    status = {"resource": {"resourceType": "Parameters", "parameter": said}}
    return {"resourceType": "Bundle", "type": "history", "entry": [status, *(entries or [])]}


def r4b(kind: str, total: object, number: object, focus: str) -> dict[str, Any]:
    """The same as R4B and R5 write it."""
    status = {
        "resourceType": "SubscriptionStatus",
        "status": "active",
        "type": kind,
        "eventsSinceSubscriptionStart": total,
        "subscription": {"reference": "Subscription/7"},
        "notificationEvent": [{"eventNumber": number, "focus": {"reference": focus}}],
    }
    entry = [{"resource": status}]
    return {"resourceType": "Bundle", "type": "subscription-notification", "entry": entry}


@pytest.mark.parametrize("body", [None, {}, [], "x", {"resourceType": "Patient", "id": "p"}])
def test_what_names_no_study_leads_to_a_search(body: object) -> None:
    said = notification(body, BASE)
    assert (said.kind, said.studies, said.search) == (Kind.CHANGE, (), True)


@pytest.mark.parametrize(
    "body",
    [
        STUDY,
        {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": STUDY}]},
        {"resourceType": "Bundle", "type": "collection", "entry": {"resource": STUDY}},
    ],
)
def test_a_resource_that_is_sent_names_its_study_and_version(body: object) -> None:
    said = notification(body, BASE)
    assert (said.kind, said.studies, said.search) == (Kind.CHANGE, (SENT,), False)


@pytest.mark.parametrize(
    ("kind", "read"),
    [("handshake", Kind.HANDSHAKE), ("heartbeat", Kind.HEARTBEAT), ("query-status", Kind.QUERY)],
)
def test_what_is_no_event_names_nothing_and_counts(kind: str, read: Kind) -> None:
    said = notification(topical(kind, 3, entries=[{"resource": STUDY}]), BASE)
    assert (said.kind, said.studies, said.search) == (read, (), False)
    assert (said.total, said.status) == (3, "active")
    assert said.subscription == f"{BASE}/Subscription/7"


@pytest.mark.parametrize(
    ("body", "studies", "events"),
    [
        (topical("event-notification", 1, event(1, "ImagingStudy/s1")), (S1,), (1,)),
        (topical("event-notification", 1, event(1, f"{BASE}/ImagingStudy/s1")), (S1,), (1,)),
        (
            topical(
                "event-notification",
                9,
                event(8, "ImagingStudy/s1"),
                event(9, f"{BASE}/ImagingStudy/s2"),
            ),
            (S1, S2),
            (8, 9),
        ),
        (
            topical(
                "event-notification", 1, event(1, "ImagingStudy/s1"), entries=[{"resource": STUDY}]
            ),
            (SENT,),
            (1,),
        ),
        (
            topical(
                "event-notification", 1, event(1), entries=[{"fullUrl": f"{BASE}/ImagingStudy/s1"}]
            ),
            (S1,),
            (1,),
        ),
        (r4b("event-notification", 5, 5, "ImagingStudy/s1"), (S1,), (5,)),
        (r4b("event-notification", "5", "5", f"{BASE}/ImagingStudy/s1"), (S1,), (5,)),
    ],
    ids=["relative", "absolute", "two", "full-resource", "by fullUrl", "r4b", "r4b strings"],
)
def test_events_name_their_studies_in_every_payload(
    body: object, studies: tuple[NamedStudy, ...], events: tuple[int, ...]
) -> None:
    said = notification(body, BASE)
    assert (said.kind, said.studies, said.search) == (Kind.EVENTS, studies, False)
    assert said.events == events


@pytest.mark.parametrize(
    "focus",
    [
        (),
        ("Encounter/e1",),
        ("https://elsewhere.test/fhir/ImagingStudy/s1",),
        ("ImagingStudy/../Patient/1",),
        ("urn:uuid:4fe6a2c4-0000-0000-0000-000000000000",),
    ],
)
def test_an_event_without_a_study_of_ours_leads_to_a_search(focus: tuple[str, ...]) -> None:
    said = notification(topical("event-notification", 1, event(1, *focus)), BASE)
    assert (said.studies, said.search) == ((), True)


def test_more_studies_than_one_would_read_lead_to_a_search() -> None:
    many = [event(n, f"ImagingStudy/s{n}") for n in range(STUDIES_AT_MOST + 1)]
    said = notification(topical("event-notification", len(many), *many), BASE)
    assert (said.studies, said.search) == ((), True)


def test_a_study_that_was_deleted_is_not_read() -> None:
    gone = {"fullUrl": f"{BASE}/ImagingStudy/s1", "request": {"method": "DELETE", "url": "x"}}
    assert notification(topical("event-notification", 1, entries=[gone]), BASE).studies == ()


@pytest.mark.parametrize(
    ("total", "events", "last", "missed"),
    [
        (5, (5,), 4, False),
        (5, (4, 5), 3, False),
        (5, (5,), 3, True),
        (5, (), 4, True),
        (5, (), 5, True),
        (5, (5,), 5, True),
        (3, (3,), 5, True),
        (3, (), 5, True),
        (7, (5,), 4, True),
        (5, (5,), None, False),
        (10**15, (), 1, True),
    ],
)
def test_what_did_not_arrive_is_known_by_its_number(
    total: int, events: tuple[int, ...], last: int | None, missed: bool
) -> None:
    body = topical("event-notification", total, *(event(n, "ImagingStudy/s1") for n in events))
    assert notification(body, BASE).missed_after(last) is missed


@pytest.mark.parametrize("number", [True, -1, 1.5, "1e9", "٣", "9" * 40, None, {}, []])
def test_a_number_that_is_none_counts_for_nothing(number: object) -> None:
    assert notification(r4b("event-notification", number, number, "x"), BASE).reached is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceType",
                    "entry",
                    "resource",
                    "parameter",
                    "part",
                    "name",
                    "type",
                    "fullUrl",
                ]
            ),
            inner | st.sampled_from(["Bundle", "Parameters", "ImagingStudy", "SubscriptionStatus"]),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_whatever_is_sent_is_read_without_an_error(body: object) -> None:
    notification(body, BASE)
