"""What a hook asks of Redis, one round trip after the other, counted on a real Valkey."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis.connection import AbstractConnection

from cds_service.bootstrap import Site
from cds_service.bootstrap.web import web_app
from cds_service.queue.state import State
from cds_service.settings import Settings
from tests.doubles import ehr
from tests.doubles.hooking import (
    FINDING,
    PATIENT_VIEW,
    STUDY_UID,
    bundle,
    imaging_study,
    patient,
    patient_view,
)
from tests.peers.valkey import Valkey, missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@dataclass
class Hooks:
    """A web process over a real queue, and what its hooks asked of that."""

    site: Site
    app: Flask
    asked: list[str]

    def call(self, study_uid: str = STUDY_UID) -> dict[str, Any]:
        """The one card of a call; what was asked before is forgotten."""
        caller = ehr.Ehr()
        caller.now_s = time.time()
        body = patient_view(
            prefetch={"patient": patient(), "studies": bundle(imaging_study(study_uid))}
        )
        self.asked.clear()
        headers = caller.bearer(PATIENT_VIEW)
        answer = self.app.test_client().post(PATIENT_VIEW, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        (card,) = answer.get_json()["cards"]
        return dict(card)

    def end(self, study_uid: str = STUDY_UID) -> None:
        """Let the study end with a finding."""
        records = self.site.dispatcher(patient=True).records
        record = records.get(self.site.sealer.study_key("north", "Patient/p1", study_uid))
        assert record is not None
        record = records.begin(record, "w")
        for step in (State.FETCHING, State.INFERRING, State.WRITING):
            record = records.advance(record, step)
        said = {"summary": FINDING.to_json(), "explanation_id": "ab" * 32}
        records.advance(record, State.FINAL, **said)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    keys = tmp_path / "jwks.json"
    keys.write_bytes(ehr.jwks())
    valkey = Valkey(tmp_path)
    valkey.process.start()
    tenant = {
        "name": "north",
        "issuer": ehr.ISSUER,
        "jwks_file": keys,
        "fhir_base": ehr.FHIR_BASE,
        "archive": "pacs",
    }
    values = {
        "environment": "development",
        "base_url": ehr.BASE_URL,
        "site_secrets": ["an example, and thirty-two characters long"],
        "redis_url": valkey.url,
        "state_dir": tmp_path / "state",
        "archives": [{"name": "pacs", "base_url": "https://pacs.example.org/dicom-web"}],
        "tenants": [tenant],
    }
    site, asked = Site(Settings.model_validate(values)), []
    app = web_app(site)
    send = AbstractConnection.send_packed_command

    def noted(self: AbstractConnection, command: Any, check_health: bool = True) -> None:
        asked.append(b"".join(command).decode("utf-8", "replace"))
        send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", noted)
    try:
        at = Hooks(site, app, asked)
        at.call("1.2.3.9")  # connections and scripts are there from the first call on
        yield at
    finally:
        monkeypatch.undo()
        valkey.process.stop()


def test_a_result_that_is_ready_takes_three_round_trips(hooks: Hooks) -> None:
    """The token's use, all that is known, and which card went out."""
    hooks.call()
    hooks.end()
    assert "Glioma" in hooks.call()["summary"]
    used, known, noted = hooks.asked
    assert "cds:jti:" in used
    for name in ("cds:models:disabled", "cds:study:", "cds:answers:"):
        assert name in known
    assert "cds:card:" in noted


def test_a_study_that_is_new_takes_four_more(hooks: Hooks) -> None:
    """Its record, its job, its turn, and how many wait before it."""
    hooks.call()
    assert len(hooks.asked) == 7


def test_answers_that_cannot_be_read_silence_no_finding(hooks: Hooks) -> None:
    hooks.call()
    hooks.end()
    key = hooks.site.sealer.study_key("north", "Patient/p1", STUDY_UID)
    redis = hooks.site.dispatcher(patient=True).transport.connection
    redis.set(f"cds:answers:{key}", "somebody's junk")
    assert "Glioma" in hooks.call()["summary"]
    redis.set("cds:models:disabled", "somebody's junk")
    assert hooks.call()["summary"] == "AI analysis is not available at the moment"
