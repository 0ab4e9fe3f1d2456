"""The pages in a real browser: opened, clicked, printed, with and without script."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from cds_service.explanation import notes_of
from inference.analysis import Analysis
from models.registry import BUNDLED, load_package
from tests.doubles import explained, pages
from tests.doubles.page_site import PageSite, page_site
from tests.peers import chromium

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]
HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(1)</script></svg><svg onload='alert(1)'>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    card = f"# Card\n\n{HOSTILE}\n\n![x](http://127.0.0.1:9/picture.png)\n"
    with page_site(tmp_path_factory.mktemp("store") / "explanations", card) as made:
        yield made


def test_the_slider_fades_the_overlay_and_the_image_stays(site: PageSite, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.url(explained.finding()))
    slider = page.get_by_label("Overlay strength")
    assert page.title().startswith("Possible finding: Glioma")
    assert tab.opacity() == 1
    slider.fill("30")
    assert tab.opacity() == pytest.approx(0.3)
    assert page.locator(".slider output").inner_text() == "30\u00a0%"
    slider.press("ArrowRight")
    assert tab.opacity() == pytest.approx(0.35)
    slider.fill("0")
    assert tab.opacity() == 0
    assert page.get_by_role("radio", name="Off").is_checked()
    page.get_by_text("Half", exact=True).click()
    assert tab.opacity() == pytest.approx(0.5)
    assert slider.input_value() == "50"
    assert tab.drawn() == [512, 512]
    assert tab.complaints == []


def test_the_switch_works_from_the_keyboard(site: PageSite, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.url(explained.finding()))
    page.get_by_role("radio", name="Full").focus()
    page.keyboard.press("ArrowLeft")
    assert tab.opacity() == pytest.approx(0.5)
    page.keyboard.press("ArrowLeft")
    assert tab.opacity() == 0


def test_without_script_the_picture_the_text_and_the_switch_are_there(
    site: PageSite, tabs: Any
) -> None:
    tab = tabs(java_script_enabled=False)
    page = tab.open(site.url(explained.finding()))
    assert page.get_by_role("heading", name="Possible finding: Glioma").is_visible()
    assert page.locator(".image").is_visible()
    assert page.locator(".overlay").is_visible()
    assert page.locator(".legend svg").is_visible()
    assert page.get_by_text("not a lesion outline").is_visible()
    assert not page.locator(".slider").is_visible()
    for name, opacity in (("Off", "0"), ("Half", "0.5"), ("Full", "1")):
        page.get_by_text(name, exact=True).click()
        playwright.expect(page.locator(".overlay")).to_have_css("opacity", opacity)
    assert (
        page.get_by_role("link", name="as one picture")
        .get_attribute("href")
        .endswith("/0/figure.png")
    )


def test_the_page_asks_this_site_alone_and_leaves_nothing(site: PageSite, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.url(explained.finding()))
    page.get_by_role("link", name="Model card").click()
    page.wait_for_load_state()
    assert page.get_by_role("heading", name="Card").is_visible()
    assert [url for url in tab.asked if not url.startswith(site.base)] == []
    assert not any("picture.png" in url for url in tab.asked)
    assert tab.context.cookies() == []
    assert page.evaluate("document.referrer") == ""
    assert tab.complaints == []


def test_an_expired_and_a_changed_link_look_the_same(site: PageSite, tabs: Any) -> None:
    tab = tabs()
    fresh = site.url(explained.finding())
    expired = site.url(explained.finding(), now_s=time.time() - 901)
    changed = fresh[:-5] + ("A" if fresh[-5] != "A" else "B") + fresh[-4:]
    shown = []
    for url in (expired, changed, f"{site.base}/e/nothing"):
        page = tab.open(url)
        shown.append(page.content())
        assert page.get_by_text("Open the patient’s chart again").is_visible()
    assert len(set(shown)) == 1


def test_hostile_texts_run_nothing(site: PageSite, tabs: Any) -> None:
    result = explained.result()
    hostile = replace(
        result,
        model_id=HOSTILE,
        model_version=HOSTILE,
        model_title=HOSTILE,
        model_sha256=HOSTILE,
        precision=HOSTILE,
        precision_reason=HOSTILE,
        finding=replace(explained.LABELS[0], display=HOSTILE),
        probabilities=(replace(explained.LABELS[0], display=HOSTILE),),
        gates=tuple(replace(g, gate=HOSTILE, sentence=HOSTILE) for g in result.gates),
        explanation=replace(explained.explanation(), method=HOSTILE, layer=HOSTILE),
    )
    series = tuple(replace(s, modality=HOSTILE) for s in explained.finding().series)
    tab = tabs()
    page = tab.open(site.url(replace(explained.finding(), results=(hostile,), series=series)))
    assert page.locator("img").count() == 2
    assert page.locator("script").count() == 1
    assert page.get_by_text("<script>alert(1)</script>").first.is_visible()
    assert tab.complaints == []
    card = tabs()
    card.open(f"{site.base}/models/a/1")
    assert card.complaints == []


OUTCOMES = {str(outcome): make for outcome, make in pages.ANALYSES.items()}


@pytest.mark.parametrize("width", [320, 768, 1600])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_is_wider_than_the_window(
    site: PageSite, tabs: Any, outcome: str, width: int
) -> None:
    """WCAG 2.1, 1.4.4 and 1.4.10: neither at 320 pixels nor with letters of twice the size."""
    tab = tabs(viewport={"width": width, "height": 800})
    page = tab.open(site.url(OUTCOMES[outcome]()))
    script = "document.documentElement.scrollWidth"
    assert page.evaluate(script) <= width
    for heading in page.locator("summary").all():
        heading.click()
    assert page.evaluate(script) <= width
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(script) <= width


SHIPPED = load_package(BUNDLED / "brain-mri-tumour").manifest


def as_shipped(analysis: Analysis) -> Analysis:
    """The texts that the shipped model's page has, every one: they are longer than a double's."""
    reason = f"{SHIPPED.precision.reason} This processor has avx512_vnni."
    results = (
        replace(result, model_title=SHIPPED.title, precision_reason=reason)
        for result in analysis.results
    )
    return replace(analysis, results=tuple(results))


@pytest.mark.parametrize(
    "outcome",
    [pages.finding, pages.undecided, pages.no_finding, pages.measured, pages.two_results],
)
def test_up_to_two_results_print_on_one_sheet(
    site: PageSite, tabs: Any, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], Analysis]
) -> None:
    notes = notes_of(SHIPPED, ("card.json", "card.xml", "reliability.png"))
    for name in ("brain-mri-tumour", *(result.model_id for result in outcome().results)):
        monkeypatch.setitem(explained.NOTES, name, notes)
    page = tabs().open(site.url(as_shipped(outcome())))
    assert page.get_by_text(SHIPPED.limits[-1]).count() == len(outcome().results)
    for paper in ("A4", "Letter"):
        pdf = page.pdf(format=paper, prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1, paper


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_text_stands_out_from_its_ground(
    site: PageSite, tabs: Any, outcome: str, scheme: str
) -> None:
    """WCAG 2.1, 1.4.3: contrast of at least 4.5 to 1, in both colour schemes."""
    page = tabs(color_scheme=scheme).open(site.url(OUTCOMES[outcome]()))
    measured = page.evaluate(CONTRASTS)
    assert len(measured) > 20
    assert [item for item in measured if item[0] < 4.5] == []


CONTRASTS = """() => {
  const parts = (css) => css.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest("svg") || !element.checkVisibility())
      continue;
    const [a, b] = [parts(getComputedStyle(element).color), ground(element)].map(light);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), texts.currentNode.data]);
  }
  return found;
}"""


def test_the_page_has_landmarks_names_and_an_order_of_headings(site: PageSite, tabs: Any) -> None:
    page = tabs().open(site.url(explained.finding()))
    for role in ("banner", "main", "contentinfo", "complementary"):
        assert page.get_by_role(role).count() == 1, role
    levels = page.eval_on_selector_all(
        "h1, h2, h3, h4", "all => all.map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = page.eval_on_selector_all(
        "img:not([alt]), img[alt=''], svg[role=img]:not([aria-label]), "
        "input[type=range]:not([aria-label])",
        "all => all.length",
    )
    assert unnamed == 0
    assert page.get_by_role("radio").count() == 5, "three strengths, two verdicts"
