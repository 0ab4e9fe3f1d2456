"""Hundreds of addresses that mean to lead us elsewhere, through every place that takes one.

Every host name resolves to this machine, where a canary listens on a port of its own, and every
attempt to connect is noted: whatever an address says, we connect to the configured server or not
at all.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import HttpPolicy
from cds_service.security.egress import Allowance, AllowList, NotAllowed
from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.errors import MappingError
from tests.doubles import ehr
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, json_answer, redirect
from tests.doubles.hooking import PATIENT_VIEW, authorization, patient_view, site

OWN, EVIL = "own.example:1", "evil.example:2"
"""Stand for the configured server and the canary, until their ports are known."""

QUICK = HttpPolicy(deadline_s=5, attempts=1)

ELSEWHERE = (
    # somebody else's host, in front of which ours is written
    EVIL,
    *(f"{OWN}{between}{EVIL}" for between in ("@", ":x@", "%40", "#@", "?@", ";@", "/@", "\\@")),
    *(f"{OWN}{odd}@{EVIL}" for odd in ("%00", "%09", "%0a", "%20", "%23", "%2f", "%3f", "%5c")),
    *(f"{OWN}{raw}@{EVIL}" for raw in ("\t", "\n", "\r\n", " ", "\x00", "\u2028", "\uff03")),
    *(f"{EVIL}{between}{OWN}" for between in ("#", "?", "/", "\\", ";", "%2f", "%23", ",")),
    f"own.example.{EVIL}",
    f"own.example%2e{EVIL}",
    f"own.example%00.{EVIL}",
    f"own.example\u3002{EVIL}",
    f"[own.example]@{EVIL}",
    f"user:pass@{OWN}@{EVIL}",
    # this machine and the insides of networks, in the ways in which a number can be written
    *(
        f"{host}:2"
        for host in (
            "127.0.0.1",
            "127.1",
            "0",
            "0.0.0.0",  # noqa: S104 - nothing is bound
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "017700000001",
            "0177.0.0.01",
            "127.0.0.1.",
            "127.0.0.1%00",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1%25lo]",
            "localhost",
            "LOCALHOST.",
            "localhost.localdomain",
            "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
            "127\u30020\u30020\u30021",
            "169.254.169.254",
            "metadata.google.internal",
        )
    ),
    # our host, elsewhere
    "own.example",
    "own.example:2",
    "own.example:0",
    "own.example:65537",
    "own.example:01",
    "own.example:1:2",
    "own.example:+1",
    "own.example:-1",
    "own.example:\uff11",
    "own.example.:1",
    ".own.example:1",
    "own..example:1",
    "%6fwn.example:1",
    "\uff4fwn.example:1",
    "xn--own-x.example:1",
)
SCHEMES = ("http://", "https://", "HTTP://", "http:\\\\")
ODD_SCHEMES = (
    *("//", "/", "\\\\", "http:", "http:/", "http:///", "https:////", " http://", "\thttp://"),
    *("ftp://", "gopher://", "ws://", "file://", "jar:http://", "view-source:http://", "data:,"),
    *("javascript://", "dict://", "ldap://", "unix://", "h\u0442tp://", "http%3a//", "url:http://"),
)
OUTSIDE = (
    *("", "/", "/fhi", "/fhirs", "/FHIR/x", "/x/fhir", "/fhir/../x", "/fhir/./../x", "/fhir//x"),
    *("/fhir/%2e%2e/x", "/fhir/.%2e/x", "/fhir/%2E./x", "/fhir/%252e%252e/x/%2e", "/fhir/..;/x"),
    *("/fhir/%2f..%2fx", "/fhir/..%5cx", "/fhir\\..\\x", "/fhir/%00", "/fhir/%0d%0aX:y", "/fhir#x"),
    *(
        "/fhir/\n/x",
        "/fhir /x",
        "/fhir/\u2025/x",
        "/fhir/\u002e\u002e/x",
        "/fhir/%c0%ae%c0%ae/\x01",
    ),
)


def tricks() -> list[str]:
    """Each of them once, in one order."""
    made = [f"{scheme}{where}/fhir" for scheme, where in product(SCHEMES, ELSEWHERE)]
    made += [f"{scheme}{where}/fhir/Patient/1" for scheme in ODD_SCHEMES for where in (OWN, EVIL)]
    made += [f"http://{OWN}{path}" for path in OUTSIDE]
    return list(dict.fromkeys(made))


TRICKS = tricks()


@dataclass
class Network:
    """The configured server, the canary, and what was connected to."""

    own: FaultyServer
    canary: FaultyServer
    attempts: list[Any] = field(default_factory=list)
    respond: Callable[[Seen, str], Reply] = lambda seen, trick: json_answer("{}")
    trick: str = ""

    @property
    def base(self) -> Allowance:
        """The one configured base."""
        url = f"http://own.example:{self.own.port}/fhir"
        return Allowance("own", url, http_ok=True, private_ok=True)

    def aimed(self, trick: str) -> str:
        """The trick with real ports."""
        trick = trick.replace("own.example:1", f"own.example:{self.own.port}")
        return trick.replace(":2", f":{self.canary.port}")

    @property
    def elsewhere(self) -> list[Any]:
        """Attempts to reach anything but the configured server."""
        return [each for each in self.attempts if each != ("127.0.0.1", self.own.port)]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    with FaultyServer() as canary:
        own = FaultyServer(lambda seen: made.respond(seen, made.trick))
        made = Network(own, canary)
        connect = socket.socket.connect

        def noted(self: socket.socket, address: Any) -> None:
            made.attempts.append(address)
            if address[0] != "127.0.0.1":
                raise OSError("only this machine is connected to here")
            connect(self, address)

        def resolved(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket.socket, "connect", noted)
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        with own:
            yield made


class Key:
    """Signs nothing that anybody would accept."""

    kid, algorithm = "k", "ES384"

    def sign(self, claims: Any, headers: Any) -> str:
        return "a.b.c"


def searchset(trick: str) -> Reply:
    link = [{"relation": "next", "url": trick}]
    return json_answer(
        json.dumps({"resourceType": "Bundle", "type": "searchset", "link": link}),
        "application/fhir+json",
    )


def smart_configuration(seen: Seen, trick: str) -> Reply:
    return json_answer(json.dumps({"token_endpoint": trick}))


Entry = Callable[[Network, HttpClient, str], object]


def backend(net: Network, client: HttpClient, trick: str) -> object:
    allowed = AllowList.of([net.base])
    credential = BackendServices(net.base, allowed, "us", Key, ("system/*.r",), policy=QUICK)
    return credential.headers(net.base, 5)


ENTRIES: dict[str, tuple[Entry, Callable[[Seen, str], Reply] | None]] = {
    "a reference": (
        lambda net, client, trick: FhirServer(net.base, client=client).read(trick),
        None,
    ),
    "a resource type": (
        lambda net, client, trick: list(FhirServer(net.base, client=client).search(trick, {})),
        None,
    ),
    "a study uid": (
        lambda net, client, trick: list(Archive(net.base, client=client).retrieve(trick, "1.2")),
        None,
    ),
    "a path": (lambda net, client, trick: client.send(Request("GET", trick)), None),
    "a next link": (
        lambda net, client, trick: list(FhirServer(net.base, client=client).search("Patient", {})),
        lambda seen, trick: searchset(trick),
    ),
    "a redirect": (
        lambda net, client, trick: client.send(Request("GET", "x")),
        lambda seen, trick: redirect(trick.replace("\r", "").replace("\n", ""), 307),
    ),
    "a token endpoint": (backend, smart_configuration),
    "an Endpoint": (
        lambda net, client, trick: ArchiveAddresses({"own": net.base.base}).select(trick, "1.2"),
        None,
    ),
}


def test_there_are_hundreds_of_them_and_none_selects_a_configured_base() -> None:
    assert len(TRICKS) >= 300
    allowed = AllowList.of([Allowance("own", f"http://{OWN}/fhir", http_ok=True)])
    for trick in TRICKS:
        with pytest.raises(NotAllowed):
            allowed.select(trick)


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_trick_leads_anywhere_but_to_the_configured_server(network: Network, entry: str) -> None:
    enter, respond = ENTRIES[entry]
    network.respond = respond or network.respond
    client = HttpClient(network.base, credential=FixedHeaders.bearer("SECRET"), policy=QUICK)
    for trick in TRICKS:
        network.trick = network.aimed(trick).encode("latin-1", "ignore").decode("latin-1")
        with suppress(UpstreamError, MappingError, ValueError):
            enter(network, client, network.aimed(trick))
    client.close()
    assert network.elsewhere == []
    assert network.canary.connections == 0
    outside = [seen.target for seen in network.own.seen if not seen.target.startswith("/fhir")]
    assert entry == "a token endpoint" or outside == []


def test_the_tricks_would_reach_the_canary_through_a_client_that_follows_them(
    network: Network,
) -> None:
    """The net would catch something: what connects without asking is noticed."""
    with socket.create_connection(("evil.example", network.canary.port), timeout=5):
        assert network.elsewhere == [("127.0.0.1", network.canary.port)]


def test_no_trick_is_taken_for_the_server_of_the_caller(network: Network) -> None:
    at = site(
        tenants=(ehr.tenant(fhir_base=f"http://own.example:{network.own.port}/fhir"),),
        environment="development",
    )
    client = at.client()
    for trick in TRICKS:
        given = {"fhirServer": network.aimed(trick), "fhirAuthorization": authorization()}
        body = patient_view(prefetch=None, **given)
        answer = client.post(PATIENT_VIEW, json=body, headers=at.ehr.bearer(PATIENT_VIEW))
        assert answer.status_code in (400, 403), trick
    assert at.chart.opened == []
    assert network.attempts == []


def test_no_trick_is_taken_for_the_place_of_the_keys(network: Network) -> None:
    place = f"http://own.example:{network.own.port}/fhir"
    at = site(tenants=(ehr.tenant(jwks_url=place),))
    client = at.client()
    for trick in TRICKS:
        token = at.ehr.token(ehr.BASE_URL + PATIENT_VIEW, {"jku": network.aimed(trick)})
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post(PATIENT_VIEW, json={}, headers=headers).status_code == 401, trick
    assert at.fetched == []
    assert network.attempts == []
