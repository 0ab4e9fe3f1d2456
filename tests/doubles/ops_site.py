"""The operations page over a real queue, with studies, workers, models and upstreams planted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from redis import Redis

from cds_service.bootstrap import Site, web
from cds_service.ops.drift import RECENT
from cds_service.ops.upstreams import Upstream, UpstreamBoard
from cds_service.queue import Dispatcher, Priority, State, StudyRecord
from cds_service.serving import Served, ServingBoard
from cds_service.settings import Settings
from cds_service.shadow import ModelName

SECRET = "the-secret-of-the-operations-page"
BEARER = {"Authorization": f"Bearer {SECRET}"}
HOST = "worker-host"


class OpsSite:
    """The whole web application over the queue at `redis_url`, and hands that plant its state."""

    def __init__(
        self, folder: Path, redis_url: str, changes: Mapping[str, Any] | None = None, **ops: Any
    ) -> None:
        values: dict[str, Any] = {
            "environment": "development",
            "base_url": "http://127.0.0.1:8080",
            "site_secrets": ["a-site-secret-of-the-tests-that-is-long-enough"],
            "redis_url": redis_url,
            "state_dir": folder / "state",
            "models_enabled": ["brain-mri-tumour", "chest-xray-pneumonia"],
            "ops": {"secret": SECRET, **ops},
            "archives": [{"name": "pacs", "base_url": "http://127.0.0.1:9/dicom-web"}],
            "tenants": [
                {
                    "name": "north",
                    "issuer": "https://ehr.test",
                    "jwks_url": "http://127.0.0.1:9/jwks.json",
                    "fhir_base": "http://127.0.0.1:9/fhir",
                    "archive": "pacs",
                    "backend": "open",
                }
            ],
        }
        self.site = Site(Settings.model_validate({**values, **(changes or {})}))
        self.app: Flask = web.web_app(self.site)
        self.dispatcher: Dispatcher = self.site.dispatcher(patient=True)
        self.redis: Redis = self.dispatcher.transport.connection

    def study(
        self, name: str, *steps: str, kind: str = "", priority: str = "routine"
    ) -> StudyRecord:
        """A study that was ordered and went these steps."""
        key = self.site.sealer.study_key("north", "urn:tests", name)
        record = self.dispatcher.submit(
            {"study_uid": name}, key, name, "models", Priority(priority)
        )
        for step in steps:
            changes = {"error_kind": kind} if step == State.FAILED else {}
            record = self.dispatcher.records.advance(record, step, **changes)
        if record.ended:
            self.dispatcher.transport.drop(record.job_id)
        return record

    def worker(self, name: str, study: str = "", ago_s: float = 1.0, rss_bytes: int = 0) -> None:
        """A worker as it tells of itself."""
        now_s = time.time()
        heard = datetime.fromtimestamp(now_s - ago_s, UTC).isoformat()
        told = {"last_heartbeat": heard, "state": "busy" if study else "idle", "study": study}
        told |= {"study_since_s": str(int(now_s - 12)), "rss_bytes": str(rss_bytes)}
        self.redis.hset(f"rq:worker:{name}", mapping=told)
        self.redis.sadd("rq:workers", f"rq:worker:{name}")

    @property
    def model(self) -> ModelName:
        """The first model in use."""
        return self.site.model_names[0]

    def served(self, precision: str = "int8", reason: str = "held every gate") -> None:
        """What the worker of `HOST` says of its models."""
        served = [Served(name, precision, reason) for name in self.site.model_names]
        ServingBoard(self.redis).tell(HOST, served)

    def results(self, precision: str, **kinds: int) -> None:
        """The last results of the first model, by kind."""
        for kind, count in kinds.items():
            if count:
                self.redis.lpush(RECENT.format(self.model.key), *[f"{precision} {kind}"] * count)

    def upstream(self, kind: Any, name: str, why: str = "", ago_s: float = 5) -> None:
        """An answer of an upstream, or its failure."""
        UpstreamBoard(self.redis).tell(Upstream(kind, name), time.time() - ago_s, why)

    def shadow(self, agreed: int, differed: int) -> None:
        """Shadow runs of the first model."""
        key = self.model.key
        self.redis.sadd("cds:shadow:models", key)
        self.redis.lpush(f"cds:shadow:recent:{key}", *["="] * agreed, *["!glioma"] * differed)

    def forget(self) -> None:
        """An empty queue again."""
        self.redis.flushall()


def busy(site: OpsSite) -> dict[str, StudyRecord]:
    """A working day on which something went wrong, by names of its studies."""
    site.served()
    running = site.study("running", "fetching", "inferring", priority="stat")
    site.worker(f"{HOST}-1-abc", running.id, rss_bytes=812 << 20)
    site.worker(f"{HOST}-2-def", rss_bytes=655 << 20)
    site.worker("other-host-1-ghi", ago_s=300)
    for number in range(3):
        site.study(f"waiting-{number}", priority="backfill" if number else "routine")
    for number in range(6):
        site.study(f"final-{number}", "fetching", "inferring", "writing", "final")
    site.study("abstained", "fetching", "inferring", "writing", "abstained")
    failed = [site.study(f"failed-{n}", "fetching", "failed", kind="unreachable") for n in range(7)]
    odd = site.study("odd", "fetching", "inferring", "failed", kind="identity-mismatch")
    site.results("int8", answered=148, undecided=22, strange=12)
    site.shadow(agreed=196, differed=4)
    site.upstream("archive", "pacs", ago_s=40)
    site.upstream("archive", "pacs", why="unreachable", ago_s=8)
    site.upstream("fhir", "north")
    site.site.model_switches(patient=True).disable("chest-xray-pneumonia")
    return {"running": running, "failed": failed[0], "odd": odd}


def as_json(answer: Any) -> dict[str, Any]:
    """The body of an answer."""
    found: dict[str, Any] = json.loads(answer.data)
    return found
