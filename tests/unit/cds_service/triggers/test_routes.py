"""The addresses for notifications: who is let in, what is taken, what is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cds_service.hooks.errors import CallError
from cds_service.queue.errors import QueueFull, QueueUnavailable
from cds_service.security.errors import InvalidToken, Refusal, ReplayUnknown
from cds_service.security.jwt import Caller
from cds_service.settings import TenantSettings
from cds_service.triggers.routes import NotificationDesk, notifications_blueprint
from cds_service.triggers.secrets import NotificationSecrets
from tests.doubles import ehr
from tests.doubles.triggered import FewKeys, Queue, ledger, notices
from tests.unit.fhir_mapping.test_notification import event, topical

SECRETS = NotificationSecrets(["a-site-secret", "an-older-one"])
TENANT = ehr.tenant()
OTHER = TENANT.model_copy(update={"name": "other", "archive": "elsewhere"})
BOTH = TENANT.model_copy(
    update={"name": "both", "archive": "elsewhere", "further_archives": (TENANT.archive,)}
)
FHIR, ARCHIVE = f"/notifications/fhir/{TENANT.name}", f"/notifications/archive/{TENANT.archive}"


@dataclass
class Gate:
    """Knows one token."""

    caller: TenantSettings = TENANT
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def admit(self, path: str) -> Caller:
        self.asked.append(path)
        if self.error:
            raise self.error
        return Caller(self.caller, "jti", 0.0)


class Door:
    """The blueprint alone in an application."""

    def __init__(self, gate: Gate | None = None, *more: TenantSettings) -> None:
        self.queue, self.keys = Queue(), FewKeys()
        self.counted: list[tuple[str, str]] = []
        self.gate = gate or Gate(error=InvalidToken(Refusal.MISSING))
        desk = NotificationDesk(
            lambda: [TENANT, OTHER, *more],
            self.gate,  # type: ignore[arg-type]  # the one function that is called
            SECRETS,
            notices(self.queue),
            ledger(self.keys),
            lambda kind, outcome: self.counted.append((kind, outcome)),
            lambda: 1_000.0,
        )
        app = Flask(__name__)
        app.register_blueprint(notifications_blueprint(desk))
        app.register_error_handler(CallError, lambda error: (error.kind, error.status))
        app.register_error_handler(InvalidToken, lambda _: ("", 401))
        self.client = app.test_client()

    def post(
        self, path: str, body: Any = None, method: str = "POST", **headers: str
    ) -> TestResponse:
        """Send a body with the secret of the path's sender."""
        source, name = path.split("/")[2:4]
        known = {"Authorization": f"Bearer {SECRETS.of(source, name)}", **headers}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        kind = known.pop("Content_Type", "application/fhir+json")
        return self.client.open(path, method=method, data=data, headers=known, content_type=kind)


@pytest.mark.parametrize(
    ("path", "body", "secret", "counted"),
    [
        (FHIR, None, None, ("change", "accepted")),
        (FHIR, {"resourceType": "ImagingStudy", "id": "s1"}, None, ("change", "accepted")),
        (FHIR, b"{", None, ("", "invalid")),
        (FHIR, None, "Bearer no", ("", "refused")),
        (ARCHIVE, {"StudyInstanceUID": "1.2.3"}, None, ("archive", "accepted")),
        (ARCHIVE, {"StudyInstanceUID": "x"}, None, ("archive", "invalid")),
        (ARCHIVE, None, "Bearer no", ("archive", "refused")),
    ],
)
def test_each_notification_is_counted_by_kind_and_outcome(
    path: str, body: Any, secret: str | None, counted: tuple[str, str]
) -> None:
    door = Door()
    door.post(path, body, **({"Authorization": secret} if secret else {}))
    assert door.counted == [counted]


def test_an_empty_notification_leads_to_a_search() -> None:
    door = Door()
    assert door.post(FHIR).status_code == 200
    assert door.queue.notices == [{"asks": "search", "tenant": TENANT.name}]


@pytest.mark.parametrize(
    ("path", "method"),
    [(FHIR, "POST"), (f"{FHIR}/ImagingStudy/s1", "PUT"), (f"{FHIR}/ImagingStudy/s1", "POST")],
)
def test_a_resource_is_looked_up_however_it_is_sent(path: str, method: str) -> None:
    door = Door()
    study = {"resourceType": "ImagingStudy", "id": "s1", "patient": "PLANTED"}
    assert door.post(path, study, method).status_code == 200
    (notice,) = door.queue.notices
    assert (notice["asks"], notice["subject"]) == ("study", "ImagingStudy/s1")
    assert "PLANTED" not in str(door.queue.given), "what it said is not believed and not kept"


def test_a_handshake_begins_with_a_search_and_counts_from_there() -> None:
    door = Door()
    assert door.post(FHIR, topical("handshake", 41)).status_code == 200
    assert [each["asks"] for each in door.queue.notices] == ["search"]
    door.queue.end_all()
    door.post(FHIR, topical("event-notification", 42, event(42, "ImagingStudy/s1")))
    assert [each["asks"] for each in door.queue.notices] == ["search", "study"]


def test_a_heartbeat_asks_for_nothing_unless_something_was_missed() -> None:
    door = Door()
    door.post(FHIR, topical("handshake", 3))
    door.queue.end_all()
    door.post(FHIR, topical("heartbeat", 3))
    assert len(door.queue.notices) == 1
    door.post(FHIR, topical("heartbeat", 4))
    assert [each["asks"] for each in door.queue.notices] == ["search", "search"]


@pytest.mark.parametrize(
    ("body", "heard_s"),
    [(topical("heartbeat", 3), 1_000), (topical("event-notification", 3), 1_000), (None, None)],
)
def test_when_a_subscription_was_heard_is_noted(body: Any, heard_s: float | None) -> None:
    door = Door()
    door.post(FHIR, body)
    assert ledger(door.keys).heard_s(TENANT.name) == heard_s


def test_events_that_come_twice_or_out_of_order_do_no_harm() -> None:
    door = Door()
    door.post(FHIR, topical("handshake", 0))
    sent = [topical("event-notification", n, event(n, f"ImagingStudy/s{n}")) for n in (1, 3, 2, 3)]
    for each in sent:
        door.queue.end_all()
        assert door.post(FHIR, each).status_code == 200
    asked = [(each["asks"], each.get("subject")) for each in door.queue.notices]
    searched = ("search", None)
    assert asked == [
        searched,
        ("study", "ImagingStudy/s1"),
        ("study", "ImagingStudy/s3"),
        searched,  # 2 had not come
        ("study", "ImagingStudy/s2"),
        searched,  # a count that goes back may be a new one
        ("study", "ImagingStudy/s3"),  # looked at again: its content says that it is the same
    ]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([topical("handshake", 0)], id="a new handshake"),
        pytest.param([], id="the count stands still"),
        pytest.param([topical("heartbeat", 0)], id="the count goes back"),
    ],
)
def test_an_event_of_a_server_that_counts_anew_is_looked_at(between: list[Any]) -> None:
    door, first = Door(), topical("event-notification", 1, event(1, "ImagingStudy/s1"))
    for each in [topical("handshake", 0), first]:
        door.post(FHIR, each)
    for each in [*between, first]:
        door.queue.end_all()
        door.queue.given.clear()
        assert door.post(FHIR, each).status_code == 200
    assert ("study", "ImagingStudy/s1") in [
        (each["asks"], each.get("subject")) for each in door.queue.notices
    ]


def test_a_count_that_goes_back_is_followed_from_there() -> None:
    door = Door()
    door.post(FHIR, topical("handshake", 41))
    for total, searched in [(2, True), (3, True), (3, False), (1, True), (1, False)]:
        door.queue.end_all()
        door.queue.given.clear()
        door.post(FHIR, topical("heartbeat", total))
        assert ("search" in [each["asks"] for each in door.queue.notices]) is searched, total


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x"},
        {"Authorization": SECRETS.of("fhir", TENANT.name)},
        {"Authorization": f"Basic {SECRETS.of('fhir', TENANT.name)}"},
        {"Authorization": f"Bearer {SECRETS.of('fhir', 'other')}"},
        {"Authorization": f"Bearer {SECRETS.of('archive', TENANT.name)}"},
        {"Authorization": "Bearer \u00e9"},
    ],
    ids=range(8),
)
@pytest.mark.parametrize("path", [FHIR, ARCHIVE, "/notifications/fhir/nobody"])
def test_who_has_not_the_secret_of_this_sender_is_refused(
    path: str, headers: dict[str, str]
) -> None:
    door = Door()
    assert door.post(path, b"{", **headers).status_code == 401, "before the body is looked at"
    assert door.queue.given == []


@pytest.mark.parametrize("name", ["nobody", "other2", "north'--"])
def test_a_tenant_that_is_not_there_is_refused_like_a_wrong_secret(name: str) -> None:
    assert Door().post(f"/notifications/fhir/{name}").status_code == 401


def test_an_older_site_secret_is_good_as_long_as_it_is_on_the_list() -> None:
    old = NotificationSecrets(["an-older-one"]).of("fhir", TENANT.name)
    assert Door().post(FHIR, Authorization=f"bearer {old}").status_code == 200


@pytest.mark.parametrize(("caller", "status"), [(TENANT, 200), (OTHER, 401)])
def test_a_token_of_the_tenant_is_as_good_as_the_secret(
    caller: TenantSettings, status: int
) -> None:
    door = Door(Gate(caller))
    assert door.post(FHIR, Authorization="Bearer a.b.c").status_code == status
    assert door.gate.asked == [FHIR], "the audience is this address"


def test_a_token_that_may_have_been_used_is_no_proof() -> None:
    door = Door(Gate(error=ReplayUnknown("Redis is away")))
    assert door.post(FHIR, Authorization="Bearer a.b.c").status_code == 503


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"a": NaN}', {}, 400),
        (b'{"a": 1, "a": 2}', {}, 400),
        (b"[" * 100, {}, 400),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Type": "application/json; charset=utf-16"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b"<ImagingStudy/>", {"Content_Type": "application/fhir+xml"}, 200),
        (b"{}", {"Content_Type": "application/json; charset=UTF-8"}, 200),
    ],
)
def test_a_body_is_read_strictly(body: bytes, headers: dict[str, str], status: int) -> None:
    assert Door().post(FHIR, body, **headers).status_code == status


@pytest.mark.parametrize("error", [QueueFull("full"), QueueUnavailable("away")])
def test_what_cannot_be_kept_is_not_accepted(error: Any) -> None:
    door = Door()
    door.queue.error = error
    assert door.post(FHIR).status_code == 503
    assert door.post(FHIR, topical("event-notification", 1)).status_code == 503
    assert door.keys.values == {}, "the event counts as missed"


def test_an_archive_names_a_study_to_the_tenants_whose_images_it_has() -> None:
    door = Door()
    study = {"StudyInstanceUID": "1.2.3", "version": "20261122T083000", "PatientName": "PLANTED"}
    assert door.post(ARCHIVE, study).status_code == 200
    door.queue.end_all()
    assert door.post(ARCHIVE, study).status_code == 200
    assert door.queue.notices == [
        {
            "asks": "images",
            "tenant": TENANT.name,
            "subject": "1.2.3",
            "archive": TENANT.archive,
            "version": "20261122T083000",
        }
    ]


def test_a_further_archive_names_studies_to_a_tenant_too() -> None:
    door = Door(None, BOTH)
    assert door.post(ARCHIVE, {"StudyInstanceUID": "1.2.3"}).status_code == 200
    assert [each["tenant"] for each in door.queue.notices] == [TENANT.name, BOTH.name]


@pytest.mark.parametrize("uid", [None, "", "x", "1.2.3/../4", "1" * 65, 7, ["1.2"]])
def test_an_archive_that_names_no_study_is_told(uid: object) -> None:
    assert Door().post(ARCHIVE, {"StudyInstanceUID": uid}).status_code == 400


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_other_methods_are_not_known(method: str) -> None:
    assert Door().post(FHIR, method=method).status_code == 405
