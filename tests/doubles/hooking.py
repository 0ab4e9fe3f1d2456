"""The neighbours of a hook call in memory, and the application between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisDown

from cds_service.cards import CardSite
from cds_service.clients.errors import UpstreamError
from cds_service.clients.policy import HttpPolicy
from cds_service.feedback import CardLedger
from cds_service.hooks.invoke import HookDesk, content_of
from cds_service.hooks.ports import Known
from cds_service.model_choice import ServedModels
from cds_service.queue.content import changed, renewed
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.payload import Sealer
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.scrapes import FeedbackCounts
from cds_service.security.jwks import CallerKeySets
from cds_service.security.jwt import Verifier
from cds_service.security.replay import UsedTokens
from cds_service.settings import ArchiveSettings, HookSettings, Settings, TenantSettings
from cds_service.shadow import ModelName
from cds_service.web import WebDependencies, create_app, web_metrics
from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.study import patient_ref, study_ref
from tests.doubles import ehr
from tests.doubles.answered import answers
from tests.reference.cards.states import FINDING

PATIENT_VIEW = "/cds-services/imaging-ai-patient-view"
ORDER_SELECT = "/cds-services/imaging-ai-order-select"
ORDER_SIGN = "/cds-services/imaging-ai-order-sign"
ORDER_DISPATCH = "/cds-services/imaging-ai-order-dispatch"
ENCOUNTER_START = "/cds-services/imaging-ai-encounter-start"
DISCHARGE = "/cds-services/imaging-ai-encounter-discharge"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
MODELS = ServedModels("models-1", frozenset({"brain-mri-tumour"}))
MODEL = ModelName("brain-mri-tumour", "1.0.0")
SECRET = b"0123456789-0123456789-0123456789"


class RedisInMemory:
    """The commands that the web process uses; `down` makes each of them fail."""

    def __init__(self) -> None:
        self.down = False
        self.values: dict[str, Any] = {}
        self.expiries: dict[str, int] = {}
        self._results: list[Any] = []

    def _reach(self) -> None:
        if self.down:
            raise RedisDown("refused")

    def set(self, name: str, value: str, *, ex: int, nx: bool = False) -> bool | None:
        self._reach()
        if nx and name in self.values:
            return None
        self.values[name] = value
        self.expiries[name] = ex
        return True

    def get(self, name: str) -> str | None:
        self._reach()
        return self.values.get(name)

    def hset(self, name: str, key: str, value: str) -> int:
        self._reach()
        self.values.setdefault(name, {})[key.encode()] = value.encode()
        return 1

    def hincrby(self, name: str, key: str, amount: int) -> int:
        before = int(self.values.get(name, {}).get(key.encode(), 0))
        return self.hset(name, key, str(before + amount))

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        self._reach()
        found = dict(self.values.get(name, {}))
        self._results.append(found)
        return found

    def hmget(self, name: str, fields: Sequence[str]) -> list[bytes | None]:
        self._reach()
        return [self.values.get(name, {}).get(each.encode()) for each in fields]

    def expire(self, name: str, seconds: int) -> bool:
        self._reach()
        self.expiries[name] = seconds
        return True

    def delete(self, name: str) -> int:
        self._reach()
        return int(self.values.pop(name, None) is not None)

    def pipeline(self, transaction: bool = True) -> RedisInMemory:
        self._results: list[Any] = []
        return self

    def transaction(
        self, work: Callable[[RedisInMemory], Any], *watched: str, value_from_callable: bool
    ) -> Any:
        return work(self)

    def multi(self) -> None:
        return None

    def __enter__(self) -> RedisInMemory:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self) -> list[Any]:
        self._reach()
        return self._results


@dataclass
class QueueInMemory:
    """Records and orders at once; `error` is raised by every call while it is set."""

    records: dict[str, StudyRecord] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    priorities: list[str] = field(default_factory=list)
    error: Exception | None = None
    submit_error: Exception | None = None
    ahead: int | None = 0
    after_read: Callable[[QueueInMemory], None] | None = None

    def get_many(self, studies: Sequence[str]) -> list[StudyRecord | None]:
        if self.error:
            raise self.error
        found = [self.records.get(study) for study in studies]
        if self.after_read:
            self.after_read(self)
        return found

    def submit(
        self,
        order: Mapping[str, Any],
        study_key: str,
        content_key: str,
        models: str,
        priority: Priority | str = Priority.ROUTINE,
    ) -> StudyRecord:
        if self.error or self.submit_error:
            raise self.submit_error or self.error or QueueUnavailable("down")
        self.orders.append(dict(order))
        self.priorities.append(str(priority))
        record = self.records.get(study_key) or StudyRecord(study_key)
        same = record.models == models and not changed(record.content_key, content_key)
        record = replace(
            record,
            state=record.state if same and record.state is not State.FAILED else State.RECEIVED,
            content_key=content_key,
            models=models,
            priority=Priority(priority),
        )
        self.records[study_key] = record
        return record

    def learn(self, record: StudyRecord, content_key: str) -> StudyRecord:
        if self.error:
            raise self.error
        known = renewed(record.content_key, content_key)
        self.records[record.id] = replace(record, content_key=known)
        return self.records[record.id]

    def ahead_of(self, record: StudyRecord) -> int | None:
        if self.error:
            raise self.error
        return self.ahead


@dataclass
class ChartInMemory:
    """A FHIR server; notes what it is asked, and with which token it was opened."""

    resources: list[Mapping[str, Any]] = field(default_factory=list)
    error: UpstreamError | None = None
    opened: list[tuple[str, str | None]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    closed: int = 0

    def open(self, tenant: TenantSettings, token: str | None, user: str) -> ChartInMemory:
        self.opened.append((tenant.name, token))
        self.users.append(user)
        return self

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Mapping[str, Any]:
        self.asked.append(reference)
        if self.error:
            raise self.error
        for resource in self.resources:
            if f"{resource['resourceType']}/{resource['id']}" == reference:
                return resource
        raise UpstreamError("not there")

    def search(
        self, resource_type: str, params: Mapping[str, str], policy: HttpPolicy | None = None
    ) -> Iterator[Mapping[str, Any]]:
        self.asked.append(resource_type)
        if self.error:
            raise self.error
        yield from (r for r in self.resources if r["resourceType"] == resource_type)

    def close(self) -> None:
        self.closed += 1


class FixedLinks:
    """Links of one host."""

    launch_url = f"{ehr.BASE_URL}/smart/launch"

    def status_url(self, study_key: str, now_s: float) -> str:
        return f"https://ai.example/s/{study_key}"

    def explanation_url(self, explanation_id: str, study_key: str, now_s: float) -> str:
        return f"{ehr.BASE_URL}/e/{explanation_id}"

    def model_card_url(self, model_id: str, version: str) -> str:
        return f"{ehr.BASE_URL}/models/{model_id}/{version}"


def study_key(tenant: str, patient_reference: str, study_uid: str) -> str:
    """Opaque, as the real one is."""
    return hashlib.sha256(f"{tenant} {patient_reference} {study_uid}".encode()).hexdigest()[:32]


def settings(**changes: Any) -> Settings:
    """Settings of a site with one EHR and one archive; nothing is read from outside."""
    values = {
        "environment": "development",
        "base_url": ehr.BASE_URL,
        "organisation": "St. Elsewhere",
        "archives": (ArchiveSettings(name="pacs", base_url="https://pacs.example.org/wado"),),
        "tenants": (ehr.tenant(),),
        **changes,
    }
    return Settings.model_validate(values)


@dataclass
class Site:
    """A whole web process in memory."""

    settings: Settings
    redis: RedisInMemory = field(default_factory=RedisInMemory)
    queue: QueueInMemory = field(default_factory=QueueInMemory)
    chart: ChartInMemory = field(default_factory=ChartInMemory)
    keys: list[bytes] = field(default_factory=lambda: [ehr.jwks()])
    fetched: list[str] = field(default_factory=list)
    now_s: float = ehr.NOW_S
    slept_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    ehr: ehr.Ehr = field(default_factory=ehr.Ehr)
    models: ServedModels = MODELS

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.keys[-1]

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_s += seconds

    def look(self, _: str, studies: Sequence[str]) -> Known:
        records = self.queue.get_many(studies)
        return Known(self.models, records, answers(self.redis, self.ledger, studies))

    @property
    def ledger(self) -> CardLedger:
        redis = cast("Redis", self.redis)  # the commands it uses
        return CardLedger(redis, Sealer(SECRET), self.clock)

    @property
    def deps(self) -> WebDependencies:
        key_sets = CallerKeySets(self.fetch, self.clock, lambda work: work())
        card_site = CardSite(
            self.settings.organisation, self.settings.hook, FixedLinks(), self.clock
        )
        desk = HookDesk(
            records=self.queue,
            orders=self.queue,
            open_fhir=self.chart.open,
            study_key=study_key,
            look=self.look,
            archives=lambda tenant: ArchiveAddresses(
                {a.name: a.base_url for a in self.settings.archives}, tenant.archive
            ),
            site=card_site,
            monotonic=self.clock,
            sleep=self.sleep,
        )
        return WebDependencies(
            settings=self.settings,
            desk=desk,
            verifier=Verifier(self.settings.tenant_of, key_sets, self.clock),
            used_tokens=UsedTokens(self.redis, self.clock),
            ledger=self.ledger,
            metrics=web_metrics(
                self.settings, scraped=[FeedbackCounts(self.ledger.tallies, [MODEL])]
            ),
            **self.extra,
        )

    @property
    def app(self) -> Flask:
        return create_app(self.deps)

    def client(self) -> FlaskClient:
        return self.app.test_client()


def site(hook: Mapping[str, Any] | None = None, **changes: Any) -> Site:
    """A site; `hook` are its `HookSettings`."""
    return Site(settings(hook=HookSettings(**(hook or {})), **changes))


def known(at: Site, state: State = State.FINAL, study: Any = None, **changes: Any) -> StudyRecord:
    """Let the queue know a study's record, by default final with a finding."""
    study = study or imaging_study()
    tenant = at.settings.tenants[0]
    archives = at.deps.desk.archives(tenant)
    ref = study_ref(study, patient=patient_ref("p1"), archives=archives, fhir_base=ehr.FHIR_BASE)
    values = {
        "content_key": content_of(ref, tenant, at.deps.desk),
        "models": MODELS.version,
        "summary": FINDING.to_json() if state is State.FINAL else {},
        "explanation_id": "ab" * 32,
        "updated_ms": int(ehr.NOW_S * 1000),
        **changes,
    }
    record = StudyRecord(
        study_key("ehr", ref.patient_reference, ref.study_uid), state=state, **values
    )
    at.queue.records[record.id] = record
    return record


def imaging_study(
    study_uid: str = STUDY_UID, patient: str = "p1", **changes: Any
) -> dict[str, Any]:
    """An ImagingStudy as an EHR has it."""
    study = {
        "resourceType": "ImagingStudy",
        "id": study_uid.replace(".", "-")[-20:],
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}],
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "started": "2026-03-03T10:00:00Z",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
        "numberOfInstances": 24,
        **changes,
    }
    return {name: value for name, value in study.items() if value is not None}


def patient(patient_id: str = "p1") -> dict[str, Any]:
    """A Patient with one identifier."""
    return {"resourceType": "Patient", "id": patient_id, "identifier": [{"value": "MRN-1"}]}


def bundle(*resources: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A searchset."""
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": resource} for resource in resources],
        **members,
    }


def patient_view(**changes: Any) -> dict[str, Any]:
    """The body of a patient-view call with both prefetch keys; None removes a member."""
    body = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/example", "patientId": "p1"},
        "prefetch": {"patient": patient(), "studies": bundle(imaging_study())},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def order_select(**changes: Any) -> dict[str, Any]:
    """The body of an order-select call."""
    context = {
        "userId": "Practitioner/example",
        "patientId": "p1",
        "selections": ["ServiceRequest/s1"],
        "draftOrders": bundle({"resourceType": "ServiceRequest", "id": "s1"}),
    }
    return patient_view(hook="order-select", context=context) | changes


def order_sign(**changes: Any) -> dict[str, Any]:
    """The body of an order-sign call."""
    context = {
        "userId": "PractitionerRole/r1",
        "patientId": "p1",
        "draftOrders": bundle({"resourceType": "ServiceRequest", "id": "s1"}),
    }
    return patient_view(hook="order-sign", context=context) | changes


def order_dispatch(**changes: Any) -> dict[str, Any]:
    """The body of an order-dispatch call; it names no user."""
    context = {
        "patientId": "p1",
        "dispatchedOrders": ["ServiceRequest/s1"],
        "performer": "Organization/o1",
        "fulfillmentTasks": [{"resourceType": "Task", "status": "draft", "intent": "order"}],
    }
    return patient_view(hook="order-dispatch", context=context) | changes


def encounter_start(**changes: Any) -> dict[str, Any]:
    """The body of an encounter-start call."""
    context = {"userId": "Practitioner/example", "patientId": "p1", "encounterId": "e1"}
    return patient_view(hook="encounter-start", context=context) | changes


def encounter(started: str = "2026-03-03T08:00:00Z") -> dict[str, Any]:
    """The Encounter of the calls."""
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "period": {"start": started},
    }


def discharge(**changes: Any) -> dict[str, Any]:
    """The body of an encounter-discharge call with its three prefetch keys."""
    body = encounter_start(hook="encounter-discharge")
    body["prefetch"] = {**body["prefetch"], "encounter": encounter()}
    return body | changes


CALLS: Mapping[str, Callable[..., dict[str, Any]]] = {
    PATIENT_VIEW: patient_view,
    ORDER_SELECT: order_select,
    ORDER_SIGN: order_sign,
    ORDER_DISPATCH: order_dispatch,
    ENCOUNTER_START: encounter_start,
    DISCHARGE: discharge,
}
"""A good call for each service, by its path."""


def authorization(**changes: Any) -> dict[str, Any]:
    """A ``fhirAuthorization``."""
    given = {
        "access_token": "secret-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/Patient.read user/ImagingStudy.read",
        "subject": "cds-service",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}
