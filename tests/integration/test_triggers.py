"""Studies that are analysed before a hook asks, over sekmet, Orthanc and Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.fhir import FhirServer
from cds_service.security.egress import Allowance, AllowList
from tests.doubles.toy_site import FINDING, as_files, chart, drawn_series, toy_site
from tests.peers.orthanc import Orthanc
from tests.peers.process import free_port
from tests.peers.sekmet import Sekmet
from tests.peers.site import CLIENT_ID, Site, said
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.peer

TOPIC = "https://ehr.test/fhir/SubscriptionTopic/imaging-available"
MRN = "PLANTED-ID"


def topic() -> dict[str, Any]:
    """A SubscriptionTopic as R4 holds it: a Basic with extensions (backport, 1.1.0)."""
    base = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic"
    trigger = [
        {"url": "resource", "valueUri": "http://hl7.org/fhir/StructureDefinition/ImagingStudy"},
        {"url": "supportedInteraction", "valueCode": "create"},
        {"url": "supportedInteraction", "valueCode": "update"},
    ]
    types = "http://hl7.org/fhir/fhir-types"
    return {
        "resourceType": "Basic",
        "id": "imaging-available",
        "extension": [
            {"url": f"{base}.url", "valueUri": TOPIC},
            {"url": f"{base}.resourceTrigger", "extension": trigger},
        ],
        "code": {"coding": [{"system": types, "code": "SubscriptionTopic"}]},
    }


class Hospital:
    """A site, its archive, and a FHIR server that lets nobody in without a token."""

    def __init__(self, site: Site, fhir: Sekmet, orthanc: Orthanc) -> None:
        self.site, self.orthanc = site, orthanc
        base = Allowance("the EHR", fhir.base_url, http_ok=True)
        key = site.signing_key
        credential = BackendServices(
            base, AllowList(), CLIENT_ID, lambda: key, ("system/*.cruds",), token_url=fhir.token_url
        )
        self.fhir = FhirServer(base, credential=credential)

    def put(self, *resources: dict[str, Any]) -> None:
        """Store resources under their own ids."""
        for resource in resources:
            url = f"{resource['resourceType']}/{resource['id']}"
            self.fhir.write({"resource": resource, "request": {"method": "PUT", "url": url}})

    def imaged(self, patient: str, study_uid: str, count: int = 3, blob: float = FINDING) -> None:
        """The archive gets a study of this many images."""
        self.orthanc.stow(as_files(drawn_series(study_uid, count, blob, PatientID=MRN)))

    def charted(self, patient: str, study_uid: str, **study: Any) -> dict[str, Any]:
        """The chart gets the patient and the study; what an EHR would prefetch."""
        made = chart(patient, study_uid, identifier=MRN, study=study)
        self.put(made["patient"], made["studies"]["entry"][0]["resource"])
        return made

    def found(self, kind: str, **params: str) -> list[dict[str, Any]]:
        """What a search finds."""
        return list(self.fhir.search(kind, params))

    def reports(self, patient: str, within_s: float = 60) -> list[dict[str, Any]]:
        """The reports of a patient, as soon as there is one; no hook is called."""
        return self.wait(lambda: self.found("DiagnosticReport", patient=patient), within_s)

    def wait(self, what: Callable[[], Any], within_s: float = 60) -> Any:
        """What a function answers as soon as it is something."""
        until = time.monotonic() + within_s
        while not (found := what()):
            assert time.monotonic() < until, self.site.logs()
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module", params=["rest-hook", "backport"])
def hospital(
    request: pytest.FixtureRequest,
    valkey_factory: Callable[..., Valkey],
    orthanc: Orthanc,
    sekmet_factory: Callable[..., Sekmet],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hospital]:
    port = free_port()
    wanted = f'topic = "{TOPIC}"' if request.param == "backport" else 'payload = "full-resource"'
    site = toy_site(
        tmp_path_factory.mktemp("triggered"),
        redis_url=valkey_factory().url,
        archive_url=orthanc.base_url,
        fhir_base=f"http://127.0.0.1:{port}/fhir",
        backend="smart",
        tables=f"""token_url = "http://127.0.0.1:{port}/auth/token"
[triggers]
look_back_days = 0
[[triggers.subscriptions]]
tenant = "north"
{wanted}
heartbeat_s = 1
""",
    )
    jwks = {"keys": [site.signing_key.public_jwk]}
    client = {"client_id": CLIENT_ID, "jwks": jwks, "scopes": "system/*.cruds"}
    fhir = sekmet_factory(clients=[client], port=port)
    made = Hospital(site, fhir, orthanc)
    made.put(topic())
    try:
        site.start()
        made.wait(lambda: made.found("Subscription", status="active"))
        yield made
    finally:
        site.stop()


def test_a_subscription_leads_from_a_new_study_to_its_report_before_any_hook(
    hospital: Hospital, request: pytest.FixtureRequest
) -> None:
    study_uid = "2.25.711" if "rest-hook" in request.node.name else "2.25.712"
    hospital.imaged("t1", study_uid)
    prefetch = hospital.charted("t1", study_uid)
    (report,) = hospital.reports("t1")
    assert report["status"] == "preliminary"
    (card,) = hospital.site.cards("t1", prefetch)
    assert said(card)["state"] in ("writing", "final"), "the first hook comes after the analysis"
    (card,) = hospital.site.ended("t1", prefetch)
    assert said(card)["outcome"] == "finding"


def test_the_secret_of_a_notification_stands_in_a_header_alone(hospital: Hospital) -> None:
    (subscription,) = hospital.found("Subscription", status="active")
    (header,) = subscription["channel"]["header"]
    secret = header.removeprefix("Authorization: Bearer ")
    assert len(secret) == 64
    assert secret not in subscription["channel"]["endpoint"]
    assert secret not in hospital.site.logs()
    endpoint = subscription["channel"]["endpoint"]
    assert requests.post(endpoint, timeout=5).status_code == 401
    for token, status in (("x", 401), (secret[:-1] + "x", 401), (secret, 200)):
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.post(endpoint, headers=headers, timeout=5).status_code == status


def test_what_was_missed_is_found_by_a_search(hospital: Hospital) -> None:
    """The web process was away while a study came; the next notification leads to both."""
    hospital.imaged("t2", "2.25.722")
    hospital.site.web.stop()
    hospital.charted("t2", "2.25.722")
    hospital.wait(lambda: hospital.found("Subscription", status="error"), 90)
    hospital.site.web.start()
    assert hospital.site.command("subscribe").returncode == 0
    assert hospital.reports("t2")


def test_subscribing_again_makes_no_second_subscription(hospital: Hospital) -> None:
    for _ in range(2):
        said_ = hospital.site.command("subscribe", "--tenant", "north")
        assert said_.returncode == 0, said_.stderr
    assert len(hospital.found("Subscription")) == 1
    assert hospital.site.command("subscribe", "--tenant", "nobody").returncode == 3
