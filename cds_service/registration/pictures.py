"""Pictures for a pack: a card and its explanation page, of a drawn study, in a real browser.

The study is one of the sandbox's: invented, and shipped. It goes through the models in use as any
other would, and what the browser shows is what the service's own pages are made of. Without a
browser, or without a result, there is no picture and a sentence says why.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template
from markdown_it import MarkdownIt
from markupsafe import Markup
from werkzeug.serving import WSGIRequestHandler, make_server

from cds_service import sandbox
from cds_service.bootstrap import Site
from cds_service.card_files import CardShelf, served_files
from cds_service.cards import CardSite, study_card
from cds_service.explanation import notes_of
from cds_service.known_study import KnownStudy
from cds_service.queue.state import State, StudyRecord
from cds_service.sandbox.demo_studies import HEADS, head_instances, uid
from cds_service.sandbox.phantom import axial_series
from cds_service.security.links import Links
from cds_service.settings import TenantSettings
from cds_service.store import ExplanationStore
from cds_service.summary import summarise
from cds_service.viewer.render import style_source
from cds_service.viewer.routes import viewer_blueprint
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis
from inference.pipeline import analyse

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_S = 60.0
SHOWN = "head-meningioma"
DRAWN_MS = 1_767_953_400_000  # 2026-01-09T10:10:00Z, the time of the drawn study
STUDY_KEY = "0" * 32
EXPLANATION_ID = "0" * 64
OPENS_NOTHING = "registration pack: this opens nothing at any site"
"""In place of a site's secret: the links in a pack are not good anywhere."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@dataclass(frozen=True)
class Pictures:
    """What was made: files by name, the card behind them, and why what is missing is missing."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    card: Mapping[str, Any] | None = None
    missing: str = ""


def browser() -> str | None:
    """The path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pictures(site: Site, tenant: TenantSettings, program: str | None = None) -> Pictures:
    """A card and its page as PNG files; the card alone where there is no browser."""
    analysis = analyse(list(_drawn()), site.registry, site.settings.limits)
    if not analysis.results:
        return Pictures(missing="No model of this site reads the drawn head MR.")
    with tempfile.TemporaryDirectory(prefix="scanhook-") as folder:
        store = ExplanationStore(Path(folder) / "explanations")
        _keep(site, analysis, store)
        links = Links([OPENS_NOTHING], site.settings.base_url, site.settings.link_lifetime_s)
        card = _card(site, tenant, analysis, links)
        if card is None:
            return Pictures(missing="This site's settings show no card of the drawn head MR.")
        if program is None:
            return Pictures(card=card, missing="There is no Chromium on the machine that made it.")
        return _photographed(site, store, links, card, program, Path(folder))


def _drawn() -> Iterator[bytes]:
    """The instances of the drawn study, as an archive would send them."""
    head = next(head for head in HEADS if head.key == SHOWN)
    for dataset in head_instances(SHOWN, axial_series(head.lesion)):
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        yield file.getvalue()


def _keep(site: Site, analysis: Analysis, store: ExplanationStore) -> None:
    packages = site.registry.packages
    store.keep(
        analysis,
        explanation_id=EXPLANATION_ID,
        study_key=STUDY_KEY,
        analysed_ms=DRAWN_MS,
        notes={p.manifest.id: notes_of(p.manifest, served_files(p)) for p in packages},
    )


def _card(
    site: Site, tenant: TenantSettings, analysis: Analysis, links: Links
) -> dict[str, Any] | None:
    """The card of the study, for the first EHR that opens the chart after the analysis."""
    head = next(head for head in HEADS if head.key == SHOWN)
    summary = summarise(analysis, DRAWN_MS).model_copy(update={"steps_ms": {}})
    record = StudyRecord(
        STUDY_KEY,
        State.FINAL,
        summary=summary.to_json(),
        explanation_id=EXPLANATION_ID,
        instance_digest=analysis.instance_digest,
    )
    ref = StudyRef(
        study_uid=str(uid(SHOWN, "study")),
        archive=tenant.archive,
        patient_reference=f"Patient/{head.patient_id}",
        started_text="2026-01-09T10:10:00Z",
        modalities=("MR",),
    )
    settings = site.settings
    said = CardSite(settings.organisation, settings.hook, links, lambda: DRAWN_MS / 1000)
    return study_card(KnownStudy(ref, record), said)


def _photographed(
    site: Site,
    store: ExplanationStore,
    links: Links,
    card: Mapping[str, Any],
    program: str,
    folder: Path,
) -> Pictures:
    app = Flask("pictures", template_folder=str(Path(__file__).parent / "templates"))
    app.static_folder = str(Path(sandbox.__file__).parent / "static")
    clock_s = DRAWN_MS / 1000
    at_root = Links([OPENS_NOTHING], "http://127.0.0.1", site.settings.link_lifetime_s)
    viewer = viewer_blueprint(store, at_root, CardShelf(site.registry), clock_s=lambda: clock_s)
    app.register_blueprint(viewer)

    @app.after_request
    def still(answer: Response) -> Response:
        """Without scripts: how far one has come when a picture is taken is never the same."""
        answer.headers["Content-Security-Policy"] = (
            f"default-src 'none'; img-src 'self'; style-src 'self' {style_source()}"
        )
        return answer

    @app.get("/card")
    def shown_card() -> Response:
        # HTML in the card is off in the renderer, as it is in an EHR
        detail = Markup(_MARKDOWN.render(str(card["detail"])))  # noqa: S704
        return Response(render_template("card.html", card=card, detail=detail))

    token = at_root.explanation_url(EXPLANATION_ID, STUDY_KEY, clock_s).rpartition("/e/")[2]
    wanted = {"card.png": ("/card", "640,590"), "explanation.png": (f"/e/{token}", "1200,1600")}
    files = {}
    try:
        with _served(app) as base:
            for name, (path, size) in wanted.items():
                files[name] = _shot(program, f"{base}{path}", size, folder)
    except (subprocess.SubprocessError, OSError):
        return Pictures(card=card, missing="The Chromium of the machine that made it did not run.")
    return Pictures(files, card)


class _Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _shot(program: str, url: str, size: str, folder: Path) -> bytes:
    """One page as the browser shows it, at twice the resolution."""
    target = folder / "shot.png"
    target.unlink(missing_ok=True)
    command = [
        program,
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        "--run-all-compositor-stages-before-draw",  # else a corner may not be painted yet
        "--virtual-time-budget=4000",
        f"--user-data-dir={folder / 'browser'}",
        f"--window-size={size}",
        f"--screenshot={target}",
        url,
    ]
    if os.geteuid() == 0:  # it has no sandbox for root; the page is our own
        command.insert(1, "--no-sandbox")
    # nothing but what it is told: neither a shell nor an address of somebody else
    subprocess.run(command, check=True, capture_output=True, timeout=BROWSER_S)  # noqa: S603
    return target.read_bytes()
