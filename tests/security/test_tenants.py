"""What one tenant knows, learns or says is nothing to another, whichever door it tries.

North and South are two EHRs of one site. South calls with good tokens of its own, and knows every
id of North's that has ever been in an answer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from cds_service.cards import EXTENSION
from cds_service.feedback import CardLedger, Feedback
from cds_service.queue.payload import Sealer
from cds_service.security.links import Links
from cds_service.triggers.secrets import NotificationSecrets
from docs.openapi_page import whole_application
from tests.doubles import ehr
from tests.doubles.faulty_http import FaultyServer, json_answer
from tests.doubles.hooking import (
    CALLS,
    PATIENT_VIEW,
    Site,
    authorization,
    bundle,
    imaging_study,
    known,
    patient,
    patient_view,
    settings,
)
from tests.peers.valkey import Valkey, missing

SECRET = "a secret of two tenants' one site, long enough"
SOUTH = ehr.Ehr(key=ehr.OTHER_KEY, kid="south-1")
SOUTH_ISSUER = "https://south.example.org"


def two_tenants() -> Site:
    """North has the name of the doubles' tenant; South has keys, server and issuer of its own."""
    south = ehr.tenant(
        name="south",
        issuer=SOUTH_ISSUER,
        jwks_url=f"{SOUTH_ISSUER}/jwks.json",
        fhir_base=f"{SOUTH_ISSUER}/fhir",
    )
    at = Site(settings(tenants=(ehr.tenant(), south)))
    keys = {ehr.JWKS_URL: ehr.jwks(), south.jwks_url: ehr.jwks(ehr.jwk(ehr.OTHER_KEY, "south-1"))}
    at.fetch = keys.__getitem__  # type: ignore[method-assign]  # each has its own
    return at


def from_south(path: str, **claims: Any) -> dict[str, str]:
    return SOUTH.bearer(path, iss=SOUTH_ISSUER, **claims)


def states(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [card["extension"][EXTENSION]["state"] for card in answer.get_json()["cards"]]


@pytest.mark.parametrize("path", CALLS)
def test_the_same_patient_and_study_are_another_record(path: str) -> None:
    at = two_tenants()
    record = known(at)
    client = at.client()
    north = client.post(path, json=CALLS[path](), headers=at.ehr.bearer(path))
    south = client.post(path, json=CALLS[path](), headers=from_south(path))
    assert states(north) == ["final"]
    assert "final" not in states(south)
    assert record.explanation_id not in south.get_data(as_text=True)
    assert record.id not in south.get_data(as_text=True)
    assert {order["tenant"] for order in at.queue.orders} == {"south"}


def test_the_server_of_another_is_no_server_of_ours() -> None:
    at = two_tenants()
    body = patient_view(prefetch=None, fhirServer=ehr.FHIR_BASE, fhirAuthorization=authorization())
    answer = at.client().post(PATIENT_VIEW, json=body, headers=from_south(PATIENT_VIEW))
    assert answer.status_code == 403
    assert at.chart.opened == []


def test_nobody_signs_for_another() -> None:
    at = two_tenants()
    client = at.client()
    for signer in (
        SOUTH.bearer(PATIENT_VIEW),  # North's issuer, South's key
        ehr.Ehr(key=ehr.OTHER_KEY).bearer(PATIENT_VIEW),  # and North's name of a key
        ehr.Ehr().bearer(PATIENT_VIEW, iss=SOUTH_ISSUER),
        ehr.Ehr(kid="south-1").bearer(PATIENT_VIEW, iss=SOUTH_ISSUER),
    ):
        assert client.post(PATIENT_VIEW, json=patient_view(), headers=signer).status_code == 401


def test_used_tokens_of_one_are_not_those_of_another() -> None:
    """Else South could use up North's tokens by guessing their ``jti``."""
    at = two_tenants()
    client = at.client()
    headers = (from_south(PATIENT_VIEW, jti="j1"), at.ehr.bearer(PATIENT_VIEW, jti="j1"))
    answers = [client.post(PATIENT_VIEW, json=patient_view(), headers=each) for each in headers]
    assert [answer.status_code for answer in answers] == [200, 200]


def test_metrics_hold_names_of_the_configuration_alone() -> None:
    at = two_tenants()
    known(at)
    client = at.client()
    client.post(PATIENT_VIEW, json=patient_view(), headers=from_south(PATIENT_VIEW, tenant="ehr"))
    text = client.get("/metrics").get_data(as_text=True)
    ours = [line for line in text.splitlines() if 'tenant="' in line]
    assert any('tenant="south"' in line for line in ours)
    assert {line.split('tenant="')[1].split('"')[0] for line in ours} <= {"ehr", "south", "other"}
    assert SOUTH_ISSUER not in text


def test_metrics_are_no_tenants_business_where_operators_have_a_token() -> None:
    at = Site(settings(web={"operator_token": "of operators"}))
    client = at.client()
    for headers in ({}, at.ehr.bearer("/metrics"), at.ehr.bearer("/cds-services")):
        assert client.get("/metrics", headers=headers).status_code == 401
        assert "checks" not in client.get("/readyz", headers=headers).get_json()


def test_a_link_is_of_one_study_of_one_tenant() -> None:
    sealer = Sealer([SECRET.encode()])
    links = Links([SECRET], ehr.BASE_URL, 900)
    keys = [sealer.study_key(name, "Patient/p1", "1.2.3") for name in ("ehr", "south")]
    assert len(set(keys)) == 2
    opened = links.open(links.explanation_url("ab" * 32, keys[0], 0).rpartition("/")[2], 1)
    assert opened is not None
    assert [links.concerns(opened, key) for key in keys] == [True, False]


# the whole application, over a real queue


@dataclass(frozen=True)
class Both:
    """The application of two tenants, where its archives are, and its queue."""

    client: FlaskClient
    archives: Mapping[str, str]
    redis_url: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    if missing():
        pytest.skip(str(missing()))
    folder = tmp_path_factory.mktemp("tenants")
    sets = {"north": ehr.jwks(), "south": ehr.jwks(ehr.jwk(ehr.OTHER_KEY, "south-1"))}
    valkey = Valkey(folder)
    with FaultyServer(lambda seen: json_answer("{}", status=404)) as upstream:
        archives = {name: f"{upstream.base_url}/{name}" for name in sets}
        valkey.process.start()
        try:
            app = whole_application(
                folder / "state",
                base_url=ehr.BASE_URL,
                site_secrets=[SECRET],
                redis_url=valkey.url,
                archives=[{"name": name, "base_url": url} for name, url in archives.items()],
                tenants=[
                    {
                        "name": name,
                        "issuer": {"north": ehr.ISSUER, "south": SOUTH_ISSUER}[name],
                        "jwks_file": _written(folder / f"{name}.json", keys),
                        "fhir_base": f"{upstream.base_url}/{name}/fhir",
                        "backend": "open",
                        "archive": name,
                    }
                    for name, keys in sets.items()
                ],
            )
            yield Both(app.test_client(), archives, valkey.url)
        finally:
            valkey.process.stop()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def signed(who: str, path: str) -> Mapping[str, str]:
    """A good token of North or South, now."""
    signer = replace(SOUTH if who == "south" else ehr.Ehr(), now_s=time.time())
    issuer = SOUTH_ISSUER if who == "south" else ehr.ISSUER
    return signer.bearer(path, iss=issuer)


def cards_of(both: Both, who: str, **changes: Any) -> list[dict[str, Any]]:
    body = patient_view(hookInstance=str(uuid.uuid4()), **changes)
    answer = both.client.post(PATIENT_VIEW, json=body, headers=signed(who, PATIENT_VIEW))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return list(answer.get_json()["cards"])


def test_cards_and_ids_of_both_are_apart(both: Both) -> None:
    north, south = (cards_of(both, who) for who in ("north", "south"))
    assert {card["uuid"] for card in north}.isdisjoint(card["uuid"] for card in south)
    studies = [card["extension"][EXTENSION]["study"] for card in (*north, *south)]
    assert len(set(studies)) == len(studies)


def test_an_endpoint_cannot_select_the_archive_of_another(both: Both) -> None:
    own = {"resourceType": "Endpoint", "id": "e", "status": "active", "connectionType": {}}
    own["connectionType"] = {"code": "dicom-wado-rs"}
    study = imaging_study(
        "1.2.840.99.7",
        contained=[own | {"address": both.archives["north"]}],
        endpoint=[{"reference": "#e"}],
    )
    changes = {"prefetch": {"patient": patient(), "studies": bundle(study)}}
    (south,), (north,) = (cards_of(both, who, **changes) for who in ("south", "north"))
    assert south["extension"][EXTENSION]["state"] == "abstained"
    assert north["extension"][EXTENSION]["state"] == "received"


def test_feedback_on_a_card_of_another_is_passed_over(both: Both) -> None:
    at = two_tenants()
    known(at)
    answer = at.client().post(
        PATIENT_VIEW, json=patient_view(), headers=at.ehr.bearer(PATIENT_VIEW)
    )
    (card,) = answer.get_json()["cards"]
    with Redis.from_url(both.redis_url) as redis:
        ledger = CardLedger(redis, Sealer([SECRET.encode()]), time.time)
        ledger.issued("north", "imaging-ai-patient-view", [card])
        entry = Feedback(card["uuid"], "overridden", "disagree", int(time.time()))
        assert ledger.note("south", [entry]) == []
        assert ledger.tallies() == ()
        assert ledger.note("north", [entry]) == [entry]
        assert len(ledger.tallies()) == 1


@pytest.mark.parametrize("path", ["/notifications/fhir/north", "/notifications/archive/north"])
def test_no_secret_and_no_token_of_one_notifies_for_another(both: Both, path: str) -> None:
    secrets = NotificationSecrets([SECRET])
    source = path.split("/")[2]
    body = {"resourceType": "Bundle", "type": "history", "StudyInstanceUID": "1.2.3"}
    for headers in (
        {"Authorization": f"Bearer {secrets.of(source, 'south')}"},
        signed("south", path),
        {},
    ):
        assert both.client.post(path, json=body, headers=headers).status_code == 401
    known_one = {"Authorization": f"Bearer {secrets.of(source, 'north')}"}
    assert both.client.post(path, json=body, headers=known_one).status_code == 200
