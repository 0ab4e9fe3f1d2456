"""When a card links to a launch instead of carrying a proof, and which launches are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cds_service.security.links import Links
from cds_service.settings import Settings
from docs.openapi_page import whole_application
from tests.doubles import ehr, hooking

SECRET = "0123456789-0123456789-0123456789"
TENANT: dict[str, Any] = {
    "name": "north",
    "issuer": "https://ehr.example.org",
    "jwks_url": "https://ehr.example.org/jwks.json",
    "fhir_base": "https://ehr.example.org/fhir",
    "archive": "pacs",
    "smart_app": {"client_id": "scanhook-page"},
}


def card(**changes: Any) -> dict[str, Any]:
    """The card of a finding, in a chart of the tenant with these settings."""
    site = hooking.site(tenants=(ehr.tenant(**changes),))
    hooking.known(site)
    answer = site.client().post(
        hooking.PATIENT_VIEW,
        data=json.dumps(hooking.patient_view()),
        headers={**site.ehr.bearer(hooking.PATIENT_VIEW), "Content-Type": "application/json"},
    )
    (made,) = answer.get_json()["cards"]
    found: dict[str, Any] = made
    return found


def test_a_tenant_that_launches_has_a_link_without_a_secret() -> None:
    """CDS Hooks 2.0.1, Link: appContext is a string, and for links of type smart alone."""
    made = card(smart_app={"client_id": "scanhook-page"})
    why, *others = made["links"]
    study = made["extension"]["org.scanhook.result"]["study"]
    assert why == {
        "label": "Why: images, heat map, limits",
        "type": "smart",
        "url": f"{ehr.BASE_URL}/smart/launch",
        "appContext": study,
    }
    assert {link["type"] for link in others} == {"absolute"}
    assert "/e/" not in json.dumps(made)


def test_a_tenant_that_does_not_has_a_signed_one() -> None:
    why = card()["links"][0]
    assert why["type"] == "absolute"
    assert "/e/" in why["url"]
    assert "appContext" not in why


def test_the_launch_address_is_the_same_for_every_study_and_below_our_own() -> None:
    links = Links([SECRET], "https://ai.example.org/scanhook/", 900)
    assert links.launch_url == "https://ai.example.org/scanhook/smart/launch"


def test_a_model_has_an_address_whatever_its_name() -> None:
    links = Links([SECRET], "https://ai.example.org", 900)
    assert (
        links.model_card_url("a/../b?c", "1#<")
        == "https://ai.example.org/models/a%2F..%2Fb%3Fc/1%23%3C"
    )


def settings(*tenants: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "base_url": "https://ai.example.org",
            "site_secrets": [SECRET],
            "archives": [{"name": "pacs", "base_url": "https://pacs.example.org/dicom-web"}],
            "tenants": tenants,
        }
    )


SOUTH = {"name": "south", "issuer": "https://other.example.org"}
REFUSED: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "no key to prove it with": (
        ({**TENANT, "smart_app": {"client_id": "a", "confidential": True}},),
        "needs signing_key_file",
    ),
    "two of one server": ((TENANT, {**TENANT, **SOUTH}), "launching fhir_base"),
    "a login in clear": (
        ({**TENANT, "smart_app": {"client_id": "a", "endpoints": ["http://login.example.org"]}},),
        "north login must be https",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_launch_that_could_not_be_safe_is_refused(name: str) -> None:
    tenants, sentence = REFUSED[name]
    with pytest.raises(ValidationError, match=sentence):
        settings(*tenants)


def test_two_tenants_of_one_server_may_be_there_if_one_launches() -> None:
    assert settings(TENANT, {**TENANT, **SOUTH, "smart_app": {}}).tenants[0].smart_app


@pytest.mark.parametrize(
    ("tenant", "ancestors"),
    [
        ({"smart_app": {"client_id": "scanhook"}}, "'self' https://ehr.example.org"),
        ({}, "https://ehr.example.org"),
    ],
)
def test_our_own_banner_may_frame_the_page_where_an_ehr_launches_it(
    tmp_path: Path, tenant: dict[str, Any], ancestors: str
) -> None:
    own = {name: value for name, value in TENANT.items() if name != "smart_app"} | tenant
    web = {"frame_ancestors": ["https://ehr.example.org"]}
    app = whole_application(tmp_path, tenants=[own], web=web)
    policy = app.test_client().get("/explanations/x").headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors {ancestors}")
