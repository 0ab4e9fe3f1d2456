"""The command line: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service import logs
from cds_service.cli import group, main
from tests.reference.dicom_factory import axial_series, encoded, head


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for index, each in enumerate(axial_series(pixels=lambda n: head(256, 256, seed=n))):
        (tmp_path / f"{index}.dcm").write_bytes(encoded(each))
    return tmp_path


def test_every_command_explains_itself(run: CliRunner) -> None:
    listed = run.invoke(group, ["--help"])
    assert listed.exit_code == 0
    for name in (
        "analyse",
        "demo",
        "doctor",
        "jobs",
        "keys",
        "models",
        "sandbox",
        "serve",
        "worker",
    ):
        assert name in listed.output
        assert run.invoke(group, [name, "--help"]).exit_code == 0, name


def test_analysing_a_folder_prints_a_table(run: CliRunner, series: Path) -> None:
    answer = run.invoke(group, ["analyse", str(series)])
    assert answer.exit_code == 0, answer.output
    assert "AI, not reviewed" in answer.output


def test_analysing_a_folder_gives_json_and_pictures(run: CliRunner, series: Path) -> None:
    pictures = series / "pictures"
    answer = run.invoke(group, ["analyse", str(series), "--json", "--png", str(pictures)])
    (study,) = json.loads(answer.stdout)["studies"]
    assert study["results"][0]["model"] == "brain-mri-tumour"
    assert sum(study["results"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    drawn = study["results"][0]["explanation"] is not None
    assert len(list(pictures.glob("*.png"))) == (3 if drawn else 0)


def test_the_patient_is_not_in_the_answer(run: CliRunner, series: Path) -> None:
    answer = run.invoke(group, ["analyse", str(series), "--json"])
    assert "PLANTED" not in answer.output


def test_a_folder_without_dicom_is_named(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    answer = run.invoke(group, ["analyse", str(tmp_path)])
    assert answer.exit_code == 3
    assert "no DICOM study" in answer.output


def test_a_study_that_cannot_be_analysed_ends_with_1(run: CliRunner, series: Path) -> None:
    held = (series / "0.dcm").read_bytes()
    another = held[:-1] + bytes([held[-1] ^ 1])  # of the same UID
    (series / "again.dcm").write_bytes(another)
    answer = run.invoke(group, ["analyse", str(series), "--json"])
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["studies"][0]["outcome"] == "failed"


def test_models_are_listed_shown_and_checked(run: CliRunner) -> None:
    assert "brain-mri-tumour" in run.invoke(group, ["models", "list"]).output
    shown = run.invoke(group, ["models", "show", "brain-mri-tumour"])
    assert "Not a medical device" in shown.output
    checked = run.invoke(group, ["models", "check"])
    assert checked.exit_code == 0, checked.output
    assert ": ok" in checked.output
    missing = run.invoke(group, ["models", "show", "nothing"])
    assert (missing.exit_code, "there are: brain-mri-tumour" in missing.output) == (3, True)


def test_keys_are_made_once_and_only_their_public_half_is_shown(
    run: CliRunner, tmp_path: Path
) -> None:
    path = tmp_path / "key.json"
    assert run.invoke(group, ["keys", "new", str(path)]).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert run.invoke(group, ["keys", "new", str(path)]).exit_code == 2
    assert path.read_bytes() == before
    (key,) = json.loads(run.invoke(group, ["keys", "jwks", str(path)]).stdout)["keys"]
    assert key["kty"] == "EC"
    assert "d" not in key
    secrets = {run.invoke(group, ["keys", "new-secret"]).stdout for _ in range(3)}
    assert len(secrets) == 3
    assert min(len(secret) for secret in secrets) > 32


def test_settings_that_are_unfit_end_with_3_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scanhook", "serve"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 3
    said = capsys.readouterr().err
    assert "site_secrets is empty" in said
    assert "Traceback" not in said


UNREADABLE = Path("/proc/self/mem")  # a plain file whose first byte nobody may read, root included


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--config broken.toml doctor", "broken.toml"),
        ("--config latin.toml doctor", "latin.toml"),
        ("--config unreadable.toml doctor", "unreadable.toml"),
        ("keys new missing/key.json", "missing/key.json: No such file"),
        ("keys new file/key.json", "file/key.json: Not a directory"),
        ("keys jwks broken.toml", "signing key"),
        ("analyse study --png file/pictures", "file/pictures: Not a directory"),
        ("analyse unreadable.toml", "1 files looked at, 1 damaged or not readable"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_and_3(
    line: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.toml").write_text("site_secrets = [")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    (tmp_path / "unreadable.toml").symlink_to(UNREADABLE)
    (tmp_path / "file").touch()
    (tmp_path / "study").mkdir()
    for index, each in enumerate(axial_series(3, pixels=lambda n: head(128, 128, seed=n))):
        (tmp_path / "study" / f"{index}.dcm").write_bytes(encoded(each))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["scanhook", *line.split()])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (3, "")
    assert named in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("address", ["nonsense", "ftp://example.org", "https://me:pw@example.org"])
def test_a_demo_ehr_for_no_address_is_refused(
    run: CliRunner, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda: None)
    asked = ["sandbox", "--cds", address, "--state", str(tmp_path / "state")]
    answer = run.invoke(group, asked)
    assert answer.exit_code == 2, answer.output
    assert "an address is http://... or https://..." in answer.stderr
    assert not (tmp_path / "state").exists()


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_analysed(
    run: CliRunner, series: Path
) -> None:
    (series / "held-back.dcm").symlink_to(UNREADABLE)
    answer = run.invoke(group, ["analyse", str(series), "--json"])
    said = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert len(said["studies"]) == 1
    (each,) = said["not_read"]
    assert (Path(each["file"]).name, each["kind"]) == ("held-back.dcm", "unreadable")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_waits_for_its_first_redis_ends_at_once_and_quietly(
    number: signal.Signals, tmp_path: Path
) -> None:
    """A handler of its own: without one, process 1 of a container would not hear SIGTERM."""
    config = tmp_path / "scanhook.toml"
    config.write_text(
        'environment = "development"\n'
        f'redis_url = "unix://{tmp_path}/nobody.sock"\nsite_secrets = ["{"s" * 40}"]\n'
    )
    command = [sys.executable, "-m", "cds_service.cli", "--config", str(config), "worker"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Redis is not there yet" in process.stderr.readline()
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(5) == 0
    assert all(line.startswith("{") for line in said.splitlines()), said
