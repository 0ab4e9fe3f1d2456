"""The explanation page in Chromium: when its first paint is, and what it weighs.

The drawn series are analysed by the shipped models and kept as a worker keeps them; the pages come
from the routes and the server of the web process, on loopback. Each round is a new browser context
without a cache. The first paint is the browser's own ``first-contentful-paint``, counted from the
click; the viewer is live when a reader can scroll.
"""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import waitress
from flask import Flask

from benchmarks.results import Aim, Result, Table, median
from benchmarks.series import KINDS, ONE, Kind, datasets
from cds_service.card_files import CardShelf
from cds_service.security.links import Links
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from inference.limits import MIB
from inference.pipeline import analyse
from models.registry import load_registry

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
STUDY_KEY = "5d" * 16
FIRST_PAINT_MS = 300.0
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


@dataclass
class _Kept:
    """What one kind of series took to keep, and where its page is."""

    url: str
    page_ms: float
    slices_ms: float
    slices_bytes: int


@dataclass
class _Seen:
    """What the browser saw, round by round."""

    paint_ms: list[float] = field(default_factory=list)
    live_ms: list[float] = field(default_factory=list)
    page_bytes: list[float] = field(default_factory=list)
    live_bytes: list[float] = field(default_factory=list)


def run(quick: bool = False) -> Result:
    """Measure each kind of series."""
    if not CHROMIUM.exists():
        return Result(notes=("Chromium is not installed: nothing was measured.",))
    rounds, kinds = (1, [ONE]) if quick else (11, list(KINDS.values()))
    with tempfile.TemporaryDirectory() as folder, _site(Path(folder)) as (store, links):
        kept = {kind.name: _keep(kind, store, links) for kind in kinds}
        seen = _look({name: each.url for name, each in kept.items()}, rounds)
    rows = [_row(name, kept[name], seen[name]) for name in kept]
    aims = [
        Aim(f"first paint, {name}", median(each.paint_ms), FIRST_PAINT_MS, unit="ms")
        for name, each in seen.items()
    ]
    columns = (
        "series",
        "first paint, ms",
        "viewer live, ms",
        "weight before scrolling, KB",
        "with what the viewer fetched, KB",
        "keep the page, ms",
        "keep the slices, ms",
        "slices on disk, KB",
    )
    return Result((Table("Explanation page", columns, tuple(rows)),), tuple(aims))


def _row(name: str, kept: _Kept, seen: _Seen) -> tuple[str | float, ...]:
    return (
        name,
        median(seen.paint_ms),
        median(seen.live_ms),
        median(seen.page_bytes) / 1000,
        median(seen.live_bytes) / 1000,
        kept.page_ms,
        kept.slices_ms,
        kept.slices_bytes / 1000,
    )


@contextmanager
def _site(folder: Path) -> Iterator[tuple[ExplanationStore, Links]]:
    app = Flask("site", static_folder=None)
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=8)
    base = f"http://127.0.0.1:{server.effective_port}"
    store, links = ExplanationStore(folder / "explanations"), Links(["s" * 32], base, 3600)
    app.register_blueprint(viewer_blueprint(store, links, CardShelf(load_registry(()))))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield store, links
    finally:
        server.task_dispatcher.shutdown(timeout=1)
        server.close()
        thread.join(5)


def _keep(kind: Kind, store: ExplanationStore, links: Links) -> _Kept:
    """Analyse a series and keep its page and slices, timed."""
    analysis = analyse([_bytes(each) for each in datasets(kind)], load_registry(()))
    explanation_id = sha256(kind.name.encode()).hexdigest()
    names = {"explanation_id": explanation_id, "study_key": STUDY_KEY}
    began = time.perf_counter()
    store.keep(analysis, analysed_ms=int(time.time() * 1000), **names)
    between = time.perf_counter()
    store.keep_slices(analysis, most_bytes=64 * MIB, **names)
    ended = time.perf_counter()
    slices = store.slices(explanation_id)
    pieces = [s.piece for each in slices.index.series for s in each.slices] if slices else []
    url = links.explanation_url(explanation_id, STUDY_KEY, time.time())
    size = sum(piece.size for piece in pieces)
    return _Kept(url, (between - began) * 1e3, (ended - between) * 1e3, size)


def _bytes(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _look(urls: dict[str, str], rounds: int) -> dict[str, _Seen]:
    from playwright.sync_api import sync_playwright

    seen = {name: _Seen() for name in urls}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        _open(browser, next(iter(urls.values())), _Seen())  # the browser's own start
        for _ in range(rounds):
            for name, url in urls.items():
                _open(browser, url, seen[name])
        browser.close()
    return seen


def _open(browser: Any, url: str, seen: _Seen) -> None:
    """One look at a page with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, weights = context.new_page(), []
    page.on("requestfinished", lambda request: weights.append(_weight(request)))
    began = time.perf_counter()
    page.goto(url, wait_until="load")
    seen.page_bytes.append(sum(weights))
    page.wait_for_selector(".viewer.live")
    seen.live_ms.append((time.perf_counter() - began) * 1e3)
    page.wait_for_load_state("networkidle")
    seen.live_bytes.append(sum(weights))
    seen.paint_ms.append(float(page.evaluate(PAINT) or 0))
    context.close()


def _weight(request: Any) -> int:
    sizes: dict[str, int] = request.sizes()
    wanted: Sequence[str] = ("responseBodySize", "responseHeadersSize")
    return sum(sizes[name] for name in wanted)
