"""An EHR launches the page in a real browser: its login, the way back, the page, and who may not.

The script of the two pages between is what binds a launch to its window, so that only a browser can
show that it does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from cds_service.queue.state import StudyRecord
from cds_service.smart import smart_blueprint
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from tests.doubles import explained
from tests.doubles.launch_server import Launching, LaunchServer
from tests.doubles.launch_window import Clock, LaunchSite
from tests.doubles.page_site import OneCard
from tests.peers import chromium

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]
TITLE = "Possible finding: Glioma"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Canary", "given": ["Ana"]}],
    "birthDate": "1970-01-31",
    "gender": "female",
}


@dataclass(frozen=True)
class Launched:
    """A web process, the EHR that launches it, and a study of patient p1."""

    server: LaunchServer
    site: LaunchSite
    study: StudyRecord

    def url(self, patient: str = "p1") -> str:
        """The address that the EHR opens from the chart of this patient."""
        app = f"{self.site.base_url}/smart/launch"
        return self.server.launch_url(app, Launching(patient, self.study.id))


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    app = Flask("site")
    web = make_server("127.0.0.1", 0, app, threaded=True)
    base = f"http://127.0.0.1:{web.server_port}"
    with LaunchServer(f"{base}/smart/callback") as server:
        site = LaunchSite(server, clock=Clock(time.time()), base_url=base)
        study = site.explained()
        store = ExplanationStore(tmp_path_factory.mktemp("store") / "explanations")
        store.keep(
            explained.finding(),
            explanation_id=study.explanation_id,
            study_key=study.id,
            analysed_ms=explained.ANALYSED_MS,
            notes=explained.NOTES,
        )
        server.patients.append(PATIENT)
        viewer = viewer_blueprint(store, site.links, OneCard("# Card"), frame_ancestors=["'self'"])
        app.register_blueprint(viewer)
        app.register_blueprint(smart_blueprint(site.door))
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield Launched(server, site, study)
        web.shutdown()
        thread.join(5)
        web.server_close()


@pytest.fixture
def window(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_launch_ends_at_the_page_and_leaves_nothing_behind(
    launched: Launched, window: Any
) -> None:
    complaints: list[str] = []
    window.on("console", lambda message: complaints.append(message.text))
    window.goto(launched.url())
    window.click("#allow")
    window.get_by_role("heading", name=TITLE).wait_for()
    assert window.url.startswith(f"{launched.site.base_url}/e/")
    assert window.context.cookies() == []
    assert window.evaluate("sessionStorage.length") == 0
    assert complaints == []
    assert launched.server.access_token not in window.content()


def test_a_study_of_another_patient_is_not_shown(launched: Launched, window: Any) -> None:
    window.goto(launched.url("p2"))
    window.click("#allow")
    window.get_by_text("not one of the patient whose chart is open").wait_for()
    assert "Glioma" not in window.content()


def test_a_denied_login_is_a_sentence(launched: Launched, window: Any) -> None:
    window.goto(launched.url())
    window.click("#deny")
    window.get_by_text("did not allow").wait_for()


def test_the_way_back_of_another_window_opens_nothing(
    launched: Launched, window: Any, browser: Any
) -> None:
    """Login CSRF: the address was made in a window of somebody else's."""
    window.goto(launched.url())
    address = window.get_attribute("#allow", "href")
    victim = browser.new_context().new_page()
    victim.goto(address)
    victim.get_by_text("not begun in this window").wait_for()
    victim.context.close()


def test_the_code_is_not_left_in_the_history(launched: Launched, window: Any) -> None:
    visited: list[str] = []
    window.on("framenavigated", lambda frame: visited.append(frame.url))
    window.goto(launched.url())
    window.click("#allow")
    window.get_by_role("heading", name=TITLE).wait_for()
    window.go_back()
    assert "code=" not in window.url
    assert any("code=" in url for url in visited), "it was there on the way"


@pytest.fixture
def without_banner(launched: Launched) -> Iterator[Any]:
    """A window of an EHR that shows no patient beside it."""
    launched.server.faults.token = {"need_patient_banner": True}
    yield
    launched.server.faults.token = {}


@pytest.mark.usefixtures("without_banner")
def test_the_patients_banner_stays_above_the_page_and_is_kept_nowhere(
    launched: Launched, window: Any
) -> None:
    complaints: list[str] = []
    window.on("console", lambda message: complaints.append(message.text))
    window.goto(launched.url())
    window.click("#allow")
    window.frame_locator("iframe").get_by_role("heading", name=TITLE).wait_for()
    banner = window.get_by_label("Patient", exact=True)
    assert " ".join(banner.inner_text().split()) == "Ana Canary Born 1970-01-31 Gender female"
    frame = window.frame(name="explanation")
    frame.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = banner.bounding_box()
    assert box["y"] == 0, "the page scrolls below it"
    assert "Canary" not in frame.content()
    assert "Canary" not in "".join(each.url for each in window.frames)
    assert window.evaluate("sessionStorage.length + localStorage.length") == 0
    assert window.context.cookies() == []
    assert complaints == []
