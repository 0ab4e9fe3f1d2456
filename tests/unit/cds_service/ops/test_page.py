"""The page over a real queue: who sees it, what it says, what its forms do, a Redis that froze."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cds_service.queue import State
from tests.doubles.ops_site import BEARER, HOST, SECRET, OpsSite, as_json, busy
from tests.peers.valkey import Valkey, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.process.start()
    try:
        yield server
    finally:
        server.process.stop()


@pytest.fixture
def site(valkey: Valkey, tmp_path: Any) -> OpsSite:
    made = OpsSite(tmp_path, valkey.url)
    made.forget()
    return made


def text(site: OpsSite, path: str = "/ops") -> str:
    answer = site.app.test_client().get(path, headers=BEARER)
    assert answer.status_code == 200, answer.data
    return str(answer.text)


def form(page: str, name: str, value: str) -> dict[str, str]:
    """The hidden fields of the form that asks for this."""
    asked = rf'name="{name}" value="{re.escape(value)}">'
    found = re.search(asked + r'\s*<input type="hidden" name="form" value="(.*?)"', page)
    assert found, (name, value)
    return {name: value, "form": found[1]}


PATHS = ("/ops", "/ops.json", "/ops/studies/x", "/ops/static/ops.css")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer " + "x" * 30}])
def test_nobody_sees_anything_without_the_secret(
    site: OpsSite, path: str, headers: Mapping[str, str]
) -> None:
    studies = busy(site)
    answer = site.app.test_client().get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert studies["failed"].id not in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", [*PATHS, "/ops/requeue"])
def test_without_a_secret_in_the_settings_there_is_no_page(
    valkey: Valkey, tmp_path: Any, path: str
) -> None:
    client = OpsSite(tmp_path, valkey.url, secret="").app.test_client()
    for headers in ({}, BEARER, {"Authorization": "Bearer "}):
        assert client.get(path, headers=headers).status_code == 404


def test_a_short_secret_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="fewer than 20"):
        OpsSite(tmp_path, "redis://127.0.0.1:1/0", secret="short")


def test_wrong_secrets_are_bounded_and_then_the_right_one_waits_too(
    valkey: Valkey, tmp_path: Any
) -> None:
    client = OpsSite(tmp_path, valkey.url, failures_per_minute=3).app.test_client()
    for _ in range(5):  # a browser that has not been asked yet is no failure
        assert client.get("/ops").status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert [client.get("/ops", headers=wrong).status_code for _ in range(4)] == [401] * 3 + [429]
    refused = client.get("/ops", headers=BEARER)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    other = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/ops", headers=BEARER, environ_base=other).status_code == 200


def test_the_page_says_what_runs_what_failed_and_what_needs_a_person(site: OpsSite) -> None:
    studies = busy(site)
    page = text(site)
    for said in (
        "Needs a person",
        "8 studies were given up.",
        "brain-mri-tumour",
        "meets images unlike those it was trained on more often than in its test.",
        "chest-xray-pneumonia 0.1.0 is switched off.",
        "Archive pacs failed when it was last asked.",
        "12 of 182 (6.6%)",
        "4 of the last 200 disagreed",
        "Try all 7 again",
        "identity-mismatch",
        "812\u00a0MiB",
        f"{HOST}-1-abc",
    ):
        assert said in page, said
    assert page.count(studies["running"].id) >= 2


def test_the_json_says_the_same(site: OpsSite) -> None:
    studies = busy(site)
    found = as_json(site.app.test_client().get("/ops.json", headers=BEARER))
    assert found["waiting"] == {"stat": 1, "routine": 1, "backfill": 2}
    assert (found["open_studies"], found["failed_studies"]) == (4, 8)
    assert [group["kind"] for group in found["failures"]] == ["unreachable", "identity-mismatch"]
    assert {row["study"] for row in found["workers"]} == {studies["running"].id, ""}
    (running,) = (r for r in found["under_way"] if r["study"] == studies["running"].id)
    assert set(running["steps_s"]) == {"received", "fetching", "inferring"}
    model = found["models"][0]
    assert model["served"] == [{"precision": "int8", "reason": "held every gate", "hosts": [HOST]}]
    assert model["strange"]["count"] == 12
    assert model["strange"]["said"] == "more than on the test images"
    assert found["upstreams"][0]["why"] == "unreachable"


def test_too_few_results_are_shown_and_not_judged(site: OpsSite) -> None:
    site.results("int8", strange=9, answered=3)
    page = text(site)
    assert "9 of 12" in page
    assert "75%" not in page
    assert "too few to say" in page
    assert "unlike those" not in page


def test_a_silent_house_is_said_to_be_without_workers(site: OpsSite) -> None:
    assert "No worker is there: nothing is analysed." in text(site)


def test_a_well_house_is_calm(site: OpsSite) -> None:
    site.worker(f"{HOST}-1-a")
    site.served()
    assert "All is well" in text(site)


@pytest.mark.parametrize("of_kind", [False, True])
def test_a_form_tries_failed_studies_again_and_leads_to_a_page(
    site: OpsSite, of_kind: bool
) -> None:
    study = busy(site)["failed"].id
    asked = ("kind", "unreachable") if of_kind else ("study", study)
    page = text(site) if of_kind else text(site, f"/ops/studies/{study}")
    client = site.app.test_client()
    answer = client.post("/ops/requeue", data=form(page, *asked), headers=BEARER)
    assert answer.status_code == 303
    assert answer.headers["Location"] == ("/ops" if of_kind else f"/ops/studies/{study}")
    assert "received" in text(site, f"/ops/studies/{study}")
    found = as_json(client.get("/ops.json", headers=BEARER))
    assert found["failed_studies"] == (1 if of_kind else 7)
    assert found["waiting"]["routine"] == (8 if of_kind else 2)


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({}, {}, 303),
        ({"form": ""}, {}, 403),
        ({"form": "9999999999.0"}, {}, 403),
        ({"study": "other"}, {}, 403),
        ({}, {"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, {"Sec-Fetch-Site": "same-origin"}, 303),
        ({}, {"Authorization": ""}, 401),
    ],
)
def test_a_form_of_another_site_does_nothing(
    site: OpsSite, changes: dict[str, str], headers: dict[str, str], status: int
) -> None:
    study = busy(site)["odd"].id
    data = {**form(text(site), "study", study), **changes}
    answer = site.app.test_client().post("/ops/requeue", data=data, headers={**BEARER, **headers})
    assert answer.status_code == status
    record = site.dispatcher.records.get(study)
    assert record is not None
    assert record.state is (State.RECEIVED if status == 303 else State.FAILED)


def test_a_full_queue_is_said(valkey: Valkey, tmp_path: Any, site: OpsSite) -> None:
    study = busy(site)["odd"].id
    full = OpsSite(tmp_path, valkey.url, {"worker": {"queue_cap": 1}}).app.test_client()
    data = form(text(site), "study", study)
    answer = full.post("/ops/requeue", data=data, headers=BEARER)
    assert answer.status_code == 503
    assert "under way already" in answer.text


@pytest.mark.parametrize("study", ["nothing", "..", "%00", "a" * 300, "%3Cscript%3E"])
def test_a_study_that_is_not_there_is_not_found(site: OpsSite, study: str) -> None:
    answer = site.app.test_client().get(f"/ops/studies/{study}", headers=BEARER)
    assert answer.status_code in (404, 308)


def test_a_frozen_redis_is_said_within_half_a_second(site: OpsSite, valkey: Valkey) -> None:
    client = site.app.test_client()
    assert client.get("/ops", headers=BEARER).status_code == 200
    pid = valkey.process.pid
    took_s = []
    os.kill(pid, signal.SIGSTOP)
    try:
        for path in ("/ops", "/ops.json", "/ops/studies/x"):
            began_s = time.monotonic()
            answer = client.get(path, headers=BEARER)
            took_s.append(time.monotonic() - began_s)
            assert answer.status_code == 503
            assert "Redis does not answer" in answer.text
    finally:
        os.kill(pid, signal.SIGCONT)
    assert min(took_s) < 0.5


def test_hostile_texts_stay_texts(site: OpsSite) -> None:
    site.worker(HOSTILE, ago_s=2)
    site.worker(f"{HOST}-1-a", study=HOSTILE)
    site.served(precision=HOSTILE, reason=HOSTILE)
    site.results(HOSTILE, answered=1)
    site.upstream("archive", "pacs", why=HOSTILE)
    site.redis.hset("cds:models:disabled", "chest-xray-pneumonia", HOSTILE)
    site.redis.hset("cds:counts", HOSTILE, "3")
    site.redis.lpush("cds:drift:recent:x", HOSTILE)
    site.redis.hset("cds:rights", HOSTILE, '["results"]')
    page = text(site)
    assert "<script>alert" not in page
    assert "onerror=alert(1)>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_junk_in_redis_breaks_nothing(site: OpsSite) -> None:
    for value in (b"", b"\xff\xfe", b"-1", b"9" * 400, b"x y z", b"null"):
        site.redis.hset("rq:worker:w", mapping={"last_heartbeat": b"2026-01-01T00:00:00Z"})
        site.redis.hset("rq:worker:w", mapping=dict.fromkeys(("study_since_s", "rss_bytes"), value))
        site.redis.sadd("rq:workers", "rq:worker:w")
        site.redis.hset("cds:upstreams", "archive:pacs:well", value)
        site.redis.lpush(f"cds:drift:recent:{site.model.key}", value)
        site.redis.hset("cds:serving", HOST, value)
        site.redis.zadd("cds:ended", {value: 1.0})
        assert "Operations" in text(site)


def test_nothing_of_a_patient_and_no_secret_is_on_the_page(site: OpsSite) -> None:
    record = site.study("1.2.3.4.5.canary", "fetching", "failed", kind="unreachable")
    for page in (text(site), text(site, "/ops.json"), text(site, f"/ops/studies/{record.id}")):
        assert record.id in page
        for secret in ("canary", "Patient/1", SECRET, record.sealed, "alert("):
            assert secret not in page


def test_the_headers_keep_others_out(site: OpsSite) -> None:
    headers = site.app.test_client().get("/ops", headers=BEARER).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
