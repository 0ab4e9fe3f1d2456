"""Start the demo EHR and the demo archive in this process, on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from waitress import create_server, wasyncore

from cds_service.clients.credentials import FixedHeaders, NoCredential
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient
from cds_service.clients.policy import HttpPolicy
from cds_service.sandbox.archive import BASE_PATH, create_archive_app
from cds_service.sandbox.demo_studies import DemoStudy, demo_studies
from cds_service.sandbox.ehr import Ehr, Elsewhere, create_ehr_app
from cds_service.sandbox.holdings import Holdings
from cds_service.sandbox.hook_client import FixedToken, Site
from cds_service.sandbox.other_archive import OtherArchive
from cds_service.sandbox.records import OtherRecords
from cds_service.sandbox.seed import seed
from cds_service.sandbox.token_endpoint import Jwks
from cds_service.security.egress import Allowance
from cds_service.security.keys import SigningKey, generate_signing_key, load_signing_key

HOST = "127.0.0.1"
THREADS = 8
STOP_WITHIN_S = 0.2


@dataclass(frozen=True)
class SandboxPlan:
    """What to start.

    `cds_base` is the CDS service's address without a trailing slash; its key set at
    ``/.well-known/jwks.json`` is how `client_id` proves itself at the token endpoint.
    `state_folder` keeps the EHR's signing key and the demo studies. Ports of 0 are free ones.
    With `studies_folder` the charts are of the DICOM files there; `with_demo` adds the demo's.

    `other_archive` is the DICOMweb base of another archive, whose studies become the charts;
    `other_fhir` the base of another FHIR server, whose patients they are of then. Each is read with
    its token, if it is given, and nothing is written there by the sandbox. Hooks name that server
    `fhir_as`, if it is given: where the CDS service runs it may have another address.
    `operations` is a page of whoever runs all this, which the charts link to.
    """

    cds_base: str
    state_folder: Path
    studies_folder: Path | None = None
    with_demo: bool = True
    ehr_port: int = 0
    archive_port: int = 0
    client_id: str = "scanhook"
    archive_token: str = ""
    other_archive: str = ""
    other_fhir: str = ""
    fhir_as: str = ""
    fhir_token: str = ""
    operations: str = ""


class _Running:
    """One application on one socket, answering in a thread of its own."""

    def __init__(self, app: Flask, bound: socket.socket) -> None:
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app, map=self._sockets, sockets=[bound], threads=THREADS, ident="scanhook-sandbox"
        )
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop after the answers that are being made, and give the port back."""
        self._stop.set()
        self.thread.join()

    def _run(self) -> None:
        # waitress can only be closed by the thread that polls its sockets
        while not self._stop.is_set():
            wasyncore.loop(timeout=STOP_WITHIN_S, map=self._sockets, count=1)
        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._sockets, ignore_all=True)


class Sandbox:
    """Both servers, running. Leave the ``with`` block, or `close`, to end them."""

    def __init__(
        self,
        ehr_url: str,
        archive_url: str,
        fhir_url: str,
        servers: Sequence[_Running],
        demo: tuple[DemoStudy, ...],
    ) -> None:
        self.ehr_url = ehr_url
        """The charts; the EHR's ``iss``."""

        self.archive_url = archive_url
        """The DICOMweb base, of the sandbox's or of the other archive."""

        self.fhir_url = fhir_url
        """The FHIR base, of the sandbox's or of the other server."""

        self.demo = demo
        self._servers = servers

    @property
    def jwks_url(self) -> str:
        """The EHR's public keys."""
        return f"{self.ehr_url}/.well-known/jwks.json"

    def wait(self) -> None:
        """Until somebody closes the sandbox."""
        for server in self._servers:
            server.thread.join()

    def close(self) -> None:
        """Stop answering and give the ports back."""
        for server in self._servers:
            server.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(plan: SandboxPlan) -> Sandbox:
    """Write the demo studies where they are missing, bind both ports and answer.

    Raises:
        OSError: a port is taken, or the state folder cannot be written.
        NotAllowed: another archive's or FHIR server's address is none.
        UpstreamError: the other archive does not answer.
    """
    demo = demo_studies(plan.state_folder / "studies") if plan.with_demo else ()
    key = _signing_key(plan.state_folder / "ehr-key.json")
    ehr_socket, archive_socket = _bound(plan.ehr_port), _bound(plan.archive_port)
    ehr_url, archive_url = _url(ehr_socket), plan.other_archive or _url(archive_socket) + BASE_PATH
    fhir_base = plan.other_fhir or f"{ehr_url}/fhir"
    said_base = (plan.fhir_as if plan.other_fhir else "") or fhir_base
    site = Site(ehr_url, said_base, f"{ehr_url}/.well-known/jwks.json", plan.cds_base)
    clients = {plan.client_id: lambda: published_keys(f"{plan.cds_base}/.well-known/jwks.json")}
    images = _other_archive(plan) if plan.other_archive else _own_holdings(plan)
    resources = () if plan.other_fhir else seed(images.catalogue, archive_url)
    elsewhere = _elsewhere(plan)
    ehr = Ehr(site, key, resources, clients, demo, images.stored, elsewhere, plan.operations)
    servers = [_Running(create_ehr_app(ehr), ehr_socket)]
    if isinstance(images, Holdings):
        servers.append(_Running(create_archive_app(images, plan.archive_token), archive_socket))
    else:
        archive_socket.close()
    return Sandbox(ehr_url, archive_url, fhir_base, servers, demo)


def _own_holdings(plan: SandboxPlan) -> Holdings:
    folders = [plan.studies_folder] if plan.studies_folder else []
    folders += [plan.state_folder / "studies"] if plan.with_demo else []
    return Holdings(folders, plan.state_folder / "stored")


def _other_archive(plan: SandboxPlan) -> OtherArchive:
    base = Allowance("the other archive", plan.other_archive, http_ok=True, private_ok=True)
    credential = FixedHeaders.bearer(plan.archive_token) if plan.archive_token else NoCredential()
    return OtherArchive(HttpClient(base, credential=credential, policy=HttpPolicy()))


def _elsewhere(plan: SandboxPlan) -> Elsewhere | None:
    if not plan.other_fhir:
        return None
    base = Allowance("the other FHIR server", plan.other_fhir, http_ok=True, private_ok=True)
    credential = FixedHeaders.bearer(plan.fhir_token) if plan.fhir_token else NoCredential()
    records = OtherRecords(FhirServer(base, credential=credential))
    return Elsewhere(records, FixedToken(plan.fhir_token))


def published_keys(url: str) -> Jwks:
    """The keys at a client's key set address; none if it cannot be read."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, timeout=5, allow_redirects=False)
            body = answer.json() if answer.status_code == 200 else {}
    except (requests.RequestException, ValueError):
        return ()
    keys = body.get("keys") if isinstance(body, Mapping) else None
    return tuple(key for key in keys if isinstance(key, Mapping)) if keys else ()


def _signing_key(path: Path) -> SigningKey:
    path.parent.mkdir(parents=True, exist_ok=True)
    return load_signing_key(path) if path.exists() else generate_signing_key(path)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


def _url(bound: socket.socket) -> str:
    return f"http://{HOST}:{bound.getsockname()[1]}"
