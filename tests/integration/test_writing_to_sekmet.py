"""Results into sekmet with SMART Backend Services: once, not over a person's, and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.fhir import FhirServer
from cds_service.reports import FhirReports
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.keys import generate_signing_key
from cds_service.security.links import Links
from cds_service.settings import TenantSettings
from cds_service.writing.recall import ALREADY, DONE, KEPT, Recaller
from cds_service.writing.writer import FhirWriter
from fhir_mapping.context import WriteForm
from fhir_mapping.recall import Recall
from tests.peers.sekmet import Sekmet
from tests.unit.fhir_mapping.cases import FULL_REF, NEGATIVE, RESULT, analysis_of

pytestmark = pytest.mark.peer

EVERY_TYPE = TenantSettings.model_fields["scopes"].default
WHOLE_SYSTEM = ("system/*.cruds",)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RECALL = Recall(RESULT.model_id, RESULT.model_version, "Threshold set wrongly", AT)


class Ehr:
    """A sekmet that asks for tokens, with what a report refers to."""

    def __init__(self, peer: Sekmet, key: Any, scopes: tuple[str, ...]) -> None:
        self.base = Allowance("the EHR", peer.base_url, http_ok=True)
        self.server = self._as(key, scopes)
        self.person = self._as(key, WHOLE_SYSTEM)
        subject = {"subject": {"reference": "Patient/p1"}}
        for resource in (
            {"resourceType": "Patient", "id": "p1"},
            {"resourceType": "Organization", "id": "h1", "name": "General Hospital"},
            {"resourceType": "ImagingStudy", "id": "s1", "status": "available", **subject},
        ):
            place = f"{resource['resourceType']}/{resource['id']}"
            request = {"method": "PUT", "url": place}
            self.person.write({"resource": resource, "request": request})

    def _as(self, key: Any, scopes: tuple[str, ...]) -> FhirServer:
        credential = BackendServices(self.base, AllowList(), "scanhook", lambda: key, scopes)
        return FhirServer(self.base, credential=credential)

    def reports(self, wanted: WriteForm | None = None) -> FhirReports:
        return FhirReports(
            writer=FhirWriter(self.server, wanted),
            tenant="north",
            links=Links(["0123456789-0123456789-0123456789"], "https://ai.example.org", 900),
            organisation="General Hospital",
            demo=False,
        )

    def all(self, kind: str) -> list[dict[str, Any]]:
        return list(self.person.search(kind, {}))

    def edit(self, **changes: Any) -> dict[str, Any]:
        (report,) = self.all("DiagnosticReport")
        changed = {**report, **changes}
        request = {"method": "PUT", "url": f"DiagnosticReport/{report['id']}"}
        self.person.write({"resource": changed, "request": request})
        return self.person.read(f"DiagnosticReport/{report['id']}")


@pytest.fixture
def ehr(
    request: pytest.FixtureRequest, sekmet_factory: Callable[..., Sekmet], tmp_path: Path
) -> Ehr:
    """With the scopes that we ask for; with `WHOLE_SYSTEM` it takes transactions from us, too."""
    key = generate_signing_key(tmp_path / "key.jwk")
    granted = " ".join([*EVERY_TYPE, *WHOLE_SYSTEM])
    client = {"client_id": "scanhook", "jwks": {"keys": [key.public_jwk]}, "scopes": granted}
    return Ehr(sekmet_factory(clients=[client]), key, getattr(request, "param", EVERY_TYPE))


@pytest.mark.parametrize(
    ("ehr", "wanted"),
    [
        (EVERY_TYPE, None),
        (EVERY_TYPE, WriteForm.PLAIN),
        (WHOLE_SYSTEM, None),
        (WHOLE_SYSTEM, WriteForm.CLIENT_ASSIGNED_IDS),
    ],
    indirect=["ehr"],
)
def test_written_twice_is_there_once(ehr: Ehr, wanted: WriteForm | None) -> None:
    first = ehr.reports(wanted).write(analysis_of(RESULT), FULL_REF, "ab" * 16, AT)
    again = ehr.reports(wanted).write(analysis_of(NEGATIVE), FULL_REF, "ab" * 16, AT)
    assert first == again
    (report,), (observation,) = ehr.all("DiagnosticReport"), ehr.all("Observation")
    (device,), (provenance,) = ehr.all("Device"), ehr.all("Provenance")
    assert report["result"][0]["reference"] == f"Observation/{observation['id']}"
    assert observation["device"]["reference"] == f"Device/{device['id']}"
    assert len(provenance["target"]) == 2
    assert observation["interpretation"][0]["coding"][0]["code"] == "NEG"


def test_a_persons_edit_is_kept_and_new_images_are_reported_beside_it(ehr: Ehr) -> None:
    first = ehr.reports().write(analysis_of(RESULT), FULL_REF, "ab" * 16, AT)
    edited = ehr.edit(conclusion="No, a cyst.")
    assert ehr.reports().write(analysis_of(RESULT), FULL_REF, "ab" * 16, AT) == first
    grown = replace(analysis_of(NEGATIVE), instance_digest="ef" * 32)
    second = ehr.reports().write(grown, FULL_REF, "ab" * 16, AT)
    assert second != first
    assert ehr.person.read(first) == edited
    assert len(ehr.all("DiagnosticReport")) == 2


def test_a_recall_voids_what_was_written_and_says_why(ehr: Ehr) -> None:
    ehr.reports().write(analysis_of(RESULT), FULL_REF, "ab" * 16, AT)
    rows = list(Recaller(ehr.server, RECALL).rows())
    assert [row.state for row in rows] == [DONE, DONE]
    for kind in ("DiagnosticReport", "Observation"):
        (resource,) = ehr.all(kind)
        assert resource["status"] == "entered-in-error"
    recalled = [p for p in ehr.all("Provenance") if "NULLIFY" in json.dumps(p)]
    assert len(recalled) == 1
    assert recalled[0]["reason"][0]["text"] == "Threshold set wrongly"
    again = list(Recaller(ehr.server, RECALL).rows())
    assert [row.state for row in again] == [ALREADY, ALREADY]
    assert len(ehr.all("Provenance")) == 2


def test_a_recall_leaves_what_a_person_signed(ehr: Ehr) -> None:
    ehr.reports().write(analysis_of(RESULT), FULL_REF, "ab" * 16, AT)
    ehr.edit(status="final")
    rows = {row.reference.partition("/")[0]: row for row in Recaller(ehr.server, RECALL).rows()}
    assert rows["DiagnosticReport"].state == KEPT
    assert rows["Observation"].state == DONE
