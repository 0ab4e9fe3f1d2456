"""What the doctor asks of workers: of any, or of this machine's own."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from cds_service.bootstrap import Site
from cds_service.cli import group
from cds_service.doctor import KINDS, Finding, examine, trials
from cds_service.queue.folder import WorkFolder
from cds_service.queue.listing import WORKERS
from cds_service.security.keys import generate_signing_key
from cds_service.serving import Served, ServingBoard
from cds_service.settings import Settings, load
from cds_service.shadow import ShadowLedger
from inference.shadow import Disagreement

pytestmark = pytest.mark.peer


@pytest.fixture
def url(valkey_server: Any) -> str:
    Redis.from_url(valkey_server.url).flushall()
    return str(valkey_server.url)


def heard(url: str, name: str) -> None:
    """A worker of that name says that it is there, as RQ writes it."""
    key, now = f"rq:worker:{name}", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    connection = Redis.from_url(url)
    connection.sadd(WORKERS, key)
    connection.hset(key, mapping={"last_heartbeat": now, "state": "idle"})


def examined(url: str, *, here: bool) -> Finding:
    site = Site(Settings(environment="development", redis_url=url))
    return next(examine(trial) for trial in trials(site, here=here) if trial.kind == "worker")


def test_a_worker_of_this_machine_is_found(url: str, tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    heard(url, folder.name)
    folder.close()
    assert examined(url, here=True).well
    assert examined(url, here=False).well


@pytest.mark.parametrize("host", ["elsewhere", f"{socket.gethostname()}-two", "x"])
def test_a_worker_of_another_machine_is_not_this_ones(url: str, host: str) -> None:
    """Each container has a host name of its own: a dead worker is not hidden by a living one."""
    heard(url, f"{host}-0123abcd-0")
    assert examined(url, here=False).well
    finding = examined(url, here=True)
    assert not finding.well
    assert "on this machine" in finding.said


def test_without_a_queue_what_stands_behind_it_is_not_known(tmp_path: Path) -> None:
    place = tmp_path / "nobody.sock"
    site = Site(Settings(environment="development", redis_url=f"unix://me:planted@{place}"))
    behind = ("queue", "clock", "worker", "models on the workers")
    queue, *others = [examine(each) for each in trials(site) if each.what in behind]
    assert "No such file or directory" in queue.said
    assert queue.said.endswith(str(place))
    assert "start Redis" in queue.advice
    assert [each.said for each in others] == ["not known: the queue did not answer"] * 3
    assert all("--only queue" in each.advice and not each.well for each in others)
    assert "planted" not in f"{queue} {others}"


def signing(folder: Path, spoil: Callable[[Path], object]) -> Finding:
    """What is said of a tenant's signing key after `spoil`."""
    file = folder / "key.json"
    generate_signing_key(file)
    spoil(file)
    tenant = {
        "name": "north",
        "issuer": "https://ehr.example.org",
        "jwks_url": "https://ehr.example.org/jwks.json",
        "fhir_base": "https://ehr.example.org/fhir",
        "archive": "pacs",
        "backend": "smart",
        "client_id": "scanhook",
        "signing_key_file": file,
    }
    site = Site(
        Settings(
            environment="development",
            archives=[{"name": "pacs", "base_url": "https://pacs.example.org/wado"}],
            tenants=[tenant],
        )
    )
    found = (each for each in trials(site) if each.what == "signing key of tenant north")
    return examine(next(found))


@pytest.mark.parametrize(
    ("organisation", "words"),
    [("St Mary Imaging", []), ("Normal Heights Hospital", ["normal"]), ("", [])],
)
def test_a_name_that_says_what_no_card_says_is_a_warning(
    organisation: str, words: list[str]
) -> None:
    site = Site(Settings(environment="development", organisation=organisation))
    found = [examine(each) for each in trials(site) if each.what == "settings"]
    assert all(each.well for each in found)
    said = [each.said for each in found if "no card says" in each.said]
    assert len(said) == len(words)
    assert all(f"({word})" in sentence for word, sentence in zip(words, said, strict=True))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o444, True), (0o640, True)])
def test_a_signing_key_that_others_may_read_is_a_warning_and_no_fault(
    tmp_path: Path, mode: int, warned: bool
) -> None:
    """A secret that a container mounts is often 0444 and root's."""
    finding = signing(tmp_path, lambda file: file.chmod(mode))
    assert finding.well
    assert finding.said.startswith("warning: ") is warned
    assert ("may be read by others" in finding.said) is warned


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("{}")])
def test_a_signing_key_that_is_none_is_not_well(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    finding = signing(tmp_path, spoil)
    assert not finding.well
    assert "scanhook keys new" in finding.advice


EVERYTHING = """
environment = "development"
state_dir = "{state}"
[[archives]]
name = "pacs"
base_url = "https://127.0.0.1:1/wado"
[[tenants]]
name = "north"
issuer = "https://ehr.example.org"
jwks_url = "https://127.0.0.1:1/jwks.json"
fhir_base = "https://127.0.0.1:1/fhir"
archive = "pacs"
backend = "smart"
client_id = "scanhook"
signing_key_file = "{state}/key.json"
scopes = ["system/Patient.rs"]
smart_app = {{client_id = "page"}}
"""


def test_every_kind_that_is_tried_can_be_asked_for_alone(tmp_path: Path) -> None:
    config = tmp_path / "scanhook.toml"
    config.write_text(EVERYTHING.format(state=tmp_path))
    assert {trial.kind for trial in trials(Site(load(config)))} <= set(KINDS)
    for kind, what in (("scopes", "scopes of tenant north"), ("launch", "launch by tenant north")):
        asked = ["--config", str(config), "doctor", "--only", kind, "--json"]
        answer = CliRunner().invoke(group, asked)
        found = json.loads(answer.stdout)
        assert {finding["what"] for finding in found} == {what}, answer.output


@pytest.mark.parametrize(
    ("kinds", "line"),
    [
        (["settings"], "settings: read"),
        (["fhir"], "FHIR server of tenant north: not used by workers (backend none)"),
        (["scopes"], "nothing to try"),
        (["launch", "scopes"], "nothing to try"),
    ],
)
def test_each_kind_that_is_asked_for_has_an_answer(
    kinds: list[str], line: str, tmp_path: Path
) -> None:
    config, text = tmp_path / "scanhook.toml", EVERYTHING.replace('"smart"', '"none"')
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("scopes", "smart")))
    config.write_text(text.format(state=tmp_path))
    asked = ["--config", str(config), "doctor", *(f"--only={kind}" for kind in kinds)]
    answer = CliRunner().invoke(group, asked)
    assert (answer.exit_code, len(answer.stdout.splitlines())) == (0, 1), answer.output
    assert line in answer.stdout


def test_a_model_that_fell_back_or_is_refused_is_not_well(url: str, tmp_path: Path) -> None:
    site = Site(Settings(environment="development", redis_url=url))
    name, connection = site.model_names[0], Redis.from_url(url)

    def said() -> Finding:
        return next(
            examine(trial) for trial in trials(site) if trial.what == "models on the workers"
        )

    assert said().well
    ledger = ShadowLedger(connection)
    for run in range(20):
        ledger.note(str(run), Disagreement(name.id, name.version, "x", differs=True), 0.05)
    assert "20 of the last 20 shadow runs disagreed" in said().said
    ledger.clear(name.id)
    heard(url, f"{socket.gethostname()}-0123abcd-0")
    ServingBoard(connection).tell(socket.gethostname(), [Served(name, "", "It answers wrongly.")])
    assert f"{name} is not served: It answers wrongly." in said().said
