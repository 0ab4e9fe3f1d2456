"""Where we may connect: URL tricks, DNS tricks, and a canary that hears nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from cds_service.clients.credentials import FixedHeaders, ForwardedToken
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import EgressRefused, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import HttpPolicy
from cds_service.security.egress import (
    Allowance,
    AllowList,
    NotAllowed,
    Origin,
    addresses,
    parse_url,
)
from tests.doubles.faulty_http import FaultyServer, json_answer

BASE = "https://ehr.example.org/fhir"

TRICKS = [
    "https://ehr.example.org.attacker.com/fhir/Patient/1",
    "https://ehr.example.org@attacker.com/fhir/Patient/1",
    "https://user:pass@ehr.example.org/fhir/Patient/1",
    "https://attacker.com/https://ehr.example.org/fhir",
    "https://attacker.com/?https://ehr.example.org/fhir",
    "https://attacker.com#https://ehr.example.org/fhir",
    "https://ehr.example.org#@attacker.com/fhir",
    "https://ehr.example.org/fhir#fragment",
    "https://ehr.example.org\\@attacker.com/fhir",
    "https://ehr.example.org\\.attacker.com/fhir",
    "https:\\\\ehr.example.org\\fhir",
    "https://ehr.example.org/fhir\\..\\admin",
    "https://ehr.example.org/fhir/../admin",
    "https://ehr.example.org/fhir/./../admin",
    "https://ehr.example.org/fhir/%2e%2e/admin",
    "https://ehr.example.org/fhir/%2E%2E/admin",
    "https://ehr.example.org/fhir/.%2e/admin",
    "https://ehr.example.org/fhir/%252e%252e/admin",
    "https://ehr.example.org/fhir/%2f../admin",
    "https://ehr.example.org/fhir/..%2fadmin",
    "https://ehr.example.org/fhir/..%5cadmin",
    "https://ehr.example.org/fhir/..;/admin",
    "https://ehr.example.org/fhir/;v=1/admin",
    "https://ehr.example.org/fhir/%00",
    "https://ehr.example.org/fhir/a%0d%0aHost:x",
    "https://ehr.example.org/fhir//attacker.com",
    "https://ehr.example.org/fhirs/Patient/1",
    "https://ehr.example.org/fhi",
    "https://ehr.example.org/",
    "https://ehr.example.org",
    "https://ehr.example.org:0/fhir",
    "https://ehr.example.org:00443/fhir",
    "https://ehr.example.org:444/fhir",
    "https://ehr.example.org:99999/fhir",
    "https://ehr.example.org:/fhir",
    "https://ehr.example.org:443:80/fhir",
    "http://ehr.example.org/fhir",
    "http://ehr.example.org:443/fhir",
    "ftp://ehr.example.org/fhir",
    "file:///etc/passwd",
    "gopher://ehr.example.org/fhir",
    "javascript:alert(1)",
    "//ehr.example.org/fhir",
    "/fhir/Patient/1",
    "",
    " https://ehr.example.org/fhir",
    "https://ehr.example.org/fhir ",
    "https://ehr.example.org/fhir\n",
    "https://ehr.example.org/\tfhir",
    "https://ehr.example.org\r\nX: y/fhir",
    "https://ehr。example。org/fhir",
    "https://ehr.example.org／fhir",
    "https://ehr․example․org/fhir",
    "https://ｅhr.example.org/fhir",
    "https://ehr.example.org./fhir",
    "https://ehr..example.org/fhir",
    "https://.ehr.example.org/fhir",
    "https://%65hr.example.org/fhir",
    "https://xn--hr-9jc.example.org/fhir",
    "https://[ehr.example.org]/fhir",
    "https://[::1]/fhir",
    "https://[::ffff:127.0.0.1]/fhir",
    "https://127.0.0.1/fhir",
    "https://2130706433/fhir",
    "https://0x7f000001/fhir",
    "https://0177.0.0.1/fhir",
    "https://127.1/fhir",
    "https://0/fhir",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/fhir",
    "https://" + "a" * 9000,
]


@pytest.mark.parametrize("url", TRICKS)
def test_no_trick_selects_a_configured_base(url: str) -> None:
    allowed = AllowList.of([Allowance("the EHR", BASE)])
    with pytest.raises(NotAllowed):
        allowed.select(url)


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        (BASE, "", ""),
        (BASE + "/", "", ""),
        ("HTTPS://EHR.Example.ORG/fhir/Patient/1", "Patient/1", ""),
        ("https://ehr.example.org:443/fhir/Patient/1", "Patient/1", ""),
        (BASE + "?_getpages=1&x=a%2Fb|c", "", "_getpages=1&x=a%2Fb|c"),
        (BASE + "/Patient/a%20b", "Patient/a%20b", ""),
    ],
)
def test_what_lies_below_the_base_becomes_relative(url: str, path: str, query: str) -> None:
    allowance = Allowance("the EHR", BASE)
    assert allowance.relative(url) == (path, query)
    assert AllowList.of([allowance]).select(url) is allowance


def test_the_longest_base_that_fits_is_selected() -> None:
    outer, inner = (
        Allowance("outer", "https://h.example"),
        Allowance("inner", "https://h.example/a"),
    )
    allowed = AllowList.of([outer, inner])
    assert allowed.select("https://h.example/a/b") is inner
    assert allowed.select("https://h.example/ab") is outer
    assert allowed.named("inner") is inner
    with pytest.raises(NotAllowed):
        allowed.named("none")


@pytest.mark.parametrize(
    "base",
    [
        "http://ehr.example.org/fhir",
        "https://user@ehr.example.org/fhir",
        "https://ehr.example.org/fhir?x=1",
        "https://2130706433/fhir",
        "ehr.example.org/fhir",
    ],
)
def test_a_base_that_is_not_safe_is_refused_when_it_is_configured(base: str) -> None:
    with pytest.raises(NotAllowed):
        Allowance("the EHR", base)


def test_two_origins_are_equal_when_scheme_host_and_port_are() -> None:
    assert parse_url("https://A.example/x").origin == Origin("https", "a.example", 443)
    assert str(parse_url("http://[0:0::1]:8042/x").origin) == "http://[::1]:8042"


INTERNAL = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 -- refused, not bound
    "::1",
    "fc00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "fd00:ec2::254",
]
NEVER = [
    "0.0.0.0",  # noqa: S104 -- refused, not bound
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "240.0.0.1",
    "::",
    "::7f00:1",
    "64:ff9b:1::a00:1",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_a_public_name_that_leads_inside_is_refused(address: str) -> None:
    allowance = Allowance("the EHR", BASE)
    with pytest.raises(NotAllowed):
        addresses(allowance, lambda host, port: (address,))


@pytest.mark.parametrize("address", NEVER)
def test_no_name_leads_to_where_clouds_keep_credentials(address: str) -> None:
    allowance = Allowance("the PACS", "https://pacs.hospital.example", private_ok=True)
    with pytest.raises(NotAllowed):
        addresses(allowance, lambda host, port: (address,))


def test_a_hospital_name_may_lead_inside_when_it_is_said_so() -> None:
    allowance = Allowance("the PACS", "https://pacs.hospital.example", private_ok=True)
    assert addresses(allowance, lambda host, port: ("10.1.2.3",)) == ("10.1.2.3",)


def test_only_the_permitted_addresses_are_tried() -> None:
    allowance = Allowance("the EHR", BASE)
    both = addresses(allowance, lambda host, port: ("10.0.0.1", "93.184.216.34"))
    assert both == ("93.184.216.34",)


def test_a_base_that_is_an_address_is_that_address_only() -> None:
    allowance = Allowance("here", "http://127.0.0.1:8042", http_ok=True)
    assert addresses(allowance) == ("127.0.0.1",)
    assert not allowance.permits("127.0.0.2")


def test_a_name_that_flips_is_asked_once_and_the_checked_address_is_used() -> None:
    """DNS rebinding: the first answer is public, every later one is the canary."""
    asked = []

    def flipping(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        # TEST-NET-1, where nobody listens, is taken for a public address by `private_ok`
        return ("192.0.2.1",) if len(asked) == 1 else ("127.0.0.1",)

    with FaultyServer() as canary:
        base = Allowance(
            "the EHR", f"http://ehr.example:{canary.port}", http_ok=True, private_ok=True
        )
        one = HttpClient(base, resolver=flipping, policy=HttpPolicy(deadline_s=0.5, attempts=1))
        with pytest.raises(UpstreamError):
            one.send(Request("GET", "x"))
        assert len(asked) == 1
        assert canary.connections == 0


def test_the_name_is_kept_for_the_peer() -> None:
    with FaultyServer(lambda seen: json_answer("{}")) as server:
        base = Allowance("x", f"http://ehr.example:{server.port}", http_ok=True, private_ok=True)
        HttpClient(base, resolver=lambda host, port: ("127.0.0.1",)).send(Request("GET", "x"))
        assert server.seen[0].headers["host"] == f"ehr.example:{server.port}"


def test_a_resolver_that_hangs_is_given_up_at_the_deadline() -> None:
    never = threading.Event()

    def hanging(host: str, port: int) -> tuple[str, ...]:
        never.wait(10)
        return ("127.0.0.1",)

    base = Allowance("x", "https://ehr.example")
    with pytest.raises(UpstreamError):
        HttpClient(base, resolver=hanging, policy=HttpPolicy(deadline_s=0.3)).send(
            Request("GET", "")
        )
    never.set()


Entry = Callable[[FhirServer, HttpClient, Archive, str], object]
ENTRIES: dict[str, Entry] = {
    "reference": lambda fhir, http, archive, trick: fhir.read(trick),
    "path": lambda fhir, http, archive, trick: http.send(Request("GET", trick)),
    "study": lambda fhir, http, archive, trick: list(archive.retrieve(trick, "1.2")),
    "type": lambda fhir, http, archive, trick: list(fhir.search(trick, {})),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_trick_sends_a_packet_to_the_canary(entry: str) -> None:
    """Every trick, aimed at a real listener, through every place that takes text from outside."""
    quick = HttpPolicy(deadline_s=2, attempts=1)
    with FaultyServer() as canary, FaultyServer(lambda seen: json_answer("{}")) as own:
        base = Allowance("own", f"{own.base_url}/base", http_ok=True)
        keys = FixedHeaders.bearer("SECRET")
        http = HttpClient(base, credential=keys, policy=quick)
        fhir = FhirServer(base, client=http)
        archive = Archive(base, client=http)
        for trick in [*TRICKS, "..", "../x", "/../x", "//x", "\\x", "@x", "?x", "#x"]:
            aimed = trick.replace("attacker.com", f"127.0.0.1:{canary.port}")
            aimed = aimed.replace("ehr.example.org", f"127.0.0.1:{canary.port}")
            # an odd relative path may be a request below the base; everything else is refused
            with suppress(UpstreamError, ValueError):
                ENTRIES[entry](fhir, http, archive, aimed)
        assert canary.connections == 0
        assert all(seen.path.startswith("/base") for seen in own.seen)
        assert entry == "path" or not own.seen


def test_the_next_link_of_a_searchset_cannot_lead_elsewhere() -> None:
    with FaultyServer() as canary:
        for trick in [*TRICKS[:40], f"{canary.base_url}/fhir?page=2"]:
            aimed = trick.replace("attacker.com", f"127.0.0.1:{canary.port}")
            if "://" not in aimed:
                continue
            text = (
                aimed.replace("\\", "\\\\").replace("\n", " ").replace("\r", " ").replace("\t", " ")
            )
            bundle = (
                '{"resourceType": "Bundle", "type": "searchset", "link": '
                f'[{{"relation": "next", "url": "{text}"}}]}}'
            )
            with FaultyServer(lambda seen, bundle=bundle: json_answer(bundle)) as own:
                fhir = FhirServer(Allowance("own", own.base_url, http_ok=True))
                with pytest.raises(EgressRefused):
                    list(fhir.search("ImagingStudy", {"patient": "1"}))
        assert canary.connections == 0


def test_the_token_of_the_ehr_goes_to_its_own_origin_only() -> None:
    """requirements.md C58, E07."""
    ehr, pacs = Allowance("the EHR", BASE), Allowance("the PACS", "https://pacs.example.org")
    token = ForwardedToken("T", ehr.origin)
    assert token.headers(ehr, 1) == {"Authorization": "Bearer T"}
    with pytest.raises(NotAllowed):
        token.headers(pacs, 1)
    assert "T" not in repr(token).replace("ForwardedToken", "")
