"""The configuration of a real server that knows SMART, though not users: read as it is written."""

from __future__ import annotations

import pytest
import requests

from cds_service.bootstrap import Site
from cds_service.bootstrap.smart import registration
from cds_service.doctor import examine, trials
from cds_service.settings import Settings
from cds_service.smart.configuration import Configurations
from tests.doubles import ehr
from tests.peers.sekmet import Sekmet

pytestmark = pytest.mark.peer


def site_of(fhir_base: str) -> Site:
    tenant = ehr.tenant(fhir_base=fhir_base, smart_app={"client_id": "scanhook-page"})
    archive = {"name": "pacs", "base_url": "http://127.0.0.1:9/dicom-web"}
    return Site(
        Settings.model_validate(
            {
                "environment": "development",
                "base_url": ehr.BASE_URL,
                "site_secrets": ["0123456789-0123456789-0123456789"],
                "archives": [archive],
                "tenants": [tenant],
            }
        )
    )


def test_its_login_and_token_addresses_are_found(sekmet: Sekmet) -> None:
    site = site_of(sekmet.base_url)
    at = registration(site, site.settings.tenants[0])
    assert at.launches(sekmet.base_url)
    found = Configurations().of(at)
    assert found.token.base_url == sekmet.token_url
    assert found.issuer == sekmet.base_url
    refused = requests.get(found.authorize_url, timeout=10)
    assert refused.json()["error"] == "unsupported_response_type", "it knows no users"


def test_the_doctor_says_whether_an_ehr_can_launch(sekmet: Sekmet) -> None:
    for base, well in ((sekmet.base_url, True), (f"{sekmet.base_url}/nowhere", False)):
        (finding,) = (examine(trial) for trial in trials(site_of(base)) if trial.kind == "launch")
        assert finding.well is well
        assert ("smart_app" in finding.advice) is not well
