"""The deployment files say what the code says: no engine is needed to keep them true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread

from cds_service.sandbox.demo_studies import demo_studies
from cds_service.settings import load

DOCKER = Path(__file__).parents[3] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
OURS = ("web", "worker", "poll")


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_what_is_published_is_published_on_loopback(service: str) -> None:
    for port in COMPOSE["services"][service].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("service", sorted(set(COMPOSE["services"]) - set(OURS)))
def test_every_foreign_image_is_pinned_to_a_version(service: str) -> None:
    image = COMPOSE["services"][service]["image"]
    assert re.search(r":v?\d+\.\d+(\.\d+)?", image), image


def test_base_images_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+) AS", DOCKERFILE, flags=re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert {base for base in bases if base not in stages} == {"python:3.11.14-slim-bookworm"}


@pytest.mark.parametrize("service", OURS)
def test_ours_run_without_root_on_a_read_only_file_system(service: str) -> None:
    assert COMPOSE["services"][service]["read_only"] is True
    assert COMPOSE["services"][service]["cap_drop"] == ["ALL"]
    assert COMPOSE["services"][service]["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, flags=re.MULTILINE)


def test_polling_is_asked_for_by_its_profile() -> None:
    poll = COMPOSE["services"]["poll"]
    assert (poll["command"], poll["profiles"]) == (["poll"], ["poll"])
    assert poll["build"] == COMPOSE["services"]["worker"]["build"]


@pytest.mark.parametrize(("service", "target"), [("web", "serve"), ("worker", "worker")])
def test_each_target_is_there_with_a_health_check(service: str, target: str) -> None:
    assert COMPOSE["services"][service]["build"]["target"] == target
    stage = DOCKERFILE.split(f"AS {target}\n", 1)[1].split("\nFROM ", 1)[0]
    assert "HEALTHCHECK" in stage
    assert 'ENTRYPOINT ["scanhook"]' in stage


def test_the_health_of_a_worker_is_its_own() -> None:
    """Another container's living worker must not hide that this one is dead."""
    assert 'CMD ["scanhook", "doctor", "--only", "worker", "--here", "--quiet"]' in DOCKERFILE


def test_a_worker_is_given_longer_to_stop_than_a_job_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grace_s = int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    monkeypatch.setenv("SCANHOOK_SITE_SECRETS", json.dumps(["s" * 40]))
    assert grace_s > load(DOCKER / "scanhook.toml").worker.job_timeout_s


def test_only_ours_reach_the_queue() -> None:
    assert COMPOSE["networks"]["queue"]["internal"] is True
    reach = {
        name for name, service in COMPOSE["services"].items() if "queue" in service["networks"]
    }
    assert reach == {*OURS, "queue"}


def test_the_compose_settings_are_settings() -> None:
    table = tomllib.loads((DOCKER / "scanhook.toml").read_text())
    settings = load(DOCKER / "scanhook.toml")
    assert settings.tenants[0].name == table["tenants"][0]["name"]
    published = COMPOSE["services"]["web"]["ports"][0].split(":")
    assert settings.base_url == f"http://{published[0]}:{published[1]}"
    assert settings.web.port == int(published[2])
    assert settings.archives[0].base_url.startswith("http://archive:8042/")
    assert (
        settings.tenants[0].fhir_base
        == (COMPOSE["services"]["fhir"]["environment"]["hapi.fhir.server_address"])
    )


def test_the_first_patient_has_the_study_that_the_sandbox_draws(tmp_path: Path) -> None:
    """The page on operation has its DICOM files uploaded from the sandbox's folder."""
    bundle = json.loads((DOCKER / "first-patient.json").read_text())
    patient, study = (entry["resource"] for entry in bundle["entry"])
    (drawn,) = [one for one in demo_studies(tmp_path) if one.key == "head-meningioma"]
    first = dcmread(drawn.files[0], stop_before_pixels=True)
    assert patient["identifier"][0]["value"] == drawn.patient_id == first.PatientID
    assert study["identifier"][0]["value"] == f"urn:oid:{drawn.study_uid}"
    assert study["subject"]["reference"] == f"Patient/{patient['id']}"
    (series,) = study["series"]
    assert (series["uid"], series["numberOfInstances"]) == (
        first.SeriesInstanceUID,
        len(drawn.files),
    )


def test_every_environment_name_is_a_setting() -> None:
    text = "".join(path.read_text() for path in (DOCKER / "prepare", DOCKER / "compose.yaml"))
    text += DOCKERFILE
    names = set(re.findall(r"SCANHOOK_([A-Z_]+)(?==|:|,)", text)) - {"CONFIG"}
    from cds_service.settings import Settings

    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_the_queue_remembers_and_evicts_nothing() -> None:
    lines = (DOCKER / "redis.conf").read_text().splitlines()
    for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"):
        assert line in lines
    assert not [line for line in lines if line.startswith("bind 0.0.0.0")]


def test_the_archive_asks_for_a_password_and_follows_no_dicom_association() -> None:
    archive = json.loads((DOCKER / "orthanc.json").read_text())
    assert archive["AuthenticationEnabled"] is True
    assert archive["DicomServerEnabled"] is False


def test_prepare_makes_secrets_that_fit_each_other(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for name in ("prepare", "redis.acl.example"):
        shutil.copy(DOCKER / name, tmp_path / name)
    subprocess.run([tmp_path / "prepare"], check=True, capture_output=True)
    secrets = tmp_path / "secrets"
    environment = dict(
        line.split("=", 1) for line in (secrets / "scanhook.env").read_text().splitlines()
    )
    acl = (secrets / "redis.acl").read_text()
    password = re.search(r"scanhook:(\w+)@", environment["SCANHOOK_REDIS_URL"])
    assert password is not None
    assert f">{password.group(1)} " in acl
    assert len(json.loads(environment["SCANHOOK_SITE_SECRETS"])[0]) >= 32
    users = json.loads((secrets / "orthanc-users.json").read_text())["RegisteredUsers"]
    assert users["scanhook"] == (secrets / "keys" / "archive-password").read_text()
    assert (secrets / "scanhook.env").stat().st_mode & 0o777 == 0o600
    assert secrets.stat().st_mode & 0o777 == 0o700
    before = acl
    subprocess.run([tmp_path / "prepare"], check=True, capture_output=True)
    assert (secrets / "redis.acl").read_text() == before, "a second run keeps what is there"


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    copy = tmp_path / "docker"
    shutil.copytree(DOCKER, copy, ignore=shutil.ignore_patterns("secrets"))
    subprocess.run([copy / "prepare"], check=True, capture_output=True)
    checked = subprocess.run(
        [program, "-f", copy / "compose.yaml", "config"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},  # noqa: TID251  a program needs its path
    )
    assert checked.returncode == 0, checked.stderr
    assert "127.0.0.1" in checked.stdout
