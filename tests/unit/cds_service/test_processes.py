"""Processes that live and die together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cds_service.processes import Company, DidNotStart, answers, free_port

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(600)",
]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"


def test_leaving_the_block_ends_every_process(tmp_path: Path) -> None:
    with Company(tmp_path) as company:
        processes = [company.start(name, SLEEPER, {}) for name in ("one", "two")]
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with Company(tmp_path, patience_s=0.2) as company:
        process = company.start("deaf", STUBBORN, {})
        company.wait_until(lambda: "deaf" in (tmp_path / "deaf.log").read_text(), "deaf", 10)
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    with Company(tmp_path) as company:
        company.start("brief", [sys.executable, "-c", "raise SystemExit(3)"], {})
        with pytest.raises(DidNotStart, match="brief ended by itself"):
            company.wait_until(lambda: False, "brief", 10)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with Company(tmp_path) as company:
        company.start("slow", SLEEPER, {})
        with pytest.raises(DidNotStart, match="slow was not ready"):
            company.wait_until(lambda: False, "slow", 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_nothing_is_left_behind_when_we_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from cds_service.processes import Company\n"
        f"company = Company(Path({str(tmp_path)!r}))\n"
        f"print(company.start('child', {SLEEPER!r}, {{}}).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_a_free_port_is_not_answered() -> None:
    assert not answers(f"http://127.0.0.1:{free_port()}/")
