"""Signing keys over time: published, signing, published as long as what they signed is good."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from cds_service.cli import group
from cds_service.security import rotation
from cds_service.security.errors import RotationRefused, UnfitKey
from cds_service.security.keyring import (
    KEPT_S,
    LEAD_S,
    LONGEST_ASSERTION_S,
    LONGEST_TOKEN_S,
    PUBLISHED_MAX_AGE_S,
    KeyFile,
    load_key_ring,
    ring_text,
)
from cds_service.security.keys import generate_signing_key
from cds_service.security.rotation import rotate
from tests.doubles.hooking import site

NOW_S = 1_800_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generate_signing_key(tmp_path / "key.json")
    return tmp_path / "key.json"


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def kids(keys: tuple[object, ...]) -> set[str]:
    return {key.kid for key in keys}  # type: ignore[attr-defined]


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_new_key_is_published_before_it_signs_and_the_old_one_after_it_has_signed(
    tmp_path: Path, algorithm: str
) -> None:
    path, clock = tmp_path / "key.json", Clock()
    old = generate_signing_key(path, algorithm).kid
    running = KeyFile(path, clock)  # a process that was there before
    new = rotate(path, clock.now_s).kid
    steps = []
    for after_s in (0, PUBLISHED_MAX_AGE_S, LEAD_S - 1, LEAD_S, LEAD_S + KEPT_S - 1):
        clock.now_s = NOW_S + after_s
        assert kids(running.published()) == {old, new}
        steps.append(running.signing().kid)
    assert steps == [old, old, old, new, new]
    assert running.signing().algorithm == algorithm
    clock.now_s = NOW_S + LEAD_S + KEPT_S
    assert kids(running.published()) == {new}


def test_every_copy_of_our_key_set_has_a_key_before_it_signs_and_no_signature_outlives_it() -> None:
    assert LEAD_S >= PUBLISHED_MAX_AGE_S
    assert KEPT_S >= LONGEST_TOKEN_S + LONGEST_ASSERTION_S
    at = site()
    assert f"max-age={PUBLISHED_MAX_AGE_S}" in str(
        at.client().get("/.well-known/jwks.json").headers["Cache-Control"]
    )


def test_the_web_process_publishes_a_new_key_without_a_restart(path: Path) -> None:
    at, clock = site(), Clock()
    at.extra["signing_keys"] = KeyFile(path, clock).published
    client = at.client()

    def shown() -> list[str]:
        return [key["kid"] for key in client.get("/.well-known/jwks.json").get_json()["keys"]]

    (old,) = shown()
    new = rotate(path, clock.now_s).kid
    assert shown() == [old, new]
    clock.now_s += LEAD_S + KEPT_S
    assert shown() == [new]


def test_a_key_that_has_been_is_removed_by_the_next_rotation(path: Path) -> None:
    first = rotate(path, NOW_S)
    second = rotate(path, NOW_S + LEAD_S + KEPT_S)
    assert kids(tuple(dated.key for dated in second.ring.keys)) == {first.kid, second.kid}
    assert ring_text(second.ring) == path.read_text()


def test_a_third_key_waits_for_the_second(path: Path) -> None:
    rotate(path, NOW_S)
    before = path.read_bytes()
    with pytest.raises(RotationRefused, match="does not sign yet"):
        rotate(path, NOW_S + LEAD_S - 1)
    assert path.read_bytes() == before
    assert len(rotate(path, NOW_S + LEAD_S).ring.keys) == 3


def test_two_rotations_at_once_are_one(path: Path) -> None:
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = path.read_bytes()
    with pytest.raises(RotationRefused, match="going on"):
        rotate(path, NOW_S)
    assert path.read_bytes() == before
    os.close(lock)
    rotate(path, NOW_S)


def test_processes_that_rotate_at_the_same_time_make_one_key(path: Path) -> None:
    command = [sys.executable, "-m", "cds_service.cli", "keys", "rotate", str(path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert sorted(process.wait(120) for process in running) == [0, 3, 3]
    assert len(load_key_ring(path).keys) == 2


def test_a_key_in_other_hands_is_ended_at_once(path: Path) -> None:
    rotate(path, NOW_S)
    clock = Clock()
    running = KeyFile(path, clock)
    new = rotate(path, NOW_S, at_once=True).kid
    clock.now_s = NOW_S - 60  # a machine whose clock is behind signs with it, too
    assert kids(running.published()) == {new} == {running.signing().kid}


def test_a_lead_that_copies_of_our_key_set_outlive_is_refused(path: Path) -> None:
    with pytest.raises(RotationRefused, match="not sooner"):
        rotate(path, NOW_S, lead_s=PUBLISHED_MAX_AGE_S - 1)


def test_the_algorithm_may_change(path: Path) -> None:
    rotate(path, NOW_S, algorithm="RS384")
    ring = load_key_ring(path)
    assert ring.signing(NOW_S).algorithm == "ES384"
    assert ring.signing(NOW_S + LEAD_S).algorithm == "RS384"


def test_a_pem_becomes_a_key_set_that_knows_it(tmp_path: Path) -> None:
    made = generate_signing_key(tmp_path / "key.json")
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        made.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    new = rotate(pem, NOW_S).kid
    assert kids(load_key_ring(pem).published(NOW_S)) == {made.kid, new}


@pytest.mark.parametrize(("mode", "kept", "warned"), [(0o600, 0o600, False), (0o644, 0o644, True)])
def test_the_file_is_its_owners_and_nobody_is_shut_out_who_was_let_in(
    path: Path, mode: int, kept: int, warned: bool
) -> None:
    path.chmod(mode)
    assert rotate(path, NOW_S).read_by_others is warned
    assert stat.S_IMODE(path.stat().st_mode) == kept


@pytest.mark.parametrize(
    ("mode", "warned"),
    [(0o600, False), (0o400, False), (0o444, True), (0o440, True), (0o604, True), (0o644, True)],
)
def test_whoever_shows_a_key_that_others_may_read_is_warned_and_not_refused(
    path: Path, mode: int, warned: bool
) -> None:
    path.chmod(mode)
    shown = CliRunner().invoke(group, ["keys", "show", str(path)])
    assert shown.exit_code == 0
    assert ("may be read by others" in shown.stderr) is warned
    assert "signs" in shown.stdout


def test_a_link_to_the_file_stays_a_link(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path)
    rotate(link, NOW_S)
    assert link.is_symlink()
    assert len(load_key_ring(path).keys) == 2


def test_a_disk_that_is_full_leaves_the_keys_as_they_were(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rotation.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        rotate(path, NOW_S)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == [".key.json.lock", "key.json"]


@pytest.mark.parametrize("text", ["", "{", '{"keys": []}', '{"keys": [7]}', '{"keys": {}}'])
def test_a_running_process_keeps_its_keys_when_the_file_breaks(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = KeyFile(path, Clock())
    before = running.signing().kid
    path.write_text(text)
    with caplog.at_level(logging.ERROR):
        assert [running.signing().kid for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 1
    path.unlink()
    assert kids(running.published()) == {before}


def dated(path: Path, **members: object) -> str:
    return json.dumps({"keys": [{**json.loads(path.read_text()), **members}]})


@pytest.mark.parametrize(
    "members", [{"exp": 2_000_000_000}, {"nbf": "soon"}, {"nbf": True}, {"exp": 1.5}, {"d": None}]
)
def test_a_file_whose_keys_end_or_have_odd_dates_is_unfit(
    path: Path, members: dict[str, object]
) -> None:
    path.write_text(dated(path, **members))
    with pytest.raises(UnfitKey):
        load_key_ring(path)


def test_the_commands_say_what_becomes_of_each_key_and_nothing_secret(path: Path) -> None:
    old = load_key_ring(path).keys[0].key
    said = CliRunner().invoke(group, ["keys", "rotate", str(path)])
    assert said.exit_code == 0
    assert "signs from" in said.stdout
    shown = CliRunner().invoke(group, ["keys", "show", str(path)]).stdout.splitlines()
    assert shown[0].startswith(f"{old.kid}  ES384  signs, is published until ")
    assert "is published, signs from " in shown[1]
    key_set = json.loads(CliRunner().invoke(group, ["keys", "jwks", str(path)]).stdout)
    assert len(key_set["keys"]) == 2
    secret = json.loads(path.read_text())["keys"][0]["d"]
    assert secret not in said.stdout + "".join(shown) + json.dumps(key_set)
    again = CliRunner().invoke(group, ["keys", "rotate", str(path)])
    assert isinstance(again.exception, RotationRefused)
    ended = CliRunner().invoke(group, ["keys", "rotate", str(path), "--at-once"])
    assert "no other key" in ended.stdout
