"""The HTTP client itself: TLS, pooling, JSON, Retry-After. Misbehaving peers: tests/faults."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.errors import BadAnswer, TimedOut, Unreachable, UntrustedPeer
from cds_service.clients.http import Answer, HttpClient, Request, _retry_after_s
from cds_service.clients.policy import HttpPolicy
from cds_service.security.egress import Allowance
from tests.doubles.faulty_http import FaultyServer, json_answer

GET = Request("GET", "x")
ONCE = HttpPolicy(deadline_s=3, attempts=1)


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key for `name`, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class TlsServer:
    """Answers one JSON object a request over TLS, keeps connections, notes names and requests."""

    def __init__(self, pem: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.names: list[str | None] = []
        self.requests = 0
        self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self.context.wrap_socket(connection, server_side=True) as secure:
                while secure.recv(65536):
                    self.requests += 1
                    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    secure.sendall(head + b"Content-Length: 2\r\n\r\n{}")
        except OSError:
            connection.close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[TlsServer, Path]]:
    pem = certificate(tmp_path, "ehr.example")
    server = TlsServer(pem)
    yield server, pem
    server.socket.close()


def named(server: TlsServer, name: str, ca_file: Path | None) -> HttpClient:
    return HttpClient(
        Allowance(
            "the EHR",
            f"https://{name}:{server.port}",
            private_ok=True,
            ca_file=str(ca_file or ""),
        ),
        policy=ONCE,
        resolver=lambda host, port: ("127.0.0.1",),
    )


def test_a_pinned_connection_keeps_the_name_for_sni_and_the_certificate(
    tls: tuple[TlsServer, Path],
) -> None:
    server, pem = tls
    assert named(server, "ehr.example", pem).send(GET).json("the EHR") == {}
    assert server.names == ["ehr.example"]


def test_the_authorities_of_a_site_are_trusted_beside_the_public_ones(
    tls: tuple[TlsServer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pem = tls
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(pem))
    hospital = certificate(tmp_path, "hospital.example")
    assert named(server, "ehr.example", hospital).send(GET).json("the EHR") == {}


def test_an_untrusted_certificate_or_another_name_ends_before_anything_is_sent(
    tls: tuple[TlsServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pem = tls
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))  # the environment does not decide
    with pytest.raises(UntrustedPeer):
        named(server, "ehr.example", None).send(GET)
    with pytest.raises(UntrustedPeer):
        named(server, "other.example", pem).send(GET)
    assert server.requests == 0


def test_a_connection_is_used_again_and_shared_by_who_acts_through_it(
    tls: tuple[TlsServer, Path],
) -> None:
    server, pem = tls
    one = named(server, "ehr.example", pem)
    for client in (one, one, one.acting_as(FixedHeaders.bearer("T")), one):
        client.send(GET)
    assert server.requests == 4
    assert len(server.names) == 1


def test_a_handshake_that_never_ends_is_given_up_at_the_deadline() -> None:
    """A peer that accepts and then sends one byte now and then, inside the TLS handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def dribble() -> None:
        connection, _ = listener.accept()
        try:
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB begins
            for _ in range(60):
                connection.sendall(b"\x02")
                time.sleep(0.1)
        except OSError:
            connection.close()

    threading.Thread(target=dribble, daemon=True).start()
    base = Allowance("slow", f"https://127.0.0.1:{listener.getsockname()[1]}")
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        HttpClient(base, policy=HttpPolicy(deadline_s=1, connect_s=5)).send(GET)
    assert time.monotonic() - begun < 5
    listener.close()


def test_a_connection_that_closes_in_the_handshake_may_be_tried_again() -> None:
    """A restarting peer is not one that we distrust."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        base = Allowance("x", f"https://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Unreachable) as caught:
            HttpClient(base, policy=ONCE).send(GET)
        assert caught.value.retryable


def test_a_credential_goes_with_the_client_that_acts_with_it_alone() -> None:
    with FaultyServer(lambda seen: json_answer("{}")) as server:
        one = HttpClient(Allowance("x", server.base_url, http_ok=True))
        one.acting_as(FixedHeaders.bearer("T")).send(GET)
        one.send(GET)
        sent = [seen.headers.get("authorization") for seen in server.seen]
        assert sent == ["Bearer T", None]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        (
            {
                "retry-after": "Mon, 01 Jun 2026 10:00:30 GMT",
                "date": "Mon, 01 Jun 2026 10:00:00 GMT",
            },
            30,
        ),
        (
            {
                "retry-after": "Mon, 01 Jun 2026 09:00:00 GMT",
                "date": "Mon, 01 Jun 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "Mon, 01 Jun 2026 10:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """RFC 9110 10.2.3; a date is compared with the answer's own, for clocks differ."""
    assert _retry_after_s(headers) == seconds


@pytest.mark.parametrize("media", ["application/json", "application/fhir+json; charset=utf-8"])
def test_json_of_these_types_is_read(media: str) -> None:
    assert Answer(200, {"content-type": media}, b'{"a": 1}').json("x") == {"a": 1}


@pytest.mark.parametrize(
    ("media", "body"),
    [("text/html", b"{}"), ("", b"{}"), ("application/json", b"{"), ("application/xml", b"<a/>")],
)
def test_anything_else_is_a_bad_answer(media: str, body: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answer(200, {"content-type": media}, body).json("x")
