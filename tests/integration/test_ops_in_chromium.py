"""The operations page in a real browser: the credential, the page, a study that runs again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import waitress

from tests.doubles.listening import running
from tests.doubles.ops_site import BEARER, SECRET, OpsSite, busy
from tests.integration.test_pages_in_chromium import CONTRASTS
from tests.integration.test_whole_way import a_head, chart, put
from tests.peers import chromium
from tests.peers.axe import AXE, RUN_AXE
from tests.peers.orthanc import Orthanc
from tests.peers.sekmet import Sekmet
from tests.peers.site import Site
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import PATIENT_ID, uid

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]
KNOWN = {"http_credentials": {"username": "ops", "password": SECRET}}


@pytest.fixture(scope="module")
def day(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with much to say."""
    site = OpsSite(tmp_path_factory.mktemp("ops"), valkey_server.url)
    busy(site)
    server = waitress.create_server(site.app, host="127.0.0.1", port=0, threads=4)
    with running(server) as address:
        yield address
    site.forget()


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_nothing_is_wider_than_the_window(day: str, tabs: Any, width: int) -> None:
    tab = tabs(viewport={"width": width, "height": 800}, **KNOWN)
    page = tab.open(f"{day}/ops")
    script = "document.documentElement.scrollWidth"
    assert page.evaluate(script) <= width
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(script) <= width
    assert tab.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(day: str, tabs: Any, scheme: str) -> None:
    page = tabs(color_scheme=scheme, **KNOWN).open(f"{day}/ops")
    measured = page.evaluate(CONTRASTS)
    assert len(measured) > 50
    assert [item for item in measured if item[0] < 4.5] == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make .venv-peers/ready")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(day: str, tabs: Any, scheme: str) -> None:
    page = tabs(color_scheme=scheme, bypass_csp=True, **KNOWN).open(f"{day}/ops")
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(RUN_AXE) == []
    page.locator(".failure a").first.click()
    page.wait_for_load_state()
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(RUN_AXE) == []


def test_without_script_all_is_there_and_works(day: str, tabs: Any) -> None:
    tab = tabs(java_script_enabled=False, **KNOWN)
    page = tab.open(f"{day}/ops")
    assert page.get_by_role("heading", name="Needs a person").is_visible()
    assert not page.get_by_role("button", name="Stop refreshing").is_visible()
    page.get_by_role("link", name="Look again").click()
    before = page.locator(".failure li").count()
    page.locator(".failure").last.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/ops/studies/*")
    assert page.get_by_role("heading", name="received").is_visible()
    page.get_by_role("link", name="Operations").click()
    assert page.locator(".failure li").count() < before
    assert tab.context.cookies() == []
    assert all(url.startswith(day) for url in tab.asked)


def test_a_failed_study_is_tried_again_from_the_page_and_runs(
    valkey_factory: Callable[..., Valkey],
    orthanc: Orthanc,
    sekmet: Sekmet,
    tabs: Any,
    tmp_path: Path,
) -> None:
    site = Site(
        tmp_path,
        redis_url=valkey_factory().url,  # the other page's failures are not its own
        archive_url=orthanc.base_url,
        fhir_base=sekmet.base_url,
        tables=f'\n[ops]\nsecret = "{SECRET}"\nrefresh_s = 1\n[worker]\nattempts = 1\n',
    )
    prefetch = chart("ops", uid("ops"), 48, PATIENT_ID)
    put(sekmet, prefetch["patient"], prefetch["studies"]["entry"][0]["resource"])
    try:
        site.start()
        site.ended("ops", prefetch)  # the archive has no such study yet
        assert requests.get(f"{site.base_url}/ops", timeout=5).status_code == 401
        tab = tabs(**KNOWN)
        page = tab.open(f"{site.base_url}/ops")
        assert PATIENT_ID not in page.content()
        assert uid("ops") not in page.content()
        a_head(orthanc, "ops")
        page.locator(".failure").get_by_role("button", name="Try again").first.click()
        page.wait_for_url("**/ops/studies/*")
        ended = page.get_by_role("heading", name="final").or_(
            page.get_by_role("heading", name="abstained")
        )
        ended.wait_for(timeout=60_000)  # the page follows by itself
        found = requests.get(f"{site.base_url}/ops.json", headers=BEARER, timeout=5).json()
        assert found["failed_studies"] == 0
        assert any(worker["rss_bytes"] > 2**20 for worker in found["workers"])
        health = {each["upstream"]["kind"]: each for each in found["upstreams"]}
        assert time.time() - health["archive"]["well_s"] < 120
        assert health["fhir"]["well_s"] > 0
        assert sum(model["recent"]["results"] for model in found["models"]) >= 1
        assert tab.complaints == []
    finally:
        site.stop()
