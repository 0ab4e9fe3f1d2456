"""``scanhook demo`` as a stranger runs it: one command, every chart, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from cds_service.demo import EVIDENCE_LIBRARIES
from tests.peers import chromium

COMMAND = [sys.executable, "-m", "cds_service.cli", "demo"]
CHARTS = r"http://127\.0\.0\.1:\d+/"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo studies are drawn once for all tests."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder is ours, to see what stays in it."""
    return {"PATH": os.defpath, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}


def ours(marker: str) -> list[str]:
    """Command lines of living processes that name `marker`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line:
            found.append(line)
    return found


@contextmanager
def told(state: Path, environment: dict[str, str]) -> Iterator[Iterator[str]]:
    """What a demo prints, line by line; it is ended in the end."""
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


def first(pattern: str, lines: Iterator[str]) -> re.Match[str]:
    """The first match in the lines that follow."""
    return next(found for line in lines if (found := re.search(pattern, line)))


def test_every_study_of_the_demo_ends_as_it_should(kept: Path, temporary: dict[str, str]) -> None:
    ran = subprocess.run(
        [*COMMAND, "--once", "--json", "--state", str(kept)],
        capture_output=True,
        text=True,
        env=temporary,
        timeout=240,
    )
    answer = json.loads(ran.stdout)
    unexpected = [row for row in answer["studies"] if not row["as_expected"]]
    assert unexpected == []
    assert ran.returncode == 0, ran.stderr
    outcomes = {row["outcome"] for row in answer["studies"]}
    assert {"finding", "not-analysed"} <= outcomes
    finding = next(row for row in answer["studies"] if row["outcome"] == "finding")
    assert finding["reports"] == 1
    assert any("/e/" in url for url in finding["links"].values())
    assert ours(str(kept)) == []


def test_ctrl_c_leaves_nothing_running_and_no_half_written_file(
    kept: Path, temporary: dict[str, str]
) -> None:
    state = kept.parent / "interrupted"
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=temporary,
    )
    assert process.stdout is not None
    url = first(CHARTS, iter(process.stdout)).group()
    chart = requests.get(url, timeout=10)
    assert "Patients" in chart.text
    patient = re.search(r'href="(/patients/[^"]+)"', chart.text)
    assert patient is not None
    requests.get(url.rstrip("/") + patient.group(1), timeout=20)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    until = time.monotonic() + 5
    while ours(str(state)) and time.monotonic() < until:
        time.sleep(0.05)
    assert ours(str(state)) == []
    left = [path for path in state.rglob("*") if path.name.endswith((".new", ".part", ".tmp"))]
    assert left == []
    assert list((state / "state" / "work").glob("*/*")) == []
    assert list(Path(temporary["TMPDIR"]).glob("scanhook-*")) == []


def test_the_operations_page_opens_with_the_password_that_is_printed(
    kept: Path, temporary: dict[str, str]
) -> None:
    with told(kept, temporary) as lines:
        charts = first(CHARTS, lines).group()
        asked = first(r"Operations: (\S+) \(any user name, password (\S+)\)", lines)
        address, password = asked.groups()
        assert f'href="{address}"' in requests.get(charts, timeout=20).text
        assert password not in requests.get(charts, timeout=20).text
        assert requests.get(address, timeout=20).status_code == 401
        page = requests.get(address, auth=("anybody", password), timeout=20)
        assert page.status_code == 200
        assert "All is well" in page.text or "Needs a person" in page.text
    logs = [path.read_text(errors="replace") for path in kept.rglob("*.log")]
    assert logs
    assert [text for text in logs if password in text] == []


@pytest.mark.peer
@pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing()))
def test_three_clicks_lead_to_the_evidence_and_the_drawer_shows_the_rest(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    """A patient, the card's page, an answer on it; then what went over the wire meanwhile.

    In a folder of its own: of a study that an earlier start analysed, nothing is written anew.
    """
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with (
        told(tmp_path / "state", temporary) as lines,
        chromium.chromium() as browser,
        chromium.tabs_of(browser) as tabs,
    ):
        tab = tabs(viewport={"width": 1280, "height": 900})
        chart = tab.open(first(CHARTS, lines).group())
        chart.get_by_role("link", name="Ben Demo Synthetic").click()
        with tab.context.expect_page(timeout=60_000) as opened:
            chart.get_by_role("link", name="Why").click(timeout=60_000)
        page = opened.value
        page.wait_for_selector(".viewer.live")
        page.get_by_label("Agree", exact=True).check()
        page.get_by_role("button", name="Send").click()
        page.locator(".answers").wait_for()
        chart.get_by_role("link", name="Order entry").click()
        for button in ("Select", "Sign", "Confirm and send"):
            chart.get_by_role("button", name=button).click()
            chart.get_by_text("answered in").wait_for()
        chart.get_by_text("Behind this chart").click()
        wire = chart.locator("#wire")
        for words in ("order-dispatch", "order-sign", "order-select", "patient-view"):
            assert wire.get_by_text(words, exact=True).first.is_visible()
        assert wire.get_by_text("DiagnosticReport", exact=True).first.is_visible()
        if all(map(find_spec, EVIDENCE_LIBRARIES)):
            stored = wire.get_by_role("region", name="Stored in the archive")
            stored.get_by_text(re.compile("^AI ")).first.wait_for(timeout=60_000)
        assert tab.complaints == []


def test_the_queue_of_the_demo_is_for_this_user_alone(
    kept: Path, temporary: dict[str, str]
) -> None:
    with told(kept, temporary) as lines:
        first(CHARTS, lines)
        (socket,) = Path(temporary["TMPDIR"]).glob("scanhook-*/queue.sock")
        assert socket.stat().st_mode & 0o777 == 0o700
        assert (kept / "scanhook.toml").stat().st_mode & 0o777 == 0o600
        (log,) = [path for path in (kept / "queue").rglob("*.aof") if path.stat().st_size]
        assert log.is_file()
