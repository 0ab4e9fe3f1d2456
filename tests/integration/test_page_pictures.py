"""Each page at three widths, light and dark: as it was kept, and without a fault that axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.peers import chromium, screens
from tests.peers.axe import AXE, RUN_AXE

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]

UNFOLD = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[screens.Sites]:
    with screens.sites(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.mark.parametrize(("name", "width", "scheme"), screens.VIEWS)
def test_a_page_looks_as_it_was_kept(
    at: screens.Sites, tabs: Any, name: str, width: int, scheme: str
) -> None:
    picture = screens.taken(tabs, at, name, width, scheme)
    with Image.open(screens.kept(name, width, scheme)) as before:
        assert screens.difference(picture, before.convert("RGB")) == ""


def test_another_page_is_seen_to_be_another() -> None:
    one, other = (Image.open(screens.kept(name, 768, "light")) for name in ("card", "status"))
    assert screens.difference(one.convert("RGB"), other.convert("RGB"))
    dark = Image.open(screens.kept("card", 768, "dark")).convert("RGB")
    assert "different" in screens.difference(one.convert("RGB"), dark)


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make .venv-peers/ready")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (320, "light")])
@pytest.mark.parametrize(
    "name", [name for name, each in screens.SCENES.items() if not each.options]
)
def test_axe_finds_nothing(
    at: screens.Sites, tabs: Any, name: str, width: int, scheme: str
) -> None:
    # what a test injects is no part of the page, so its policy is set aside here alone
    size = {"width": width, "height": 900}
    page = screens.opened(tabs, at, name, color_scheme=scheme, bypass_csp=True, viewport=size)
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(RUN_AXE) == []
    page.evaluate(UNFOLD)
    assert page.evaluate(RUN_AXE) == []


def test_a_large_screen_shows_a_larger_image(at: screens.Sites, tabs: Any) -> None:
    image_px = {}
    for width in (1600, 2560):
        page = screens.opened(tabs, at, "finding", viewport={"width": width, "height": 1440})
        image_px[width] = page.locator(".stage").bounding_box()["width"]
        used = page.locator(".result").first.bounding_box()["width"]
        assert used > 0.85 * width
    assert image_px[2560] > 1.3 * image_px[1600]


@pytest.mark.parametrize("width", [*screens.WIDTHS, screens.LARGE])
@pytest.mark.parametrize("name", ["card", "card-shipped", "finding", "two-results"])
def test_nothing_stands_out_of_a_page(at: screens.Sites, tabs: Any, name: str, width: int) -> None:
    page = screens.opened(tabs, at, name, viewport={"width": width, "height": 900})
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
