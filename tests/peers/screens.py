"""What the pages look like: kept pictures, and a comparison that forgives what fonts do.

``python -m tests.peers.screens [PAGE ...]`` takes them anew, for a person to look at before they
are kept.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cds_service.queue.state import State, StudyRecord
from cds_service.summary import ReasonSummary, StudySummary
from inference.analysis import Outcome
from models.registry import BUNDLED, ModelPackage, load_package
from tests.doubles import pages
from tests.doubles.chart_site import BEN, LAYLA, chart_site
from tests.doubles.explained import EXPLANATION_ID
from tests.doubles.page_site import PageSite, page_site
from tests.doubles.still_pages import FAILED_STUDY, OPS_LOGIN, still_site
from tests.peers.chromium import Tab, chromium, tabs_of

KEPT = Path(__file__).parents[1] / "reference" / "screens"
WIDTHS = (320, 768, 1600)
LARGE = 2560
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
SHIPPED = load_package(BUNDLED / "chest-xray-pneumonia")
"""A model whose own card is looked at: its tables are wide, and it has plots."""
_HALF, _CELL, _LEVELS, _SHARE = 2, 8, 20, 0.01


@dataclass(frozen=True)
class Sites:
    """Where the pages are: explanations, pages that never change, the demo EHR's charts.

    `fresh_charts` are of a demo EHR of their own, which nobody has opened before.
    """

    viewer: PageSite
    still: str
    charts: str
    fresh_charts: Callable[[], str]


@contextmanager
def sites(folder: Path) -> Iterator[Sites]:
    """All of them, over stores in an empty folder."""
    with (
        page_site(folder / "explanations", CARD, packages=[SHIPPED]) as viewer,
        still_site() as still,
        chart_site(folder) as charts,
        ExitStack() as opened_since,
    ):

        def fresh() -> str:
            return opened_since.enter_context(chart_site(Path(tempfile.mkdtemp(dir=folder))))

        yield Sites(viewer, still, charts, fresh)


def _nothing(page: Any) -> None:
    """As the page is when it was loaded."""


@dataclass(frozen=True)
class Scene:
    """A page, what a reader does on it before it is looked at, and how the browser is set."""

    address: Callable[[Sites], str]
    act: Callable[[Any], None] = _nothing
    options: Mapping[str, Any] = field(default_factory=dict)


STEPS_AT_MS = {State.RECEIVED: 1000, State.FETCHING: 2400, State.INFERRING: 3100}
NO_MODEL = StudySummary(
    outcome=Outcome.NOT_ANALYSED,
    not_analysed=(ReasonSummary(kind="modality", sentence="The model reads MR only."),),
)


def _status(**record: Any) -> Callable[[Sites], str]:
    """The page of a study of which its record says this."""

    def address(at: Sites) -> str:
        study = at.viewer.study
        study.record = StudyRecord(study.record.id, **record)
        written = {State.WRITING: 3700} if record["state"] is State.FINAL else {}
        ended = {record["state"]: 3850} if study.record.ended else {}
        study.at_ms = {**STEPS_AT_MS, **written, **ended}
        return at.viewer.status_url()

    return address


def _another_slice(page: Any) -> None:
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".elsewhere").wait_for()
    page.evaluate("document.activeElement.blur()")


def _setting_aside(page: Any) -> None:
    page.get_by_text("Set aside…").first.click()


def _behind_the_chart(page: Any) -> None:
    """Accept a suggestion, set a card aside, and see in the drawer what came of it."""
    page.get_by_role("button", name="Accept what is ticked").click()
    _setting_aside(page)
    page.get_by_role("button", name="Not now").click()
    page.locator("#drawer > summary").click()
    page.evaluate("document.activeElement.blur()")


def _one_call(page: Any) -> None:
    """Read a request and its answer in the drawer."""
    page.locator("#drawer > summary").click()
    page.locator("#wire details").first.locator("summary").click()
    page.evaluate("document.activeElement.blur()")


def _named(package: ModelPackage) -> str:
    return f"{package.manifest.id}/{package.manifest.version}"


def _pressed(name: str) -> Callable[[Any], None]:
    return lambda page: page.get_by_role("button", name=name).click()


SCENES: Mapping[str, Scene] = {
    "finding": Scene(lambda at: at.viewer.url(pages.finding())),
    "elsewhere": Scene(lambda at: at.viewer.url(pages.finding()), _another_slice),
    "undecided": Scene(lambda at: at.viewer.url(pages.undecided())),
    "measured": Scene(lambda at: at.viewer.url(pages.measured())),
    "two-areas": Scene(lambda at: at.viewer.url(pages.measured(pages.two_areas))),
    "nothing-found": Scene(lambda at: at.viewer.url(pages.no_finding())),
    "two-results": Scene(lambda at: at.viewer.url(pages.two_results())),
    "status": Scene(_status(state=State.INFERRING)),
    "status-failed": Scene(_status(state=State.FAILED, error_kind="unreachable")),
    "status-abstained": Scene(_status(state=State.ABSTAINED, summary=NO_MODEL.to_json())),
    # with script the page goes on to the result by itself
    "status-final": Scene(
        _status(state=State.FINAL, explanation_id=EXPLANATION_ID),
        options={"java_script_enabled": False},
    ),
    "card": Scene(lambda at: f"{at.viewer.base}/models/brain-mri-tumour/1.0.0"),
    "card-shipped": Scene(lambda at: f"{at.viewer.base}/models/{_named(SHIPPED)}"),
    "closed": Scene(lambda at: f"{at.viewer.base}/e/nothing"),
    "recalled": Scene(lambda at: f"{at.still}/still/recalled"),
    "superseded": Scene(lambda at: f"{at.still}/still/superseded"),
    "launch-choice": Scene(lambda at: f"{at.still}/still/choose"),
    "launch-ended": Scene(lambda at: f"{at.still}/still/ended"),
    "ops": Scene(lambda at: f"{at.still}/ops"),
    "ops-calm": Scene(lambda at: f"{at.still}/calm/ops"),
    "ops-study": Scene(lambda at: f"{at.still}/ops/studies/{FAILED_STUDY}"),
    "patients": Scene(lambda at: at.charts),
    "chart": Scene(lambda at: f"{at.charts}/patients/{BEN}", _setting_aside),
    "chart-empty": Scene(lambda at: f"{at.charts}/patients/{LAYLA}"),
    "order": Scene(lambda at: f"{at.charts}/patients/{LAYLA}/order", _pressed("Select")),
    "drawer": Scene(lambda at: f"{at.fresh_charts()}/patients/{BEN}", _behind_the_chart),
    "drawer-call": Scene(lambda at: f"{at.fresh_charts()}/patients/{BEN}", _one_call),
    "discharge": Scene(lambda at: f"{at.charts}/patients/{BEN}", _pressed("Discharge")),
}
_EVERY_VIEW = ("finding", "undecided", "measured", "status", "card", "closed")
_LARGE_VIEW = ("finding", "nothing-found", "two-results")
VIEWS = [
    (name, width, scheme)
    for name in SCENES
    for width, alone in zip(WIDTHS, ("light", "dark", "light"), strict=True)
    for scheme in (SCHEMES if name in _EVERY_VIEW else (alone,))
] + [(name, LARGE, "light") for name in _LARGE_VIEW]
"""Page, width and scheme of each kept picture: of some pages all, of each every width."""


def opened(tabs: Callable[..., Tab], at: Sites, name: str, **options: Any) -> Any:
    """A scene in a tab of its own."""
    scene = SCENES[name]
    tab = tabs(http_credentials=OPS_LOGIN, **options, **scene.options)
    page: Any = tab.open(scene.address(at))
    if page.locator(".viewer").count():
        page.wait_for_selector(".viewer.live")
    scene.act(page)
    page.wait_for_load_state()
    return page


def taken(tabs: Callable[..., Tab], at: Sites, name: str, width: int, scheme: str) -> Image.Image:
    """The whole page at half its size."""
    size = {"width": width, "height": 800}
    page = opened(tabs, at, name, viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page.mouse.move(0, 0)
    if page.locator(".drawer").count():  # it sticks to the window's end: let that be the page's
        for _ in range(2):  # an open one is the higher, the higher the window is
            page.set_viewport_size({"width": width, "height": _height(page)})
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    return shot.reduce(_HALF)


def _height(page: Any) -> int:
    return int(page.evaluate("document.documentElement.scrollHeight"))


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
        sites(Path(folder)) as at,
        chromium() as browser,
    ):
        for name, width, scheme in VIEWS:
            if names and name not in names:
                continue
            with tabs_of(browser) as tabs:  # closed each time: a server has so many connections
                picture = taken(tabs, at, name, width, scheme)
            picture.save(kept(name, width, scheme), quality=70, method=6)


if __name__ == "__main__":
    main(sys.argv[1:])
