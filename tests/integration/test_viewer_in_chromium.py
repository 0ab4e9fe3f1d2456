"""The viewer in a real browser: what hands do to it, and where things are drawn."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from inference.analysis import Analysis, SeriesImages
from inference.explain.held import held_images
from models.contract import ImageSlice
from tests.doubles import explained, pages
from tests.doubles.page_site import PageSite, page_site
from tests.peers import chromium

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]

PNG = "() => document.querySelector('.stage canvas').toDataURL().split(',')[1]"
SIZE = "() => { const c = document.querySelector('.stage canvas'); return [c.width, c.height]; }"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("store") / "explanations", "# Card") as made:
        yield made


def canvas(page: Any) -> np.ndarray:
    """The canvas as uint8 (rows, columns, RGBA)."""
    with Image.open(io.BytesIO(base64.b64decode(page.evaluate(PNG)))) as shown:
        return np.asarray(shown.convert("RGBA"))


def shows(page: Any, number: int) -> None:
    """What a screen reader is told of the canvas."""
    label = re.compile(f"^Slice {number} of")
    playwright.expect(page.locator(".stage canvas")).to_have_attribute("aria-label", label)


def test_link_page_scroll_overlay_feedback(site: PageSite, tabs: Any) -> None:
    """The whole walk, as a reader takes it."""
    tab = tabs(viewport={"width": 1280, "height": 900})
    page = tab.live(site.url(pages.finding()))
    shows(page, pages.deciding())
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    shows(page, pages.deciding() + 1)
    assert page.get_by_text("on this slice was not computed").is_visible()
    assert "No colours were made here" in page.locator("canvas").get_attribute("aria-label")
    page.keyboard.press("End")
    shows(page, 24)
    page.get_by_label("Slice", exact=True).fill(str(pages.deciding() - 1))
    shows(page, pages.deciding())
    page.get_by_label("Overlay strength").fill("40")
    page.get_by_role("radio", name="Disagree").check()
    page.locator("select[name=reason]").select_option("image-quality")
    page.get_by_label("Comment").fill("Bewegung; الصورة غير واضحة")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**#thanks")
    assert page.get_by_text("Thank you. Your answer is noted").is_visible()
    assert page.get_by_text("Disagrees: The image quality does not allow it").is_visible()
    assert page.get_by_text("الصورة غير واضحة").is_visible()
    study, claims, outcome, reason = site.answers.noted[-1]
    assert (study, outcome, reason) == (explained.STUDY_KEY, "overridden", "image-quality")
    assert list(claims.values()) == [("brain-mri-tumour", "1.0.0")]
    assert tab.complaints == []
    assert [url for url in tab.asked if not url.startswith(site.base)] == []


def test_a_disagreement_is_not_sent_without_a_reason(site: PageSite, tabs: Any) -> None:
    page = tabs().open(site.url(pages.finding()))
    before = len(site.answers.noted)
    page.get_by_role("radio", name="Disagree").check()
    page.get_by_role("button", name="Send").click()
    assert page.locator("select[name=reason]:invalid").count() == 1
    page.get_by_role("radio", name="Agree", exact=True).check()
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**#thanks")
    assert [each[2] for each in site.answers.noted[before:]] == ["accepted"]


def test_wheel_strip_and_keys_scroll(site: PageSite, tabs: Any) -> None:
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.finding()))
    page.locator(".stage").hover()
    page.mouse.wheel(0, 100)
    shows(page, pages.deciding() + 1)
    page.mouse.wheel(0, -100)
    shows(page, pages.deciding())
    strip = page.locator(".strip svg")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": box["width"] * 2.5 / 24, "y": box["height"] / 2})
    shows(page, 3)
    page.locator(".stage").focus()
    for key, number in (("PageDown", 13), ("Home", 1), ("ArrowUp", 1), ("End", 24)):
        page.keyboard.press(key)
        shows(page, number)


def test_windowing_is_by_drag_keys_and_preset(site: PageSite, tabs: Any) -> None:
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.finding()))
    page.get_by_role("radio", name="Off").check(force=True)
    before = canvas(page).mean()
    options = page.locator(".presets option").all_inner_texts()
    assert options == ["As stored", "Automatic", "Full range"]
    page.locator(".presets").select_option("Full range")
    wide = canvas(page).mean()
    assert wide != before
    page.locator(".stage").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 0)")
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 120)  # a lower centre is brighter
    page.mouse.up()
    dragged = canvas(page).mean()
    assert dragged > wide
    page.locator(".stage").focus()
    page.keyboard.press("Shift+ArrowDown")
    assert canvas(page).mean() < dragged
    page.keyboard.press("0")
    assert canvas(page).mean() == pytest.approx(before, abs=0.5)


def test_the_list_of_windows_names_the_one_in_use(site: PageSite, tabs: Any) -> None:
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.finding()))
    named = "() => document.querySelector('.presets').selectedOptions[0]?.text ?? 'none'"
    page.locator(".presets").select_option("Full range")
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate(named) == "As stored"
    page.locator(".stage").focus()
    page.keyboard.press("Shift+ArrowDown")
    assert page.evaluate(named) == "none"


def test_zoom_and_pan_move_the_image_and_reset_brings_it_back(site: PageSite, tabs: Any) -> None:
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.measured()))
    first = outline_of(canvas(page))
    page.get_by_role("button", name="Zoom in").click()
    zoomed = outline_of(canvas(page))
    assert width_of(zoomed) == pytest.approx(1.25 * width_of(first), rel=0.05)
    page.locator(".stage").focus()
    page.keyboard.press("Alt+ArrowRight")
    assert outline_of(canvas(page))[1].mean() == pytest.approx(zoomed[1].mean() - 40, abs=2)
    page.get_by_role("button", name="Reset").click()
    assert outline_of(canvas(page))[1].mean() == pytest.approx(first[1].mean(), abs=1)


def outline_of(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of the pixels of the line."""
    red, green, blue = (shown[..., i].astype(int) for i in range(3))
    rows, columns = np.nonzero((red < 60) & (green > 180) & (blue > 200))
    return rows, columns


def width_of(line: tuple[np.ndarray, np.ndarray]) -> float:
    return float(line[1].max() - line[1].min())


@pytest.mark.parametrize("zoom", [0, 2])
def test_the_outline_lies_where_the_lesion_is(site: PageSite, tabs: Any, zoom: int) -> None:
    """Within one pixel of the image, at any zoom, on every slice that has one."""
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.measured()))
    for _ in range(zoom):
        page.get_by_role("button", name="Zoom in").click()
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    shows(page, pages.deciding() + 1)
    width, height = page.evaluate(SIZE)
    size = min(width, height) * 1.25**zoom
    rows, columns = np.nonzero(pages.masks()[pages.deciding()])
    for line, edges, extent in (
        (outline_of(canvas(page))[0], (rows.min(), rows.max() + 1), height),
        (outline_of(canvas(page))[1], (columns.min(), columns.max() + 1), width),
    ):
        start = (extent - size) / 2
        expected = [start + edge / pages.PROTOCOL.size * size for edge in edges]
        pixel = size / pages.PROTOCOL.size
        assert [line.min(), line.max()] == pytest.approx(expected, abs=pixel + 2)


def test_two_outlines_are_not_joined(site: PageSite, tabs: Any) -> None:
    """The overlay changes nothing but what lies on a border: no line leads from one to another."""
    tab = tabs(viewport={"width": 1280, "height": 900})
    page = tab.live(site.url(pages.measured(pages.two_areas)))
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    shows(page, pages.deciding() + 1)
    over = canvas(page).astype(int)
    page.get_by_role("radio", name="Off").check(force=True)
    changed = np.abs(over - canvas(page).astype(int)).sum(axis=2) > 0
    height, width = changed.shape
    size = min(width, height)
    top, left = (height - size) // 2, (width - size) // 2
    mask = Image.fromarray(pages.two_areas()[pages.deciding()]).convert("L").resize((size, size))
    near = np.zeros_like(changed)
    near[top : top + size, left : left + size] = mask.filter(ImageFilter.MaxFilter(15))
    assert changed[:, : width // 2].any(), "the one is drawn"
    assert changed[:, width // 2 :].any(), "the other is drawn"
    assert not (changed & ~near).any()


def test_colours_lie_over_the_lesion_alone(site: PageSite, tabs: Any) -> None:
    """The pointing game: the hottest colours are within what was drawn as a lesion."""
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.finding()))
    over = canvas(page).astype(int)
    page.get_by_role("radio", name="Off").check(force=True)
    changed = np.abs(over - canvas(page).astype(int)).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    height, width = changed.shape
    size = min(height, width)
    place = [
        int((at - (extent - size) / 2) * pages.PROTOCOL.size / size)
        for at, extent in ((row, height), (column, width))
    ]
    assert pages.masks()[pages.deciding() - 1][place[0], place[1]]


def with_images(*slices: ImageSlice) -> Analysis:
    count = len(slices)
    result = replace(
        pages.finding().results[0],
        slices=explained.slices(count, 1)[:count],
        slices_used=(1,),
        deciding_slice=1,
        explanation=None,
    )
    images: SeriesImages = held_images("1.2.3", slices, [result])
    return replace(pages.finding(), results=(result,), images=(images,))


def test_without_geometry_there_is_no_scale_and_no_side(site: PageSite, tabs: Any) -> None:
    grey = np.tile(np.arange(128, dtype=np.int16), (64, 1))
    plain = ImageSlice(grey, "1.2.3.1", spacing_mm=(0.5, 0.5))
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(with_images(plain)))
    index = page.evaluate(
        "fetch(document.querySelector('.viewer').dataset.base + '/slices.json').then(r => r.json())"
    )
    assert index["slices"][0]["marks"] is None
    assert index["slices"][0]["width_mm"] is None
    assert not page.locator(".scroll").is_visible()
    assert not page.locator(".strip").is_visible()
    shown = canvas(page)
    height, width = shown.shape[:2]
    assert shown[height - 30 : height - 5, width // 2 :, :3].max() < 30, "no bar in the corner"


def test_each_slice_is_shown_with_its_own_window_until_another_is_chosen(
    site: PageSite, tabs: Any
) -> None:
    """As MR series have it: the same picture in other numbers, each with its own window."""
    ramp = np.tile(np.arange(128, dtype=np.int16), (128, 1))
    two = (ImageSlice(ramp * by, "1.2", window=(64.0 * by, 128.0 * by)) for by in (1, 8))
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(with_images(*two)))
    named = "() => document.querySelector('.presets').selectedOptions[0]?.text ?? 'none'"
    page.locator(".stage").focus()

    def greys() -> list[float]:
        seen = []
        for key, number in (("Home", 1), ("End", 2)):
            page.keyboard.press(key)
            shows(page, number)
            seen.append(float(canvas(page)[..., :3].mean()))
        return seen

    first, second = greys()
    assert first == pytest.approx(second, abs=2)
    assert page.evaluate(named) == "As stored"
    page.locator(".presets").select_option("Full range")
    page.locator(".stage").focus()
    low, high = greys()
    assert high > low + 20, "a window that was chosen stays"
    page.keyboard.press("0")
    assert greys() == pytest.approx([first, second], abs=0.5)


def test_colour_images_stay_in_colour_and_have_no_window(site: PageSite, tabs: Any) -> None:
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[..., 0] = 200
    page = tabs(viewport={"width": 1280, "height": 900}).live(
        site.url(with_images(ImageSlice(colours, "1.2.3.1")))
    )
    height, width = canvas(page).shape[:2]
    assert canvas(page)[height // 2, width // 2].tolist() == [200, 0, 0, 255]
    assert not page.locator(".presets").is_visible()


def test_where_slices_cannot_be_had_the_still_picture_stays(site: PageSite, tabs: Any) -> None:
    tab = tabs()
    tab.page.route("**/slices/*", lambda route: route.abort())
    page = tab.open(site.url(pages.finding()))
    page.wait_for_timeout(500)
    assert page.locator(".viewer.live").count() == 0
    assert page.locator(".image").is_visible()


def test_a_slice_that_cannot_be_had_is_named_and_the_shown_one_stays(
    site: PageSite, tabs: Any
) -> None:
    """As when the link has expired since the page was opened."""
    page = tabs(viewport={"width": 1280, "height": 900}).live(site.url(pages.finding()))
    page.route("**/slices/*", lambda route: route.fulfill(status=404))
    page.get_by_label("Slice", exact=True).fill("0")
    playwright.expect(page.locator(".scroll output")).to_have_text("Slice 1 cannot be loaded")
    shows(page, pages.deciding())
    assert page.get_by_label("Slice", exact=True).input_value() == str(pages.deciding() - 1)
