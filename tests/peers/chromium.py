"""Chromium without a window: pages that remember what they asked for and complained of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--force-color-profile=srgb --font-render-hinting=none"
)


def missing() -> str | None:
    """Why there is no browser here."""
    return None if CHROMIUM.exists() else "Chromium is not installed"


class Tab:
    """A page of the browser that remembers what it asked for and complained of."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", self._dialog)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, url: str) -> Any:
        """Load a page; the viewer may still be on its way."""
        self.page.goto(url, wait_until="load")
        return self.page

    def live(self, url: str) -> Any:
        """Load a page and wait for its viewer."""
        page = self.open(url)
        page.wait_for_selector(".viewer.live")
        return page

    def opacity(self) -> float:
        """Of the overlay, as the browser computed it."""
        script = "e => Number(getComputedStyle(e).opacity)"
        return float(self.page.eval_on_selector(".overlay", script))

    def drawn(self) -> list[int]:
        """The natural width of each picture: 0 if it was not loaded."""
        widths: list[int] = self.page.eval_on_selector_all(
            "img", "all => all.map(e => e.naturalWidth)"
        )
        return widths


@contextmanager
def chromium(flags: Sequence[str] = ()) -> Iterator[Any]:
    """A browser, with more `flags` than it has anyway."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        args = [*FLAGS.split(), *flags]
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=args)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tabs_of(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, and closes them in the end."""
    opened: list[Tab] = []

    def new(**options: Any) -> Tab:
        opened.append(Tab(browser, **options))
        return opened[-1]

    try:
        yield new
    finally:
        for tab in opened:
            tab.context.close()
