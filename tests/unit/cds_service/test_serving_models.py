"""The worker's models: one that fails its self-test is told of, and a fallback is followed."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cds_service.bootstrap import Site
from cds_service.bootstrap.models import ServingModels, in_both
from cds_service.bootstrap.web import web_app
from cds_service.settings import Settings
from cds_service.shadow import ModelName, ShadowLedger
from inference.shadow import Disagreement
from models.contract import SeriesFacts
from tests.reference.toy import answer_as, write_int8

pytestmark = pytest.mark.peer

NAME = ModelName("toy-glow", "1.0.0")
SECRET = "0123456789-0123456789-0123456789"
RIGHT, WRONG = 0.0, 5.0


@pytest.fixture
def url(valkey_server: Any) -> str:
    Redis.from_url(valkey_server.url).flushall()
    return str(valkey_server.url)


@pytest.fixture
def site(url: str, tmp_path: Path) -> Site:
    """A site with one toy model in both precisions."""
    folder = write_int8(tmp_path / "models" / "toy")
    (folder / "CARD.md").write_text("# Toy\n")
    return Site(
        Settings.model_validate(
            {
                "environment": "development",
                "redis_url": url,
                "site_secrets": [SECRET],
                "state_dir": tmp_path / "state",
                "models_dirs": [folder],
                "models_enabled": [NAME.id],
                "models": {"precision": "int8"},
            }
        )
    )


def a_worker_is_there(url: str) -> None:
    """As RQ writes it, on this machine."""
    connection, key = Redis.from_url(url), f"rq:worker:{socket.gethostname()}-0123abcd-0"
    connection.sadd("rq:workers", key)
    now = "2999-01-01T00:00:00.000000Z"
    connection.hset(key, mapping={"last_heartbeat": now, "state": "idle"})


def told(site: Site) -> tuple[int, dict[str, Any]]:
    answer = web_app(site).test_client().get("/readyz")
    return answer.status_code, answer.get_json()


def test_a_model_that_fails_its_self_test_is_told_of_everywhere(
    site: Site, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer_as(tmp_path / "models" / "toy", {"fp32": WRONG, "int8": WRONG})
    with caplog.at_level(logging.ERROR):
        models = ServingModels(site)
    assert [r.__dict__["model"] for r in caplog.records] == [NAME.id]
    plan = models.analyser.plan([SeriesFacts("1.2", modality="MR", instances=1)])
    assert [(use.model_id, use.reasons[0].kind) for use in plan.models_not_run] == [
        (NAME.id, "not-served")
    ]
    a_worker_is_there(url)
    status, said = told(site)
    assert status == 503
    assert said["checks"]["models"] == "no model passed its self-test on any worker"
    assert said["models"][str(NAME)].startswith("not served: ")
    models.analyser.close()


def test_the_other_precision_serves_where_one_fails(site: Site, url: str, tmp_path: Path) -> None:
    answer_as(tmp_path / "models" / "toy", {"fp32": RIGHT, "int8": WRONG})
    models = ServingModels(site)
    a_worker_is_there(url)
    _, said = told(site)
    assert said["checks"]["models"] == "ok"
    assert said["models"] == {str(NAME): "serves in fp32"}
    models.analyser.close()


def test_a_fallback_is_followed_and_so_is_its_end(site: Site, url: str) -> None:
    models, ledger = ServingModels(site), ShadowLedger(Redis.from_url(url))
    assert [one.precision for one in models.analyser.served] == ["int8"]
    assert not models.follow()
    for run in range(20):
        ledger.note(str(run), Disagreement(NAME.id, NAME.version, "glow", differs=True), 0.05)
    assert models.follow()
    assert [one.precision for one in models.analyser.served] == ["fp32"]
    with models.other({NAME.id: "fp32"}) as other:
        assert [one.precision for one in other.served] == ["int8"]
    ledger.clear(NAME.id)
    assert models.follow()
    assert [one.precision for one in models.analyser.served] == ["int8"]
    assert in_both(site) == {NAME.id}
    models.analyser.close()


def test_a_queue_that_is_away_changes_no_precision(site: Site, tmp_path: Path) -> None:
    settings = site.settings.model_copy(update={"redis_url": f"unix://{tmp_path}/nobody.sock"})
    models = ServingModels(Site(settings))
    before = models.analyser
    assert not models.follow()
    assert models.analyser is before
    before.close()
