"""SMART App Launch 2.2, EHR launch: each rule of the way to a page, kept and broken."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import TestResponse

from cds_service.security.egress import Allowance
from cds_service.security.keys import SigningKey
from cds_service.smart.errors import ForeignState
from cds_service.smart.state import States
from tests.doubles import ehr
from tests.doubles.faulty_http import answer, hang_up, json_answer, redirect
from tests.doubles.launch_server import Launching, LaunchServer
from tests.doubles.launch_window import CALLBACK, LAUNCH, SECRET, LaunchSite, Window


@pytest.fixture
def server() -> Iterator[LaunchServer]:
    with LaunchServer(CALLBACK) as running:
        yield running


@pytest.fixture
def site(server: LaunchServer) -> LaunchSite:
    return LaunchSite(server)


def opened(site: LaunchSite, location: str) -> str:
    """The explanation that the address of a page opens."""
    assert location.startswith(f"{ehr.BASE_URL}/e/")
    link = site.links.open(location.rpartition("/")[2], site.clock())
    assert link is not None
    return link.explanation_id


def test_a_launch_ends_at_a_short_lived_page_of_its_study(
    server: LaunchServer, site: LaunchSite
) -> None:
    record = site.explained()
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", record.id)))
    assert end.status_code == 303
    assert opened(site, end.headers["Location"]) == record.explanation_id
    assert "Set-Cookie" not in end.headers


def test_the_login_is_asked_for_with_pkce_state_and_the_audience(
    server: LaunchServer, site: LaunchSite
) -> None:
    window = Window(site)
    for _ in range(2):
        window.login(window.leave(server.launch_url(LAUNCH, Launching("p1"))))
    first, second = server.asked
    assert first["aud"] == server.fhir_base
    assert first["redirect_uri"] == CALLBACK
    assert first["scope"].split()[:2] == ["launch", "openid"]
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "code_challenge", "nonce"):
        assert len(first[name]) >= 43
        assert first[name] != second[name]
    assert not any(verifier in str(server.asked) for verifier in window.kept.values())


def test_the_state_names_nobody_and_nothing(server: LaunchServer, site: LaunchSite) -> None:
    state = site.states.depart("ehr").state
    assert re.fullmatch(r"[A-Za-z0-9_-]+", state)
    assert "ehr" not in state
    assert site.states.tenant_of(state) == "ehr"


def test_nothing_is_kept_for_a_launch_that_does_not_come_back(
    server: LaunchServer, site: LaunchSite
) -> None:
    for _ in range(5):
        Window(site).leave(server.launch_url(LAUNCH, Launching("p1")))
    assert site.hooks.redis.values == {}


def test_a_page_of_a_launch_allows_no_script_of_others_and_no_frame(
    server: LaunchServer, site: LaunchSite
) -> None:
    shown = Window(site).leave(server.launch_url(LAUNCH, Launching("p1")))
    policy = shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert shown.headers["Referrer-Policy"] == "no-referrer"
    assert shown.headers["Cache-Control"] == "no-store"


def test_a_confidential_client_proves_who_it_is(server: LaunchServer) -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    server.client_key = private.public_key()
    record = LaunchSite(server).explained()
    url = server.launch_url(LAUNCH, Launching("p1", record.id))
    site = LaunchSite(server, key=lambda: SigningKey("ours", "ES384", private))
    site.explained()
    assert Window(site).walk(url).status_code == 303
    stranger = SigningKey("ours", "ES384", ec.generate_private_key(ec.SECP384R1()))
    for key in (None, lambda: stranger):
        url = server.launch_url(LAUNCH, Launching("p1", record.id))
        assert Window(LaunchSite(server, key=key)).walk(url).status_code == 403


@pytest.mark.parametrize(
    ("said", "user"),
    [
        ("{base}/Practitioner/1", "Practitioner/1"),
        ("PractitionerRole/a-b.c", "PractitionerRole/a-b.c"),
        ("https://elsewhere.example/fhir/Practitioner/1", ""),
        ("{base}/Practitioner/1/../../Patient/2", ""),
        ("Person/1", ""),
        (["Practitioner/1"], ""),
        (None, ""),
    ],
)
def test_what_is_read_of_the_chart_is_read_for_the_user_of_the_launch(
    server: LaunchServer, site: LaunchSite, said: Any, user: str
) -> None:
    """For the audit trail: a reference into this chart, or nobody."""
    named = said.format(base=server.fhir_base) if isinstance(said, str) else said
    server.faults.user = {"fhirUser": named}
    server.faults.token = {"need_patient_banner": True}
    server.patients.append(ANA)
    site.explained()
    Window(site).walk(server.launch_url(LAUNCH, Launching("p1")))
    assert site.users == [user, user]


# --- whose page it is (need_patient_banner)

ANA = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Canary<b>", "given": ["Ana"]}],
    "birthDate": "1970-01-31",
    "gender": "female",
}


def framed(shown: TestResponse) -> list[str]:
    """The addresses of the frames of a page."""
    return re.findall(r'<iframe[^>]* src="([^"]+)"', shown.text)


@pytest.mark.parametrize("needed", [True, "true"])
def test_where_the_ehr_shows_no_patient_the_page_does(
    server: LaunchServer, site: LaunchSite, needed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.patients.append(ANA)
    server.faults.token = {"need_patient_banner": needed}
    record = site.explained()
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", record.id)))
    assert end.status_code == 200
    assert all(said in end.text for said in ("Ana Canary&lt;b&gt;", "1970-01-31", "female"))
    (address,) = framed(end)
    assert opened(site, address) == record.explanation_id
    assert "frame-src 'self'" in end.headers["Content-Security-Policy"]
    assert end.headers["Cache-Control"] == "no-store"
    kept = f"{caplog.text}{site.hooks.redis.values}{address}"
    assert not any(said in kept for said in ("Canary", "1970", "Ana"))


@pytest.mark.parametrize("needed", [False, None, "false", 1.5, "yes", {}])
def test_where_the_ehr_shows_the_patient_nobody_is_asked_who_it_is(
    server: LaunchServer, site: LaunchSite, needed: Any
) -> None:
    server.patients.append(ANA)
    server.faults.token = {"need_patient_banner": needed}
    record = site.explained()
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", record.id)))
    assert end.status_code == 303
    assert not [seen for seen in server.server.seen if "Patient" in seen.path]


def test_studies_to_choose_from_open_below_the_banner(
    server: LaunchServer, site: LaunchSite
) -> None:
    server.patients.append(ANA)
    server.faults.token = {"need_patient_banner": True}
    wanted = {site.explained(number=number).explanation_id for number in (1, 2)}
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1")))
    links = re.findall(r'<a href="([^"]+)" target="explanation">', end.text)
    assert {opened(site, link) for link in links} == wanted
    assert framed(end) == []
    assert 'name="explanation"' in end.text


@pytest.mark.parametrize(
    ("patient", "status", "said"),
    [
        (None, 403, "did not say who it is"),
        (answer(403), 403, "did not say who it is"),
        (json_answer('{"resourceType": "Patient", "id": "p1"}'), 403, "did not say who it is"),
        (json_answer('{"resourceType": "Patient", "id": "p2"}'), 502, "did not answer"),
        (answer(500), 502, "did not answer"),
        (hang_up(), 502, "did not answer"),
    ],
)
def test_without_the_banner_that_is_needed_no_page_is_shown(
    server: LaunchServer, site: LaunchSite, patient: Any, status: int, said: str
) -> None:
    """A result beside which nobody says whose it is may be read as another's."""
    record = site.explained()
    server.faults.token = {"need_patient_banner": True}
    server.faults.replies = {"/fhir/Patient/p1": patient} if patient else {}
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", record.id)))
    assert (end.status_code, said in end.text) == (status, True)
    assert "/e/" not in end.text


# --- which study


def test_without_a_study_the_one_of_the_chart_is_shown(
    server: LaunchServer, site: LaunchSite
) -> None:
    record = site.explained()
    site.explained("p2", 2)
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1")))
    assert opened(site, end.headers["Location"]) == record.explanation_id


def test_of_several_studies_the_user_chooses(server: LaunchServer, site: LaunchSite) -> None:
    wanted = {site.explained(number=number).explanation_id for number in (1, 2)}
    site.explained(number=3, explanation_id="")
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1")))
    assert end.status_code == 200
    links = re.findall(r'<a href="([^"]+)">MR of 2026-03-03</a>', end.text)
    assert {opened(site, link) for link in links} == wanted


@pytest.mark.parametrize("shape", [lambda r: {"reference": r, "type": "ImagingStudy"}, str])
def test_the_study_of_fhir_context_is_shown(
    server: LaunchServer, site: LaunchSite, shape: Callable[[str], Any]
) -> None:
    site.explained()
    second = site.explained(number=2)
    reference = f"ImagingStudy/{server.resources[1]['id']}"
    about = Launching("p1", fhir_context=(shape("Patient/p1"), shape(reference)))
    end = Window(site).walk(server.launch_url(LAUNCH, about))
    assert opened(site, end.headers["Location"]) == second.explanation_id


def test_a_study_of_another_patient_is_refused(server: LaunchServer, site: LaunchSite) -> None:
    other = site.explained("p2")
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", other.id)))
    assert end.status_code == 403
    assert "not one of the patient" in end.text
    unknown = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", "00" * 16)))
    assert unknown.get_data() == end.get_data()


def test_a_study_of_another_tenant_is_refused(server: LaunchServer, site: LaunchSite) -> None:
    """Patient/p1 of one EHR is somebody else than Patient/p1 of another."""
    other = site.explained(tenant="south")
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", other.id)))
    assert end.status_code == 403


def test_a_study_of_another_patient_in_fhir_context_is_refused(
    server: LaunchServer, site: LaunchSite
) -> None:
    site.explained()
    site.explained("p2", 2)
    reference = {"reference": f"ImagingStudy/{server.resources[1]['id']}"}
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", fhir_context=(reference,))))
    assert end.status_code == 403


def test_a_patient_without_an_explanation_has_none(server: LaunchServer, site: LaunchSite) -> None:
    assert Window(site).walk(server.launch_url(LAUNCH, Launching("p1"))).status_code == 404
    waiting = site.explained(explanation_id="")
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1", waiting.id)))
    assert end.status_code == 404


# --- who launches

OTHERS = {
    "another host": lambda base: "https://evil.example/fhir",
    "another path": lambda base: f"{base}/other",
    "another port": lambda base: "http://127.0.0.1:1/fhir",
    "a prefix": lambda base: base[:-1],
    "user info": lambda base: base.replace("//", "//evil.example@"),
    "a query": lambda base: f"{base}?a=b",
    "a script": lambda base: "javascript:alert(1)",
    "no URL": lambda base: "\r\nSet-Cookie: a=b",
    "a dot": lambda base: f"{base}/../fhir",
}


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_server_launches(name: str, server: LaunchServer, site: LaunchSite) -> None:
    client = site.app.test_client()
    sent = {"iss": OTHERS[name](server.fhir_base), "launch": "x"}
    refused = client.get("/smart/launch", query_string=sent)
    assert refused.status_code == 403
    assert "evil" not in refused.text
    assert server.server.connections == 0


@pytest.mark.parametrize(
    "query", ["", "iss={b}", "launch=x", "iss={b}&launch=", "iss={b}&iss={b}&launch=x"]
)
def test_an_incomplete_launch_is_refused(
    query: str, server: LaunchServer, site: LaunchSite
) -> None:
    url = f"/smart/launch?{query.format(b=server.fhir_base)}"
    assert site.app.test_client().get(url).status_code == 400


# --- the way back


def test_a_launch_that_was_denied_says_so(server: LaunchServer, site: LaunchSite) -> None:
    window = Window(site)
    denied = window.back(
        window.login(window.leave(server.launch_url(LAUNCH, Launching("p1"))), "deny")
    )
    assert denied.status_code == 403
    assert "did not allow" in denied.text


def test_the_words_of_a_denial_are_not_shown(server: LaunchServer, site: LaunchSite) -> None:
    state = site.states.depart("ehr").state
    sent = {"error": "access_denied", "error_description": "<b>call 555</b>", "state": state}
    denied = site.app.test_client().get("/smart/callback", query_string=sent)
    assert denied.status_code == 403
    assert "555" not in denied.text


def test_another_window_cannot_end_a_launch(server: LaunchServer, site: LaunchSite) -> None:
    """Login CSRF: the address of the way back is of a launch that somebody else began."""
    record = site.explained()
    attacker, victim = Window(site), Window(site)
    address = attacker.login(attacker.leave(server.launch_url(LAUNCH, Launching("p1", record.id))))
    end = victim.back(address)
    assert end.status_code == 403
    assert "not begun in this window" in end.text
    assert not any(seen.path == "/auth/token" for seen in server.server.seen)
    victim.leave(server.launch_url(LAUNCH, Launching("p1")))
    (own,) = victim.kept.values()
    shown = victim.client.get(f"/smart/callback?{urlsplit(address).query}")
    assert victim.post(shown, verifier=own).status_code == 403


def test_a_launch_is_used_once(server: LaunchServer, site: LaunchSite) -> None:
    record = site.explained()
    window = Window(site)
    address = window.login(window.leave(server.launch_url(LAUNCH, Launching("p1", record.id))))
    kept = dict(window.kept)
    assert window.back(address).status_code == 303
    window.kept = kept
    assert window.back(address).status_code == 409


def test_a_launch_has_ten_minutes(server: LaunchServer, site: LaunchSite) -> None:
    record = site.explained()
    for passed_s, status in ((599, 303), (600, 410)):
        window = Window(site)
        url = server.launch_url(LAUNCH, Launching("p1", record.id))
        address = window.login(window.leave(url))
        site.clock.now_s += passed_s
        assert window.back(address).status_code == status


STATES: dict[str, Callable[[str], str]] = {
    "changed": lambda state: state[:-3] + ("AAA" if state[-3:] != "AAA" else "BBB"),
    "cut": lambda state: state[:-1],
    "empty but there": lambda state: "x",
    "long": lambda state: state * 5,
    "not ASCII": lambda state: "ß" * 40,
}


@pytest.mark.parametrize("name", STATES)
def test_no_other_state_is_taken(name: str, server: LaunchServer, site: LaunchSite) -> None:
    sent = {"code": "c", "state": STATES[name](site.states.depart("ehr").state)}
    assert site.app.test_client().get("/smart/callback", query_string=sent).status_code == 403


def test_without_redis_no_launch_ends(server: LaunchServer, site: LaunchSite) -> None:
    window = Window(site)
    address = window.login(window.leave(server.launch_url(LAUNCH, Launching("p1"))))
    site.hooks.redis.down = True
    assert window.back(address).status_code == 503


# --- what the EHR answers

TOKENS: dict[str, tuple[dict[str, Any], int]] = {
    "no token": ({"access_token": None}, 403),
    "a token of two lines": ({"access_token": "a\r\nb"}, 403),
    "another kind": ({"token_type": "mac"}, 403),
    "no patient": ({"patient": None}, 403),
    "a patient that is no id": ({"patient": "p1/../p2"}, 403),
    "a patient that is no text": ({"patient": ["p1"]}, 403),
    "no id_token": ({"id_token": None}, 403),
    "an id_token that is none": ({"id_token": "a.b.c"}, 403),
    "a context of another kind": ({"fhirContext": {"a": 1}, "appContext": 7}, 303),
}


@pytest.mark.parametrize("name", TOKENS)
def test_what_comes_for_the_code_is_checked(
    name: str, server: LaunchServer, site: LaunchSite
) -> None:
    server.faults.token, status = TOKENS[name]
    site.explained()
    end = Window(site).walk(server.launch_url(LAUNCH, Launching("p1")))
    assert end.status_code == status, end.text


USERS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another client": {"aud": "somebody-else"},
    "another launch": {"nonce": "0" * 64},
    "expired": {"exp": 1},
    "without end": {"exp": None},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("name", USERS)
def test_the_id_token_is_checked(name: str, server: LaunchServer, site: LaunchSite) -> None:
    server.faults.user = USERS[name]
    site.explained()
    assert Window(site).walk(server.launch_url(LAUNCH, Launching("p1"))).status_code == 403


def test_the_id_token_is_signed_by_the_ehr(server: LaunchServer, site: LaunchSite) -> None:
    server.faults.signs_with = ec.generate_private_key(ec.SECP384R1())
    site.explained()
    assert Window(site).walk(server.launch_url(LAUNCH, Launching("p1"))).status_code == 403


def test_a_server_without_users_is_served_when_none_is_asked_for(server: LaunchServer) -> None:
    server.faults.token = {"id_token": None}
    site = LaunchSite(server, {"scopes": ("launch", "patient/ImagingStudy.read")})
    site.explained()
    assert Window(site).walk(server.launch_url(LAUNCH, Launching("p1"))).status_code == 303


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "no login": {"authorization_endpoint": None},
    "no token": {"token_endpoint": None},
    "a login elsewhere": {"authorization_endpoint": "https://evil.example/login"},
    "a token elsewhere": {"token_endpoint": "https://evil.example/token"},
    "keys elsewhere": {"jwks_uri": "https://evil.example/keys"},
    "a login that is a script": {"authorization_endpoint": "javascript:alert(1)"},
    "PKCE without S256": {"code_challenge_methods_supported": ["plain"]},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_leads_nowhere_else(
    name: str, server: LaunchServer, site: LaunchSite
) -> None:
    server.faults.configuration = CONFIGURATIONS[name]
    shown = Window(site).leave(server.launch_url(LAUNCH, Launching("p1")))
    assert shown.status_code == 502
    assert "evil" not in shown.text


def test_a_login_on_another_origin_is_one_that_was_configured(server: LaunchServer) -> None:
    site = LaunchSite(server, others=(Allowance("login", "https://login.example.org/ehr"),))
    server.faults.configuration = {"authorization_endpoint": "https://login.example.org/ehr/a?x=1"}
    shown = Window(site).leave(server.launch_url(LAUNCH, Launching("p1")))
    assert 'href="https://login.example.org/ehr/a?x=1&amp;response_type=code' in shown.text


REPLIES = {
    "silence": (hang_up(), 502),
    "an error": (answer(500), 502),
    "another place": (redirect("https://evil.example/"), 502),
    "no JSON": (json_answer("<html>"), 502),
    "a list": (json_answer("[]"), 502),
}


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("path", ["/fhir/.well-known/smart-configuration", "/auth/token"])
def test_a_server_that_does_not_answer_is_a_sentence(
    name: str, path: str, server: LaunchServer, site: LaunchSite
) -> None:
    reply, status = REPLIES[name]
    server.faults.replies = {path: reply}
    url = server.launch_url(LAUNCH, Launching("p1"))
    window = Window(site)
    shown = window.leave(url)
    if shown.status_code == 200:
        shown = window.back(window.login(shown))
        status = 403 if name == "a list" else status
    assert shown.status_code == status
    assert shown.text.count("<p>") == 1


def test_the_configuration_is_asked_for_once(server: LaunchServer, site: LaunchSite) -> None:
    window = Window(site)
    for _ in range(3):
        window.leave(server.launch_url(LAUNCH, Launching("p1")))
    assert len(server.server.seen) == 1


def test_no_log_holds_what_was_granted(
    server: LaunchServer, site: LaunchSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    record = site.explained()
    window = Window(site)
    address = window.login(window.leave(server.launch_url(LAUNCH, Launching("p1", record.id))))
    code = parse_qs(urlsplit(address).query)["code"][0]
    assert window.back(address).status_code == 303
    said = "".join(
        str(vars(each)) for each in caplog.records if each.name.startswith("cds_service")
    )
    assert "smart launch granted" in said
    for secret in (server.access_token, code, "Patient/p1"):
        assert secret not in said
        assert secret not in str(site.hooks.redis.values)


def test_a_state_outlives_the_rotation_of_the_secret(site: LaunchSite) -> None:
    new, redis = "another-site-secret-of-the-tests-long-enough", site.hooks.redis
    departure = site.states.depart("ehr")
    rotated = States([new, SECRET], redis, site.clock)
    assert rotated.arrive(departure.state, departure.verifier) == "ehr"
    with pytest.raises(ForeignState):
        States([new], redis, site.clock).tenant_of(departure.state)
