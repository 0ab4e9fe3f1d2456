"""A site with a launch door, and a window that does what a browser does on the way through it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from werkzeug.test import TestResponse

from cds_service.clients.credentials import ForwardedToken, NoCredential
from cds_service.clients.fhir import FhirServer
from cds_service.hooks.invoke import HookDesk
from cds_service.orders import order_of
from cds_service.queue.state import StudyRecord
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.links import Links
from cds_service.settings import TenantSettings
from cds_service.smart import LaunchDoor, Launched, Registration, States, smart_blueprint
from cds_service.web import create_app
from fhir_mapping.study import patient_ref, study_ref
from tests.doubles import ehr, hooking
from tests.doubles.launch_server import CLIENT_ID, LaunchServer

SECRET = "a-site-secret-of-the-tests-that-is-long-enough"
CALLBACK = f"{ehr.BASE_URL}/smart/callback"
LAUNCH = f"{ehr.BASE_URL}/smart/launch"


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now_s: float = ehr.NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@dataclass
class LaunchSite:
    """One tenant whose EHR is `server`; its studies are known by `explained`."""

    server: LaunchServer
    app_settings: Mapping[str, Any] = field(default_factory=dict)
    key: Any = None
    others: tuple[Allowance, ...] = ()
    clock: Clock = field(default_factory=Clock)
    base_url: str = ehr.BASE_URL

    def __post_init__(self) -> None:
        self.tenant = ehr.tenant(
            fhir_base=self.server.fhir_base,
            smart_app={"client_id": CLIENT_ID, **self.app_settings},
        )
        self.hooks = hooking.site(tenants=(self.tenant,))
        self.users: list[str] = []
        self.links = Links([SECRET], self.base_url, 900)
        self.fhir = Allowance("ehr-fhir", self.server.fhir_base, http_ok=True)
        self.states = States([SECRET], self.hooks.redis, self.clock)

    @property
    def desk(self) -> HookDesk:
        """The hook's neighbours, with the EHR's own FHIR server."""
        return replace(self.hooks.deps.desk, open_fhir=self._open)

    def _open(self, tenant: TenantSettings, token: str | None, user: str) -> FhirServer:
        self.users.append(user)
        credential = ForwardedToken(token, self.fhir.origin) if token else NoCredential()
        return FhirServer(self.fhir, credential=credential)

    @property
    def door(self) -> LaunchDoor:
        """The launch door over all this."""
        registration = Registration(self.tenant, self.fhir, AllowList.of(self.others), self.key)
        return LaunchDoor(
            base_url=self.base_url,
            registrations=[registration],
            states=self.states,
            launched=Launched(self.desk, json.loads),
            links=self.links,
            clock_s=self.clock,
        )

    @property
    def app(self) -> Flask:
        """The whole web process."""
        return create_app(replace(self.hooks.deps, blueprints=[smart_blueprint(self.door)]))

    def explained(
        self, patient: str = "p1", number: int = 1, tenant: str = "ehr", **changes: Any
    ) -> StudyRecord:
        """A study of the patient that has an explanation; it is in the EHR's chart, too."""
        resource = hooking.imaging_study(f"1.2.826.0.1.3680043.8.498.{number}", patient)
        self.server.resources.append(resource)
        desk = self.desk
        ref = study_ref(
            resource,
            patient=patient_ref(patient),
            archives=desk.archives(self.tenant),
            fhir_base=self.server.fhir_base,
        )
        record = StudyRecord(
            desk.study_key(tenant, ref.patient_reference, ref.study_uid),
            sealed=json.dumps(order_of(ref, tenant)),
            **{"explanation_id": f"{number:02d}" * 32, **changes},
        )
        self.hooks.queue.records[record.id] = record
        return record


class _Parts(HTMLParser):
    """The elements with an id, and the inputs of the form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.by_id: dict[str, dict[str, str]] = {}
        self.inputs: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.by_id[values["id"]] = values
        if tag == "input":
            self.inputs[values["name"]] = values["value"]


class Window:
    """One window: it keeps what the script keeps, and sends no cookie because it is given none."""

    def __init__(self, site: LaunchSite) -> None:
        self.client = site.app.test_client(use_cookies=False)
        self.kept: dict[str, str] = {}

    def leave(self, url: str) -> TestResponse:
        """Open the launch address and keep the verifier, as the script does."""
        shown = self.client.get(_target(url))
        if shown.status_code == 200:
            link = _Parts(shown.text).by_id["leave"]
            self.kept[link["data-state"]] = link["data-verifier"]
        return shown

    def login(self, shown: TestResponse, choice: str = "allow") -> str:
        """Go to the EHR's login and choose; the address to which it sends the browser back."""
        page = requests.get(_Parts(shown.text).by_id["leave"]["href"], timeout=10)
        assert page.status_code == 200, page.text
        return _Parts(page.text).by_id[choice]["href"]

    def back(self, url: str) -> TestResponse:
        """Come back, and post what the script posts."""
        shown = self.client.get(_target(url))
        return self.post(shown) if shown.status_code == 200 else shown

    def post(self, shown: TestResponse, **changes: str) -> TestResponse:
        """Post the form of the way back."""
        form = _Parts(shown.text).inputs
        form["verifier"] = self.kept.pop(form["state"], "")
        return self.client.post("/smart/callback", data={**form, **changes})

    def walk(self, url: str) -> TestResponse:
        """The whole way, with a user who allows it."""
        shown = self.leave(url)
        assert shown.status_code == 200, shown.text
        return self.back(self.login(shown))


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
