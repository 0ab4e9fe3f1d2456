"""scanhook itself as two processes, and an EHR that calls it: the whole way, over real peers."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from cds_service.security.keys import generate_signing_key
from tests.doubles.ehr import jwk, jwks
from tests.peers.process import ROOT, Process, free_port

BIN = ROOT / ".venv" / "bin"
ISSUER = "https://ehr.test"
SECRET = "a-site-secret-of-the-tests-that-is-long-enough"
CLIENT_ID = "scanhook-tests"
PATIENT_VIEW = "/cds-services/imaging-ai-patient-view"


class Site:
    """Web and worker over a queue, an archive and a FHIR server that are there already.

    Args:
        folder: state, logs and configuration.
        redis_url, archive_url, fhir_base: where the peers are.
        backend: how the worker reaches the FHIR server ("open", "smart", "none").
        changes: lines of TOML put on top of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str,
        archive_url: str,
        fhir_base: str,
        backend: str = "open",
        archive: str = "",
        tables: str = "",
    ) -> None:
        self.folder = folder
        self.fhir_base = fhir_base
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.ehr_key = ec.generate_private_key(ec.SECP384R1())
        (folder / "ehr.json").write_bytes(jwks(jwk(self.ehr_key, "ehr-1")))
        key = folder / "signing-key.json"
        self.signing_key = generate_signing_key(key)
        self.config = folder / "scanhook.toml"
        self.config.write_text(
            f"""
environment = "development"
base_url = "{self.base_url}"
site_secrets = ["{SECRET}"]
redis_url = "{redis_url}"
state_dir = "{folder / "state"}"
organisation = "Test hospital"

[web]
port = {self.port}

[[archives]]
name = "archive"
base_url = "{archive_url}"
{archive}

[[tenants]]
name = "north"
issuer = "{ISSUER}"
jwks_file = "{folder / "ehr.json"}"
fhir_base = "{fhir_base}"
archive = "archive"
backend = "{backend}"
client_id = "{CLIENT_ID}"
signing_key_file = "{key}"
scopes = ["system/*.cruds"]
{tables}
"""
        )
        self.web = self._process("serve", self._answers)
        self.worker = self._process("worker", self._works)

    def _process(self, name: str, ready: Any) -> Process:
        folder = self.folder / name
        folder.mkdir()
        command = [str(BIN / "scanhook"), "--config", str(self.config), name]
        return Process(command, folder, ready)

    def _answers(self) -> bool:
        return requests.get(f"{self.base_url}/healthz", timeout=1).ok

    def _works(self) -> bool:
        """Whether the worker has told the queue that it is there."""
        return "the worker is there" in self.worker.log.read_text(errors="replace")

    def start(self) -> Site:
        """Start both processes."""
        self.web.start()
        self.worker.start()
        return self

    def stop(self) -> None:
        """End both."""
        self.web.stop()
        self.worker.stop()

    def token(self, path: str = PATIENT_VIEW) -> str:
        """A signed token of the EHR for the endpoint at `path`."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": self.base_url + path,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.ehr_key, algorithm="ES384", headers={"kid": "ehr-1"})

    def hook(
        self, patient_id: str, prefetch: Mapping[str, Any] | None = None, **members: Any
    ) -> requests.Response:
        """Open the chart: one patient-view call."""
        body: dict[str, Any] = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "fhirServer": self.fhir_base,
            "context": {"userId": "Practitioner/1", "patientId": patient_id},
            **members,
        }
        if prefetch is not None:
            body["prefetch"] = prefetch
        return requests.post(
            self.base_url + PATIENT_VIEW,
            data=json.dumps(body),
            headers={
                "Authorization": f"Bearer {self.token()}",
                "Content-Type": "application/json",
            },
            timeout=10,
        )

    def cards(self, patient_id: str, prefetch: Mapping[str, Any] | None = None) -> list[Any]:
        """The cards of a call that must go well."""
        answer = self.hook(patient_id, prefetch)
        assert answer.status_code == 200, answer.text
        cards: list[Any] = answer.json()["cards"]
        return cards

    def ended(
        self, patient_id: str, prefetch: Mapping[str, Any] | None = None, within_s: float = 60
    ) -> list[Any]:
        """Open the chart again and again until no card speaks of something under way."""
        until = time.monotonic() + within_s
        while True:
            cards = self.cards(patient_id, prefetch)
            states = {said(card)["state"] for card in cards}
            if cards and states <= {"final", "abstained", "failed"}:
                return cards
            assert time.monotonic() < until, (states, self.logs())
            time.sleep(0.1)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `scanhook` with this site's configuration."""
        return subprocess.run(
            [BIN / "scanhook", "--config", self.config, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def logs(self) -> str:
        """What both processes said."""
        return "".join(p.log.read_text(errors="replace") for p in (self.web, self.worker))


def said(card: Mapping[str, Any]) -> dict[str, Any]:
    """The machine-readable part of a card."""
    extension: dict[str, Any] = card["extension"]["org.scanhook.result"]
    return extension
