"""One test for each advisory of other projects that could have been ours: what bit them, here.

The name of a test holds the id, its docstring what went wrong there.
"""

from __future__ import annotations

import ast
import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from cds_service.clients.errors import RedirectRefused, TooLarge, UpstreamError
from cds_service.clients.http import HttpClient, Request
from cds_service.clients.policy import HttpPolicy
from cds_service.queue.errors import TamperedPayload
from cds_service.security.egress import Allowance, AllowList, NotAllowed, addresses
from cds_service.security.links import Links
from cds_service.store import ExplanationStore
from cds_service.web import server
from models.errors import ModelError
from models.registry import load_registry
from tests.doubles import ehr
from tests.doubles.ehr import Ehr
from tests.doubles.faulty_http import FaultyServer, gzip_bomb, json_answer, redirect
from tests.doubles.hooking import PATIENT_VIEW, Site, patient_view, settings, site
from tests.doubles.listening import running
from tests.security.test_tokens import AUD, PUBLIC_PEM, hmac_signed, unsigned
from tests.unit.cds_service.queue.test_job import data, hash_of, ours, restored
from tests.unit.models.facts import write_package

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "inference", "fhir_mapping", "cds_service")
WRITERS = {"xml.sax.saxutils.escape"}
QUICK = HttpPolicy(deadline_s=5, attempts=1)
GET = Request("GET", "x")


def status(token: str) -> int:
    """What a call with this token is answered."""
    headers = {"Authorization": f"Bearer {token}"}
    return site().client().post(PATIENT_VIEW, json=patient_view(), headers=headers).status_code


# who calls


def test_cve_2017_11424_and_cve_2022_29217_a_public_key_is_no_shared_secret() -> None:
    """PyJWT: HS256 with the public key, in a PEM or SSH form that was not noticed."""
    ssh = ehr.RSA_KEY.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    for secret in (PUBLIC_PEM, PUBLIC_PEM.strip(), ssh, ehr.jwks()):
        assert status(hmac_signed("HS256", secret, ehr.RSA_KID)) == 401


def test_cve_2024_33663_the_key_decides_with_which_algorithms_it_is_used() -> None:
    """python-jose: an EC key in OpenSSH form was taken for an HMAC secret."""
    ssh = ehr.KEY.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert status(hmac_signed("HS384", ssh, ehr.KID)) == 401
    assert status(unsigned("none")) == 401


def test_cve_2024_53861_an_issuer_is_compared_whole() -> None:
    """PyJWT: ``iss`` was accepted if it was a part of the expected string."""
    for issuer in ("", "h", ehr.ISSUER[:-1], ehr.ISSUER[8:], [ehr.ISSUER]):
        assert status(Ehr().token(AUD, iss=issuer)) == 401


def test_cve_2026_48524_unknown_kids_do_not_flood_the_key_server() -> None:
    """PyJWT: each unknown ``kid`` fetched the whole set again."""
    at = site()
    client = at.client()
    for number in range(50):
        headers = {"Authorization": f"Bearer {Ehr(kid=f'k{number}').token(AUD)}"}
        assert client.post(PATIENT_VIEW, json={}, headers=headers).status_code == 401
    assert len(at.fetched) == 1
    assert tuple(map(int, version("pyjwt").split(".")[:2])) >= (2, 13)


def test_ghsa_fhv5_28vv_h8m8_a_key_server_that_fails_takes_no_known_key_away() -> None:
    """PyJWT: a request for keys that failed emptied the cache, and nobody was let in any more."""
    at = site()
    client = at.client()

    def answered(kid: str = ehr.KID) -> int:
        headers = {"Authorization": f"Bearer {Ehr(now_s=at.now_s, kid=kid).token(AUD)}"}
        return client.post(PATIENT_VIEW, json=patient_view(), headers=headers).status_code

    assert answered() == 200
    at.keys.clear()  # the next request for them fails
    for minutes in (2, 30, 24 * 60):
        at.now_s += minutes * 60
        assert answered(kid="invented") == 401
        assert answered() == 200
    assert len(at.fetched) == 4


# where we connect


def test_cve_2026_34359_34360_34361_a_base_is_no_prefix_of_a_string() -> None:
    """HAPI FHIR: tokens went to whatever URL began with the configured text."""
    allowed = AllowList.of([Allowance("ehr", "https://ehr.example.org/fhir")])
    for url in (
        "https://ehr.example.org.evil.example/fhir",
        "https://ehr.example.org/fhir@evil.example/x",
        "https://ehr.example.org/fhirs",
        "https://ehr.example.org@evil.example/fhir",
    ):
        with pytest.raises(NotAllowed):
            allowed.select(url)


def test_cve_2026_12473_no_page_takes_an_address_from_its_own() -> None:
    """OHIF: the viewer fetched any URL of its query string, with the clinician's token."""
    at = site()
    for rule in at.app.url_map.iter_rules():
        assert not {"url", "uri", "target", "next"} & set(rule.arguments)
    script = (ROOT / "cds_service/viewer/static/page.js").read_text(encoding="utf-8")
    assert "location.search" not in script
    assert "http://" not in script.replace("http://www.w3.org", "")


def test_cve_2026_12473_ghsa_h7x2_h6g9_p789_a_redirect_carries_nothing_elsewhere() -> None:
    """OHIF, MLflow: a server that was trusted sent the client on to one that was not."""
    with (
        FaultyServer() as elsewhere,
        FaultyServer(lambda seen: redirect(f"{elsewhere.base_url}/x")) as first,
    ):
        client = HttpClient(Allowance("one", first.base_url, http_ok=True), policy=QUICK)
        with pytest.raises(RedirectRefused):
            client.send(GET)
        assert elsewhere.connections == 0


def test_ghsa_2x8m_83vc_6wv4_the_address_that_was_checked_is_connected_to() -> None:
    """Flowise: the name was resolved once to be checked and once more to be connected to."""
    asked: list[str] = []

    def flipping(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("192.0.2.1",) if len(asked) == 1 else ("127.0.0.1",)

    with FaultyServer() as canary:
        base = Allowance("x", f"http://x.example:{canary.port}", http_ok=True, private_ok=True)
        client = HttpClient(base, resolver=flipping, policy=HttpPolicy(deadline_s=0.5, attempts=1))
        with pytest.raises(UpstreamError):
            client.send(GET)
        assert (len(asked), canary.connections) == (1, 0)
    with pytest.raises(NotAllowed):
        addresses(Allowance("x", "https://x.example"), lambda host, port: ("10.0.0.1",))


def test_cve_2023_32681_and_cve_2024_47081_proxies_and_netrc_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """requests: credentials for a proxy, or of .netrc, went to another host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with FaultyServer() as proxy, FaultyServer(lambda seen: json_answer("{}")) as peer:
        monkeypatch.setenv("HTTP_PROXY", f"http://u:p@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
        HttpClient(Allowance("peer", peer.base_url, http_ok=True), policy=QUICK).send(GET)
        assert proxy.connections == 0
        assert not {"authorization", "proxy-authorization"} & set(peer.seen[0].headers)


def test_cve_2026_5438_what_is_unpacked_is_counted() -> None:
    """Orthanc: a small compressed body was unpacked without a limit."""
    small = HttpPolicy(deadline_s=20, attempts=1, bytes_cap=1 << 20)
    with FaultyServer(lambda seen: gzip_bomb(64 << 20)) as peer:
        client = HttpClient(Allowance("peer", peer.base_url, http_ok=True), policy=small)
        with pytest.raises(TooLarge):
            client.send(GET)


def test_cve_2024_45294_51132_52007_no_xml_is_parsed() -> None:
    """HAPI FHIR: an external entity of a document read files and called hosts."""
    assert not imported() & {"lxml", "xmltodict", "defusedxml", "xml.sax", "xml.dom"}
    written = imported() & {name for name in imported() if name.startswith("xml.")}
    assert written <= {"xml.etree", "xml.etree.ElementTree", "xml.sax.saxutils", *WRITERS}
    assert not {"fromstring", "XMLParser", "iterparse", "parseString"} & set(methods_called())


# the web surface


def test_cve_2026_25927_a_link_of_one_patient_opens_nothing_of_another() -> None:
    """OpenEMR: an id in the address was enough to see somebody else's record."""
    links = Links(["s" * 32], ehr.BASE_URL, 900)
    token = links.explanation_url("ab" * 16, "study-of-a", 0).rpartition("/")[2]
    opened = links.open(token, 1)
    assert opened is not None
    assert links.concerns(opened, "study-of-a")
    assert not links.concerns(opened, "study-of-b")


@pytest.mark.parametrize("name", ["FLASK_DEBUG", "WERKZEUG_DEBUG_PIN", "FLASK_ENV"])
def test_cve_2016_10516_2019_14806_2024_34069_there_is_no_debugger(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Werkzeug: the console of the debugger ran what it was sent."""
    monkeypatch.setenv(name, "development" if name == "FLASK_ENV" else "1")
    at = site()
    assert not at.app.debug
    answer = at.client().get("/console?__debugger__=yes&cmd=1&frm=0&s=x")
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    calls = [call for call in methods_called() if call in ("run_simple", "DebuggedApplication")]
    assert calls == []


def test_cve_2023_30861_no_answer_sets_a_cookie_or_may_be_cached() -> None:
    """Flask: a session's cookie was kept by a shared cache."""
    at = site()
    client = at.client()
    for path in ("/cds-services", "/healthz", "/metrics", "/nothing", PATIENT_VIEW):
        answer = client.get(path)
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
    assert at.app.secret_key is None


@pytest.fixture
def port() -> Iterator[int]:
    at = Site(settings(web={"port": 0, "threads": 2}))
    made = server(at.app, at.settings)
    with running(made):
        yield made.effective_port


HEAD = b"POST /cds-services/x HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked", id="CL.TE"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5", id="TE.CL"),
        pytest.param(HEAD + b"Transfer-Encoding: identity, chunked", id="CVE-2019-16785"),
        pytest.param(HEAD + b"Transfer-Encoding: \x0bchunked", id="CVE-2019-16786"),
        pytest.param(HEAD + b"Transfer-Encoding:\x00chunked", id="CVE-2019-16789"),
        pytest.param(HEAD + b"Content-Length: +5", id="CVE-2022-24761-sign"),
        pytest.param(HEAD + b"Content-Length: 0x5", id="CVE-2022-24761-hex"),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked", id="CVE-2024-1135"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked, gzip", id="CVE-2024-6827"),
        pytest.param(HEAD + b"Content-Length: 5\r\nContent-Length: 50", id="twice"),
        pytest.param(HEAD + b"Content-Length : 5", id="blank-before-colon"),
    ],
)
def test_cve_2019_16785_2022_24761_2024_1135_no_request_hides_in_another(
    port: int, head: bytes
) -> None:
    """waitress, gunicorn: a proxy and the server disagreed where a body ends."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(head + b"\r\n\r\n" + SMUGGLED)
        answers = connection.makefile("rb").read()
    assert answers.count(b"HTTP/1.") == 1
    assert answers.split()[1] in (b"400", b"501")
    assert b"scanhook_" not in answers


def test_cve_2023_25577_and_cve_2023_46136_no_form_with_files_is_parsed(port: int) -> None:
    """Werkzeug: a multipart form of many parts, or of one long line, kept a process busy."""
    body = b"--x\r\n" + b"".join(
        b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n--x\r\n' for _ in range(15_000)
    )
    for sent in (body, b"\r" + b"a" * 900_000):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", PATIENT_VIEW, sent, headers)
            assert connection.getresponse().status == 401
    assert "request.files" not in sources()


# code from data


@pytest.mark.parametrize("name", ["success_callback_name", "failure_callback_name", "webhooks"])
def test_cve_2021_23727_what_is_in_the_queue_is_never_called(name: str) -> None:
    """Celery: an error in the result store named the class to import and call."""
    with pytest.raises(TamperedPayload):
        restored({**hash_of(ours()), name.encode(): b"os.abort"})
    named = restored({**hash_of(ours()), b"data": data("os.abort", None, ["x"], {})})
    with pytest.raises(TamperedPayload):
        _ = named.func


def test_ghsa_89gg_p5r5_q6r4_cve_2025_58756_nothing_is_unpickled() -> None:
    """MONAI: a model or a cache was a pickle, which runs what it says."""
    assert not imported() & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "marshal",
        "shelve",
        "torch",
    }


def test_cve_2026_21851_no_archive_is_unpacked() -> None:
    """MONAI: a name in a zip file led out of the folder (zip slip)."""
    assert not imported() & {"zipfile", "tarfile", "shutil.unpack_archive"}


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "weights.bin"])
def test_cve_2022_25882_2024_27318_2026_27489_34446_34447_a_graph_is_one_file(
    tmp_path: Path, location: str
) -> None:
    """ONNX, onnxruntime: external data was read from any path, through links too."""
    write_package(tmp_path / "spots", graph=with_external_data(location))
    with pytest.raises(ModelError):
        load_registry(bundled=tmp_path)


def with_external_data(location: str) -> bytes:
    """A graph of one initializer that is kept elsewhere, written by hand (onnx.proto)."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    entry = field(1, b"location") + field(2, location.encode())
    tensor = b"\x08\x01\x10\x01" + field(8, b"w") + field(13, entry) + b"\x70\x01"
    return b"\x08\x08" + field(7, field(5, tensor))


def test_cve_2025_49844_2026_23479_an_old_redis_is_named() -> None:
    """Redis: Lua and blocked clients ran code; the floor is the site's, so it is told of it."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "CVE-2025-49844" in text
    assert "CVE-2026-23479" in text


# files


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a" * 300, "a\x00b", "..", "x/../../y"])
def test_cve_2026_32711_56445_cve_2022_2119_2120_no_path_is_made_of_what_was_sent(
    tmp_path: Path, name: str
) -> None:
    """pydicom, pynetdicom, DCMTK: a tag's text became a path."""
    store = ExplanationStore(tmp_path / "explanations")
    before = sorted(tmp_path.rglob("*"))
    assert store.open(name) is None
    assert sorted(tmp_path.rglob("*")) == before


# our own sources


def sources() -> str:
    """What runs: the packages without the toolchain."""
    return "\n".join(path.read_text(encoding="utf-8") for path in modules())


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "build" not in path.relative_to(ROOT).parts:
                yield path


def imported() -> set[str]:
    """Names that are imported anywhere, whole and by their first part."""
    found: set[str] = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            found |= {name for each in names for name in (each, each.partition(".")[0])}
    return found


def methods_called() -> Iterator[str]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called: Any = node.func
                yield getattr(called, "attr", getattr(called, "id", ""))
