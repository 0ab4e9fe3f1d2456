from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.card_files import CardFile
from cds_service.security.links import Links
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from tests.doubles import explained

ID, OTHER_ID, UNKNOWN_ID = explained.EXPLANATION_ID, "fe" * 32, "aa" * 32
STUDY, OTHER_STUDY = explained.STUDY_KEY, "77" * 16
NOW = 1_795_311_540.0
SECRET = "a-secret-of-at-least-32-characters"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = NOW

    def __call__(self) -> float:
        return self.now_s


class Cards:
    """One model's card and one file beside it."""

    def text(self, model_id: str, version: str) -> str | None:
        known = (model_id, version) == ("brain-mri-tumour", "1.0.0")
        return "# A card\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" if known else None

    def files(self, model_id: str, version: str) -> tuple[str, ...]:
        return ("card.json",) if self.text(model_id, version) else ()

    def file(self, model_id: str, version: str, name: str) -> CardFile | None:
        known = name in self.files(model_id, version)
        return CardFile(b'{"a": 1}', "application/json") if known else None


class Site:
    """A web process with two patients' explanations."""

    def __init__(self, root: Path, frame_ancestors: tuple[str, ...] = ()) -> None:
        self.clock = Clock()
        self.store = ExplanationStore(root)
        self.links = Links([SECRET], "https://ai.example.org/scanhook", 900)
        app = Flask("site")
        app.register_blueprint(
            viewer_blueprint(
                self.store,
                self.links,
                Cards(),
                clock_s=self.clock,
                frame_ancestors=frame_ancestors,
            )
        )
        self.client: FlaskClient = app.test_client()
        self._keep(ID, STUDY)
        self._keep(OTHER_ID, OTHER_STUDY)

    def _keep(self, explanation_id: str, study_key: str) -> None:
        self.store.keep(
            explained.finding(),
            explanation_id=explanation_id,
            study_key=study_key,
            analysed_ms=explained.ANALYSED_MS,
            notes=explained.NOTES,
        )

    def path(self, explanation_id: str = ID, study_key: str = STUDY) -> str:
        """The path of a fresh link, as a proxy that strips the prefix passes it on."""
        url = self.links.explanation_url(explanation_id, study_key, self.clock())
        return url.removeprefix("https://ai.example.org/scanhook")

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "explanations")


def seen(response: TestResponse) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Everything that a client sees."""
    return response.status_code, response.data, sorted(response.headers.items())


def test_a_link_opens_the_page_and_its_pictures(site: Site) -> None:
    page = site.get(site.path())
    drawn = explained.explanation()
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert b"Possible finding: Glioma" in page.data
    for name, png in (
        ("image", drawn.image_png),
        ("overlay", drawn.overlay_png),
        ("figure", drawn.figure_png),
    ):
        picture = site.get(f"{site.path()}/0/{name}.png")
        assert (picture.status_code, picture.mimetype) == (200, "image/png")
        assert picture.data == png
        assert f"/scanhook{site.path()}/0/{name}.png".encode() in page.data


def test_everything_that_cannot_be_shown_is_one_404(site: Site) -> None:
    """Unknown, changed, expired, another patient's, torn: byte for byte, header for header."""
    path = site.path()
    nothing = seen(site.get("/e/nothing"))
    assert nothing[0] == 404
    paths = [
        site.path(UNKNOWN_ID),
        site.path(ID, OTHER_STUDY),
        site.path(OTHER_ID, STUDY),
        path[:-1],
        f"{path}A",
        f"{path}?x=1",
        f"{path}/",
        f"{path}/0/",
        f"{path}/0",
        f"{path}/1/image.png",
        f"{path}/-1/image.png",
        f"{path}/00/image.png",
        f"{path}/0/page.json",
        f"{path}/0/image",
        f"{path}/0/..%2f..%2fpage.json",
        f"{path}/0/{explained.MODEL_SHA256}.png",
        f"{path}/0/0/image.png",
        f"{site.path(ID, OTHER_STUDY)}/0/image.png",
        f"/e/{'A' * 122}",
        "/e/x/0/image.png",
        "/e/%00",
        "/e/%FF%FE",
        "/models/nothing/1.0.0",
        "/models/brain-mri-tumour/1.0.1",
        "/models/..%2f..%2fetc/passwd",
        "/models/a/b/c",
        "/models/brain-mri-tumour/1.0.0/fp32.onnx",
        "/models/brain-mri-tumour/1.0.0/card.xml",
        "/models/brain-mri-tumour/1.0.0/..%2fcard.json",
        "/models/brain-mri-tumour/1.0.0/card.json/",
        "/viewer/routes.py",
        "/viewer/..%2froutes.py",
        "/explanations/a/b",
    ]
    assert [p for p in paths if seen(site.get(p)) != nothing] == []
    site.clock.now_s += 901
    assert seen(site.get(path)) == nothing
    assert seen(site.get(f"{path}/0/image.png")) == nothing
    site.clock.now_s = NOW
    assert site.get(path).status_code == 200
    (site.store._root / ID / "page.json").unlink()
    assert seen(site.get(path)) == nothing


def test_every_flipped_bit_of_the_path_shows_nothing(site: Site) -> None:
    path = site.path()
    shown = []
    for i in range(3, len(path)):
        for bit in range(7):
            changed = path[:i] + chr(ord(path[i]) ^ (1 << bit)) + path[i + 1 :]
            if changed[i].isprintable() and changed[i] != "#" and changed[i] != "?":
                response = site.get(changed)
                shown += [changed] if response.status_code != 404 else []
    assert shown == []


def test_the_permanent_address_says_the_same_to_everyone(site: Site) -> None:
    known = seen(site.get(f"/explanations/{ID}"))
    assert known[0] == 403
    assert b"from the patient" in known[1]
    assert ID.encode() not in known[1]
    for other in (UNKNOWN_ID, "x", "..", "0" * 10_000, "%00"):
        assert seen(site.get(f"/explanations/{other}")) == known


def test_no_page_is_kept_framed_or_sent_on(site: Site) -> None:
    paths = (
        site.path(),
        f"{site.path()}/0/image.png",
        f"/explanations/{ID}",
        "/e/nothing",
        "/models/brain-mri-tumour/1.0.0",
        "/viewer/page.css",
        "/viewer/page.js",
        "/viewer/icon.svg",
    )
    for path in paths:
        headers = site.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store", path
        assert headers["Referrer-Policy"] == "no-referrer", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "Set-Cookie" not in headers, path
        assert "Access-Control-Allow-Origin" not in headers, path


def test_the_style_within_a_page_is_the_one_that_its_policy_lets_through(site: Site) -> None:
    answer = site.get(site.path())
    style = answer.data.partition(b"<style>")[2].partition(b"</style>")[0]
    digest = b64encode(sha256(style).digest()).decode()
    assert f"style-src 'self' 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]
    assert style == site.get("/viewer/page.css").data
    assert b'rel="stylesheet"' not in answer.data


def test_the_ehr_may_frame_a_page_if_the_site_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path / "e", ("https://ehr.example.org", "https://portal.example.org"))
    policy = site.get(site.path()).headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://ehr.example.org https://portal.example.org")


def test_nothing_is_written_or_asked_by_other_methods(site: Site) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert site.client.open(site.path(), method=method).status_code == 405


def test_an_opened_page_is_logged_by_its_opaque_id_alone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cds_service.viewer.routes"):
        site.get(site.path())
        site.get("/e/nothing")
    (record,) = caplog.records
    assert record.getMessage() == "explanation-opened"
    assert record.__dict__["explanation_id"] == ID
    assert site.path().removeprefix("/e/") not in str(record.__dict__)


def test_a_model_card_is_a_page_without_html_of_its_own(site: Site) -> None:
    page = site.get("/models/brain-mri-tumour/1.0.0")
    assert page.status_code == 200
    assert b"<h1>A card</h1>" in page.data
    assert b"<td>1</td>" in page.data
    assert b'href="/scanhook/models/brain-mri-tumour/1.0.0/card.json"' in page.data


def test_a_file_of_a_card_comes_with_its_type_and_the_headers_of_every_page(site: Site) -> None:
    file = site.get("/models/brain-mri-tumour/1.0.0/card.json")
    assert (file.status_code, file.mimetype, file.get_json()) == (200, "application/json", {"a": 1})
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in file.headers["Content-Security-Policy"]


@pytest.fixture(params=["America/Los_Angeles", "Asia/Kathmandu", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_time_is_the_same_in_every_time_zone(zone: str, site: Site) -> None:
    """Links live 900 s, pages say UTC, and expiry counts from the epoch, wherever we run."""
    path = site.path()
    page = site.get(path)
    assert b"22 November 2026, 01:39 UTC" in page.data
    assert b'datetime="2026-11-22T01:39:00Z"' in page.data
    site.clock.now_s = NOW + 899
    assert site.get(path).status_code == 200
    site.clock.now_s = NOW + 900
    assert site.get(path).status_code == 404
    assert site.store.expire(explained.ANALYSED_MS) == 0
    assert site.store.expire(explained.ANALYSED_MS + 1) == 2
