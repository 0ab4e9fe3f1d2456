"""What an archive keeps of a result, seen by a radiologist: in OHIF, in Chromium without a window.

The pictures stay in ``artefacts/``. The viewer's pages are walked through once, in one order; the
tests look at what was seen.
"""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.doubles.evidence import KnownStudy, known_study
from tests.doubles.evidence_keeping import keeping
from tests.peers import chromium, ohif
from tests.peers.chromium import Tab
from tests.peers.orthanc import Orthanc

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.peer

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
PATIENCE_MS = 180_000.0
"""A processor draws what a graphics card would, and there may be others on it."""

ANSWER_MS = 30_000.0
"""What is opened is given this long to be drawn, and is then opened again."""

MOST_COLOURLESS = 12
"""Between the channels of a pixel that is still called grey."""

VIEWPORT = "cornerstone.getEnabledElements()[0]?.viewport"
COLOURED = """(() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  if (!canvas?.width) return -1;
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let grey = 0, coloured = 0;
  for (let i = 0; i < bytes.length; i += 4) {
    if (Math.abs(bytes[i] - bytes[i + 2]) > 40) coloured += 1;
    else if (bytes[i] > 60) grey += 1;
  }
  return grey > 1000 ? coloured : -1;
})()"""
"""How many pixels have a colour, once there is an image at all."""

TURNED = """async (uid) => {
  const viewport = cornerstone.getEnabledElements()[0].viewport;
  if (viewport.getCurrentImageId()?.includes(uid)) return true;
  const ids = viewport.getImageIds();
  const at = ids.findIndex((id) => id.includes(uid));
  if (viewport.type === 'stack') await viewport.setImageIdIndex(at);
  else for (const imageIndex of [at, ids.length - 1 - at]) {  // counted from either end
    await cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex });
    if (viewport.getCurrentImageId()?.includes(uid)) break;
  }
  return false;
}"""
"""Whether a viewport shows an image, which it is else turned to: the viewer, while it is still busy
with its own beginning, may turn it away again."""

DRAWN = """async () => {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const drawn = new Promise((done) => viewport.element.addEventListener(
    'CORNERSTONE_IMAGE_RENDERED', done, { once: true }));
  viewport.render();
  await drawn;
}"""
PIXELS = "document.querySelector('canvas.cornerstone-canvas').toDataURL('image/png')"
DRAWN_WORDS = "[...document.querySelectorAll('.svg-layer text')].map((e) => e.textContent).join()"


@dataclass(frozen=True)
class Seen:
    """The walk: RGB pictures of the viewport by name, and words that were there."""

    listed: str
    words: dict[str, str]
    pictures: dict[str, npt.NDArray[np.int_]]
    corners: dict[str, npt.NDArray[np.float64]]
    strangers: list[str]

    def colour(self, name: str, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int_]:
        """Of those pixels of the picture that lie on a mask of the image: how far from grey."""
        origin, right, down = self.corners[name]
        places = np.argwhere(mask) + 0.0
        rows, columns = mask.shape
        at = (
            origin
            + places[:, 1:] / columns * (right - origin)
            + places[:, :1] / rows * (down - origin)
        )
        x, y = np.rint(at).astype(int).T
        picture = self.pictures[name]
        inside = (x >= 0) & (y >= 0) & (x < picture.shape[1]) & (y < picture.shape[0])
        pixels = picture[y[inside], x[inside]]
        return np.asarray(pixels.max(axis=1) - pixels.min(axis=1))


class Walk:
    """One session of the viewer."""

    def __init__(self, tab: Tab, study: KnownStudy) -> None:
        self.page, self.study, self.tab = tab.page, study, tab
        self.pictures: dict[str, npt.NDArray[np.int_]] = {}
        self.corners: dict[str, npt.NDArray[np.float64]] = {}

    def until(self, condition: str, patience_ms: float = PATIENCE_MS) -> None:
        """Wait for it."""
        self.page.wait_for_function(f"() => {condition}", polling=500, timeout=patience_ms)

    def open(self, series: str, drawn: str) -> None:
        """Double-click on a series in the list until it is drawn, as a person would: the viewer
        passes over clicks while it is busy with the series before.
        """
        for _ in range(int(PATIENCE_MS / ANSWER_MS) - 1):
            self.page.get_by_text(series).first.dblclick()
            with contextlib.suppress(playwright.TimeoutError):
                return self.until(drawn, ANSWER_MS)
        self.page.screenshot(path=ARTEFACTS / "ohif-not-drawn.png")
        return self.until(drawn, ANSWER_MS)

    def look(self, name: str, slice_number: int) -> None:
        """Turn to a slice, and keep what the viewport then shows."""
        uid = self.study.found.slices[slice_number - 1].sop_instance_uid
        self.page.wait_for_function(TURNED, arg=uid, polling=500)
        self.page.evaluate(DRAWN)
        self.keep(name, slice_number)

    def keep(self, name: str, slice_number: int) -> None:
        """Keep what the viewport shows: its own pixels, and for people all of the page."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"ohif-{name}.png")
        encoded = self.page.evaluate(PIXELS).partition(",")[2]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            self.pictures[name] = np.asarray(picture.convert("RGB"), int)
        self.corners[name] = np.array(
            [
                self.page.evaluate(f"p => {VIEWPORT}.worldToCanvas(p)", p)
                for p in self._at(slice_number)
            ]
        )

    def _at(self, slice_number: int) -> list[list[float]]:
        """The upper left, upper right and lower left of a slice, in the patient."""
        source = self.study.sources(self.study.found)[slice_number]
        plane = source.geometry
        assert plane is not None
        origin = np.array(plane.position_mm)
        right = source.columns * plane.spacing_mm[1] * np.array(plane.row_cosines)
        down = source.rows * plane.spacing_mm[0] * np.array(plane.column_cosines)
        return [list(map(float, place)) for place in (origin, origin + right, origin + down)]


@pytest.fixture(scope="module")
def seen(orthanc: Orthanc) -> Iterator[Seen]:
    reason = chromium.missing() or ohif.missing()
    if reason is not None:
        pytest.skip(reason)
    study = known_study()
    orthanc.stow(study.files.values())
    with keeping(study, orthanc.base_url) as keeper:
        keeper.keep()
    with (
        ohif.ohif(orthanc) as base,
        chromium.chromium(ohif.FLAGS) as browser,
        chromium.tabs_of(browser) as tabs,
    ):
        tab = tabs(viewport={"width": 900, "height": 560})
        tab.page.set_default_timeout(PATIENCE_MS)
        tab.page.add_init_script(ohif.QUIET)
        yield walked(Walk(tab, study), base)


def walked(walk: Walk, base: str) -> Seen:
    """List, bare image, outline, reports; the map last, whose colours the viewer keeps."""
    study, page = walk.study, walk.page
    deciding, words = study.found.deciding_slice or 0, {}
    page.goto(ohif.address_of(base, study.analysis.identity.study_uid), timeout=PATIENCE_MS)
    page.get_by_text("AI report").first.wait_for()
    walk.until(f"window.cornerstone && {COLOURED} >= 0")
    listed = page.inner_text("body")
    walk.look("image", deciding)

    walk.open("AI outline", f"{VIEWPORT}?.type === 'stack' && {COLOURED} > 50")
    walk.look("outline", deciding)

    for model, word in (("Brain", "Probability"), ("Toy", "Area")):
        walk.open(f"AI report: {model}", f"{DRAWN_WORDS}.includes('{word}')")
        words[model] = page.evaluate(DRAWN_WORDS)
        walk.keep(f"report-{model.lower()}", deciding)

    two_layers = f"{VIEWPORT}?.type === 'orthographic' && {VIEWPORT}.getActors().length === 2"
    walk.open("AI map", two_layers)
    walk.look("map", deciding)
    walk.look("map-of-another-slice", len(study.found.slices) + 1 - deciding)
    strangers = [each for each in walk.tab.asked if not each.startswith((base, "data:", "blob:"))]
    return Seen(listed, words, walk.pictures, walk.corners, strangers)


@pytest.fixture(scope="module")
def lesion() -> npt.NDArray[np.bool_]:
    study = known_study()
    return study.truth[(study.found.deciding_slice or 0) - 1]


def test_every_object_is_listed_as_a_series_of_its_own(seen: Seen) -> None:
    for called in ("AI report", "AI outline", "AI map", "AI key image"):
        assert called in seen.listed


def test_without_an_overlay_the_image_has_no_colour(
    seen: Seen, lesion: npt.NDArray[np.bool_]
) -> None:
    assert seen.colour("image", np.ones_like(lesion)).max() <= MOST_COLOURLESS


def test_the_outline_lies_on_the_lesion_and_nowhere_else(
    seen: Seen, lesion: npt.NDArray[np.bool_]
) -> None:
    rows, columns = np.where(lesion)
    around = np.ones_like(lesion)
    around[rows.min() - 8 : rows.max() + 8, columns.min() - 8 : columns.max() + 8] = False
    assert (seen.colour("outline", lesion) > MOST_COLOURLESS).mean() > 0.9
    assert (seen.colour("outline", around) > MOST_COLOURLESS).mean() < 0.005


def test_the_map_is_hot_on_the_lesion_and_not_on_the_other_side(
    seen: Seen, lesion: npt.NDArray[np.bool_]
) -> None:
    hot, cold = seen.colour("map", lesion), seen.colour("map", lesion[:, ::-1])
    assert hot.mean() > 3 * max(cold.mean(), 10)


def test_the_map_of_one_slice_is_not_drawn_on_another(
    seen: Seen, lesion: npt.NDArray[np.bool_]
) -> None:
    """On the slice as far from the other end, a viewer that counts backwards would draw it."""
    assert seen.colour("map-of-another-slice", lesion).mean() < 20


def test_the_reports_are_drawn_with_their_numbers(seen: Seen) -> None:
    assert "Probability" in seen.words["Brain"]
    assert "Area" in seen.words["Toy"]
    assert "mm2" in seen.words["Toy"]


def test_the_viewer_asked_nobody_else(seen: Seen) -> None:
    assert seen.strangers == []
