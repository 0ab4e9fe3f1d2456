"""The demo EHR in a real browser: narrow and wide, light and dark, with and without script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cds_service.sandbox import Sandbox, SandboxPlan, serve
from tests.doubles.cds_service import CdsServiceDouble
from tests.integration.test_sandbox import Analysing
from tests.peers import chromium
from tests.peers.axe import AXE, RUN_AXE
from tests.unit.cds_service.sandbox.conftest import write_head

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]


@pytest.fixture
def service() -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble() as double:
        double.answer = Analysing()
        yield double


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_head(folder / "head", "head-meningioma")
    return folder


@pytest.fixture
def sandbox(service: CdsServiceDouble, studies: Path, tmp_path: Path) -> Iterator[Sandbox]:
    with serve(SandboxPlan(service.base_url, tmp_path, studies, with_demo=False)) as running:
        yield running


def heading(page: Any, words: str) -> None:
    page.get_by_role("heading", name=words).wait_for(timeout=30_000)


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_visit_from_the_first_card_to_the_discharge(
    sandbox: Sandbox, service: CdsServiceDouble, tabs: Any, script: bool
) -> None:
    tab = tabs(viewport={"width": 320, "height": 700}, java_script_enabled=script)
    page = tab.open(sandbox.ehr_url)
    page.get_by_role("link", name="Ben Demo Synthetic").click()
    heading(page, "received finding")
    heading(page, "final finding")
    page.get_by_role("link", name="New order").click()
    page.get_by_label("CT head without contrast").check()
    for button, hook in (
        ("Select", "order-select"),
        ("Sign…", "order-sign"),
        ("Confirm and send", "order-dispatch"),
    ):
        page.get_by_role("button", name=button).click()
        page.get_by_text(f"{hook} answered in").wait_for()
        heading(page, "final finding")
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.get_by_role("link", name="Back to the chart").click()
    assert page.get_by_text("CT head without contrast").first.is_visible()
    page.get_by_text("Set aside…").click()
    page.get_by_role("button", name="I disagree").click()
    page.get_by_text("Set aside: I disagree").wait_for()
    page.get_by_role("button", name="Discharge").click()
    page.get_by_role("button", name="Confirm discharge").click()
    page.get_by_role("button", name="Start encounter").wait_for()
    page.get_by_text("Behind this chart").click()
    for words in ("encounter-discharge", "order-dispatch", "order-sign", "overridden: I disagree"):
        page.locator("#wire").get_by_text(words, exact=True).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert [entry["service"] for entry in service.feedback] == ["imaging-ai-patient-view"]
    assert [url for url in tab.asked if not url.startswith(sandbox.ehr_url)] == []
    assert tab.complaints == []


def test_the_drawer_takes_up_what_comes_while_it_is_open(
    sandbox: Sandbox, service: CdsServiceDouble, tabs: Any
) -> None:
    page = tabs().open(sandbox.ehr_url)
    page.get_by_role("link", name="Ben Demo Synthetic").click()
    heading(page, "final finding")
    page.locator("#drawer > summary").focus()
    page.keyboard.press("Enter")
    calls = page.get_by_role("heading", name="Requests and answers")
    before = int(calls.inner_text().split()[-1])
    other = tabs().open(page.url)
    other.close()
    playwright.expect(calls).not_to_have_text(f"Requests and answers {before}", timeout=20_000)


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make .venv-peers/ready")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1600])
def test_axe_finds_nothing(
    sandbox: Sandbox, service: CdsServiceDouble, tabs: Any, scheme: str, width: int
) -> None:
    # what a test injects is no part of the page, so its policy is set aside here alone
    tab = tabs(color_scheme=scheme, bypass_csp=True, viewport={"width": width, "height": 900})

    def examined() -> list[str]:
        page.add_script_tag(path=str(AXE))
        found: list[str] = page.evaluate(RUN_AXE)
        return found

    page = tab.open(sandbox.ehr_url)
    assert examined() == []
    page.get_by_role("link", name="Ben Demo Synthetic").click()
    heading(page, "final finding")
    page.locator("#drawer > summary").click()
    page.locator("#wire details").first.wait_for()
    page.get_by_text("Set aside…").click()
    assert examined() == []
    page.locator("#drawer > summary").click()
    page.get_by_role("link", name="Order entry").click()
    assert examined() == []
    page.get_by_role("button", name="Select").click()
    assert examined() == []
    page.get_by_role("button", name="Discharge").click()
    assert examined() == []
