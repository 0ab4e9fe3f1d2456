"""What the pages look like: kept pictures, and a comparison that forgives what fonts do.

``python -m tests.peers.screens [PAGE ...]`` takes them anew, for a person to look at before they
are kept.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cds_service.queue.state import State
from tests.doubles import pages
from tests.doubles.page_site import PageSite, page_site
from tests.peers.chromium import Tab, chromium, tabs_of

KEPT = Path(__file__).parents[1] / "reference" / "screens"
WIDTHS = (320, 768, 1600)
SCHEMES = ("light", "dark")
CARD = """# Brain tumour on MRI

A card as the toolchain writes it: what the model is for, and how it did.

| label | sensitivity | specificity |
|---|---|---|
| Glioma | 0.91 | 0.97 |
| Meningioma | 0.84 | 0.95 |

## Limits

- Trained on one public collection.
"""
_HALF, _CELL, _LEVELS, _SHARE = 2, 8, 20, 0.01


def _status(site: PageSite) -> str:
    site.study.record = type(site.study.record)(site.study.record.id, state=State.INFERRING)
    site.study.at_ms = {State.RECEIVED: 1000, State.FETCHING: 2400, State.INFERRING: 3100}
    return site.status_url()


PAGES: Mapping[str, Callable[[PageSite], str]] = {
    "finding": lambda site: site.url(pages.finding()),
    "undecided": lambda site: site.url(pages.undecided()),
    "measured": lambda site: site.url(pages.measured()),
    "status": _status,
    "card": lambda site: f"{site.base}/models/brain-mri-tumour/1.0.0",
    "closed": lambda site: f"{site.base}/e/nothing",
}


def taken(tabs: Callable[..., Tab], url: str, width: int, scheme: str) -> Image.Image:
    """The whole page at half its size."""
    size = {"width": width, "height": 800}
    tab = tabs(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page: Any = tab.open(url)
    if page.locator(".viewer").count():
        page.wait_for_selector(".viewer.live")
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    return shot.reduce(_HALF)


def kept(name: str, width: int, scheme: str) -> Path:
    """Where a picture lies."""
    return KEPT / f"{name}-{width}-{scheme}.webp"


def difference(one: Image.Image, other: Image.Image) -> str:
    """What is different, in a sentence; empty where a reader would see no difference.

    A page that is longer or shorter by less than 2 % is compared as far as both go. The means of
    cells of 8 x 8 pixels are compared: the edge of a letter changes none of them much.
    """
    (width, height), (other_width, other_height) = one.size, other.size
    if width != other_width or abs(height - other_height) > 0.02 * height:
        return f"{one.size} is not {other.size}"
    rows, columns = min(height, other_height) // _CELL, width // _CELL
    first, second = (_cells(each, rows, columns) for each in (one, other))
    changed = float((np.abs(first - second).max(axis=2) > _LEVELS).mean())
    return f"{changed:.1%} of the page is different" if changed > _SHARE else ""


def _cells(picture: Image.Image, rows: int, columns: int) -> np.ndarray:
    cut = picture.crop((0, 0, columns * _CELL, rows * _CELL))
    return np.asarray(cut.resize((columns, rows), Image.Resampling.BOX), np.float32)


def main(names: Sequence[str]) -> None:
    """Take the pictures of these pages, or of all, and keep them."""
    KEPT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        page_site(Path(folder) / "e", CARD) as site,
        chromium() as browser,
        tabs_of(browser) as tabs,
    ):
        for name in names or PAGES:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    picture = taken(tabs, PAGES[name](site), width, scheme)
                    picture.save(kept(name, width, scheme), quality=70, method=6)


if __name__ == "__main__":
    main(sys.argv[1:])
