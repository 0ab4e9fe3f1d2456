from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from cds_service.explanation import ModelNotes, notes_of, page_of
from cds_service.viewer import wording
from cds_service.viewer.render import Pages
from inference.analysis import Analysis, Outcome
from models import manifest
from tests.doubles import explained

TOKEN = "T" * 122
PAGES = Pages("/root")
OUTCOMES = {
    Outcome.FINDING: explained.finding,
    Outcome.INDETERMINATE: explained.indeterminate,
    Outcome.NO_FINDING: explained.no_finding,
    Outcome.MEASURED: explained.measured,
    Outcome.NOT_ANALYSED: explained.not_analysed,
}
HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "](javascript:alert(1))",
    "</svg><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "<!--",
    "]]><iframe src=//evil.example>",
    "\u202egnp.exe",
    "a\r\nSet-Cookie: x=1",
    "\x1b[31mred\x00",
    "&lt;b&gt;<b>bold</b>",
    "<style>*{display:none}</style>",
    "//evil.example/x",
]


class Elements(HTMLParser):
    """What a browser would make of a page: elements, attributes and the text a person reads."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.comments: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag != "style":
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(analysis: Analysis, notes: dict[str, ModelNotes] | None = None) -> Elements:
    page = page_of(analysis, explained.ANALYSED_MS, explained.NOTES if notes is None else notes)
    return Elements(PAGES.explanation(page, TOKEN))


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome.FINDING, "Possible finding: Glioma"),
        (Outcome.NO_FINDING, "This does not rule anything out."),
        (Outcome.MEASURED, "The outline says nothing of disease."),
        (Outcome.INDETERMINATE, "Take it neither for a finding nor for the absence of one."),
        (Outcome.NOT_ANALYSED, "No model has looked at these images."),
    ],
)
def test_each_outcome_has_words_of_its_own(outcome: Outcome, says: str) -> None:
    texts = {kept: read(OUTCOMES[kept]()).text for kept in OUTCOMES}
    assert [kept for kept, text in texts.items() if says in text] == [outcome]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_page_says_that_it_is_ai_and_not_reviewed(outcome: Outcome) -> None:
    text = read(OUTCOMES[outcome]()).text
    assert "AI result, not reviewed by a person. Not for diagnosis on its own." in text
    assert "Research model" in text


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_page_asserts(outcome: Outcome) -> None:
    text = read(OUTCOMES[outcome]()).text.casefold()
    words = ("normal", "diagnosed", "confirmed", "healthy", "negative for", "excluded", "detected")
    assert [word for word in words if re.search(rf"\b{word}\b", text)] == []


def test_a_finding_is_shown_with_everything_that_qualifies_it() -> None:
    text = read(explained.finding()).text
    for said in (
        "The model suggests Glioma: estimated probability 90–95 %, stated from 82 % upwards.",
        "Slice 12 of 24",
        "mean over slices 11–13",
        "not a lesion outline",
        "falls by 61 points",
        "temperature scaling (temperature 1.37)",
        "expected calibration error 0.021",
        "Everything else in the images was not assessed.",
        "Metastases, bleeding and stroke are unknown to it.",
        "Excluding a tumour: it knows three kinds and nothing else.",
        "8-bit integers (int8)",
        "brain-mri-tumour 1.0.0",
        "features.8",
        "Class activation map",
        "Series 4 (MR), 24 images Brain tumour on MRI reads this series: no other one suits it.",
        "Series 1 (MR), 3 images It is a localizer.",
        "chest-pneumonia 0.3.0",
        "22 November 2026, 01:39 UTC",
        "under 5 %",
    ):
        assert said in text.replace("\u00a0", " "), said


def test_a_withheld_answer_says_which_checks_did_not_hold() -> None:
    text = read(explained.indeterminate()).text
    assert "because a safety check did not hold: The images that would decide are unlike" in text
    assert "The answer is withheld: the colours are shown for checking only." in text
    assert "the colours explain little here. Do not rely on them." in text
    assert "Finding suggested" not in text


def test_a_model_without_notes_is_shown_with_what_is_not_known() -> None:
    text = read(explained.finding(), {}).text
    assert "It is not known how well these probabilities are calibrated." in text
    assert "Research model" in text


def test_several_models_stand_on_one_page_with_pictures_of_their_own() -> None:
    one = explained.result()
    two = dataclasses.replace(
        one, model_id="second", model_title="Second model", series_uid="1.2.4"
    )
    page = read(dataclasses.replace(explained.finding(), results=(one, two)))
    images = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert images == [
        f"/root/e/{TOKEN}/{i}/{name}.png" for i in (0, 1) for name in ("image", "overlay")
    ]
    assert len(ids) == len(set(ids))
    assert "Second model" in page.text


def hostile_copy(value: Any, text: str) -> Any:
    """A copy in which every free text is `text`; outcomes and numbers stay."""
    if isinstance(value, Outcome):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(hostile_copy(item, text) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value)(**{name: hostile_copy(item, text) for name, item in fields.items()})
    return value


def hostile_notes(text: str) -> ModelNotes:
    return ModelNotes(
        stage=text,
        intended_use=text,
        assesses=(text, text),
        not_for=(text,),
        limits=(text,),
        calibration=explained.NOTES["brain-mri-tumour"].calibration,
        data=(text,),
        developer=text,
        licence=text,
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "kind",
    [explained.finding, explained.indeterminate, explained.measured, explained.undecided],
)
def test_a_hostile_text_in_every_field_is_only_text(
    kind: Callable[[], Analysis], text: str
) -> None:
    """C9: the page of hostile texts has the elements and attributes of the page of kind ones."""
    hostile = read(hostile_copy(kind(), text), {text: hostile_notes(text)})
    kind_word = read(hostile_copy(kind(), "word"), {"word": hostile_notes("word")})

    def skeleton(page: Elements) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in page.elements]

    def addresses(page: Elements) -> list[str]:
        keys = ("src", "href")
        return [str(a[k]) for _, a in page.elements for k in keys if k in a]

    assert skeleton(hostile) == skeleton(kind_word)
    assert hostile.comments == []
    assert [a for a in addresses(hostile) if not a.startswith("/root/")] == []
    assert "49" not in hostile.text or "49" in kind_word.text


def test_an_outline_is_shown_with_its_size_and_how_it_was_measured() -> None:
    page = read(explained.measured())
    for said in (
        "Outlined and measured: Spot",
        "The model outlined what it takes for spot on 1 image. It says nothing of disease.",
        "907 mm²",
        "1.7 %",
        "slice 12 of 24",
        "Pixels within the outline, times their spacing",
        "an algorithm’s outline, not a radiologist’s",
        "Outline and probability of each pixel",
    ):
        assert said in page.text
    assert "not a lesion outline" not in page.text
    assert "raised the probability" not in page.text.lower()
    alternatives = [a.get("alt") or "" for tag, a in page.elements if tag == "img"]
    assert any("Outline over the image" in words for words in alternatives)


def test_a_finding_and_its_outline_are_on_one_page() -> None:
    both = dataclasses.replace(
        explained.finding(), results=(explained.result(), explained.outlined())
    )
    page = read(both)
    assert "Possible finding: Glioma" in page.text
    assert "907 mm²" in page.text


def test_a_model_that_outlined_nothing_says_so_and_rules_nothing_out() -> None:
    nothing = dataclasses.replace(
        explained.outlined(), outlines=(), measurements=(), explanation=None
    )
    page = read(dataclasses.replace(explained.measured(), results=(nothing,)))
    assert "outlined nothing that it takes for spot. That rules nothing out." in page.text
    assert "there is nothing to outline" in page.text


def test_what_cannot_be_told_apart_is_named_with_bands_and_its_coverage() -> None:
    text = read(explained.undecided()).text
    assert (
        "The model cannot decide. It could be: glioma (45–50 %), meningioma (40–45 %) or none of "
        "the findings that it looks for."
    ) in text
    assert "hold the true answer in 95 % of cases" in text.replace("\u00a0", " ")
    assert "It could be" not in read(explained.indeterminate()).text, "the images are unknown to it"


def test_why_it_is_not_named_what_a_model_cannot_tell_apart() -> None:
    """Of a model that has such lists: on strange images none is reliable, and one may be bare."""
    unsure = explained.undecided()
    bare = dataclasses.replace(unsure.results[0], prediction_set=("notumor",))
    strange = read(explained.indeterminate()).text
    nothing = read(dataclasses.replace(unsure, results=(bare,))).text
    assert "What it could be is not said either" in strange
    assert "only for images like those of the test" in strange
    assert "holds none of the findings that it looks for. That rules nothing out." in nothing
    for other in (unsure, explained.finding(), explained.no_finding(), explained.measured()):
        assert "What it could be is not said" not in read(other).text


def test_a_result_says_in_which_precision_it_was_made_and_why() -> None:
    text = read(explained.finding()).text
    assert "8-bit integers (int8)" in text
    assert "it passed every check of the build and is the quicker one" in text


def test_a_result_links_to_its_model_s_card_in_every_form() -> None:
    page = read(explained.finding())
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    base = "/root/models/brain-mri-tumour/1.0.0"
    assert {base, f"{base}/card.json", f"{base}/card.xml"} <= set(links)
    assert f"{base}/reliability.png" not in links
    assert "31 source attributes" in page.text


def test_slices_that_may_decide_nothing_are_named_with_why() -> None:
    problems = {1: "empty", 2: "empty", 5: "noise", 9: "unheard-of"}
    result = explained.result()
    slices = tuple(dataclasses.replace(s, problem=problems.get(s.number)) for s in result.slices)
    found = dataclasses.replace(
        explained.finding(), results=(dataclasses.replace(result, slices=slices),)
    )
    page = PAGES.explanation(page_of(found, explained.ANALYSED_MS, explained.NOTES), "token")
    said = "Slices that may decide nothing: 1–2 (empty), 5 (mere noise), 9 (unusable)."
    assert page.count(said) == 1


@pytest.mark.parametrize(
    ("kept", "reduced", "said"),
    [
        (400, False, ""),
        (300, False, "300 of 400 slices are kept"),
        (400, True, "Slices are shown here with fewer pixels"),
        (300, True, "all of them were analysed. Slices are shown here with fewer pixels"),
    ],
)
def test_what_is_not_kept_whole_is_said(kept: int, reduced: bool, said: str) -> None:
    sentence = wording.thinned(kept, 400, reduced=reduced)
    assert said in sentence
    assert bool(said) is bool(sentence)


def test_where_every_slice_is_usable_none_is_named() -> None:
    page = PAGES.explanation(
        page_of(explained.finding(), explained.ANALYSED_MS, explained.NOTES), "token"
    )
    assert "may decide nothing" not in page


def test_a_card_shows_its_own_plots_and_links_to_every_file() -> None:
    text = "![Reliability](reliability.png) [the plot](reliability.png) ![no](other.png) [x](y.png)"
    names = ("card.json", "reliability.png")
    page = Elements(PAGES.card(text, "/models/m%20x/1", names))
    images = [a for tag, a in page.elements if tag == "img"]
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    plot = "/root/models/m%20x/1/reliability.png"
    assert images == [{"src": plot, "alt": "Reliability"}]
    assert links == [plot, "/root/models/m%20x/1/card.json", plot]


def test_a_card_s_table_is_reached_by_the_keyboard_and_no_head_is_empty() -> None:
    page = PAGES.card('# Card\n\n| | "no" & so | |\n|---|---|---|\n| no | 104 | 13 |\n')
    assert '<pre tabindex="0"><code>' in PAGES.card("```\na long line\n```\n")
    boxes = [each for tag, each in Elements(page).elements if tag == "div" and "tabindex" in each]
    assert boxes == [
        {"class": "table", "role": "group", "tabindex": "0", "aria-label": 'Table: "no" & so'}
    ]
    heads = page.partition("<thead>")[2].partition("</thead>")[0]
    assert "".join(heads.split()) == "<tr><td></td><th>&quot;no&quot;&amp;so</th><td></td></tr>"


def test_a_card_shows_html_as_text_and_asks_nobody_for_pictures() -> None:
    card = (
        "# Card\n\n<script>alert(1)</script> <b onclick=x>bold</b>\n\n"
        "![words of a picture](https://evil.example/x.png)\n\n"
        "[bad](javascript:alert(1)) [worse](data:text/html,x) [relative](../x) "
        "[good](https://example.org/paper)\n\n<img src=x onerror=alert(1)>\n\n"
        "| a | b |\n|---|---|\n| 1 | <i>2</i> |\n"
    )
    page = Elements(PAGES.card(card))
    tags = {tag for tag, _ in page.elements}
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert not tags & {"script", "b", "img", "i"}
    assert "table" in tags
    assert links == ["https://example.org/paper"]
    assert "words of a picture" in page.text
    assert "<script>alert(1)</script>" in page.text


def test_no_page_asks_anybody_else_for_anything() -> None:
    texts = [
        PAGES.explanation(page_of(explained.finding(), 0, explained.NOTES), TOKEN),
        PAGES.card("# Card"),
        PAGES.not_found(),
        PAGES.closed(),
    ]
    for text in texts:
        for tag, attributes in Elements(text).elements:
            for key in ("src", "href"):
                address = attributes.get(key)
                assert address is None or address.startswith("/"), (tag, address)
                assert address is None or not address.startswith("//"), (tag, address)
            assert "style" not in attributes
            assert not [key for key in attributes if key.startswith("on")]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0, "below 1 %"),
        (0.0049, "below 1 %"),
        (0.005, "1 %"),
        (0.5, "50 %"),
        (0.9949, "99 %"),
        (0.995, "above 99 %"),
        (1.0, "above 99 %"),
        (float("nan"), "not a probability"),
        (-0.1, "not a probability"),
        (1.1, "not a probability"),
    ],
)
def test_probabilities_are_whole_per_cent_without_0_and_100(probability: float, shown: str) -> None:
    assert wording.percent(probability).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("probability", "threshold", "said"),
    [
        (0.8, 0.8, "stated from 80 %"),
        (0.84, 0.82, "stated from 82 %"),
        (0.81, 0.82, "stated from 82 %, and just below that"),
        (0.7996, 0.8, "stated from 80 %"),
        (0.96, 0.97, "stated from 97 %, and just below that"),
        (0.1, 0.8, "stated from 80 %"),
    ],
)
def test_a_band_does_not_hide_the_side_of_the_threshold(
    probability: float, threshold: float, said: str
) -> None:
    assert wording.stated_from(probability, threshold).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("probability", "ends"),
    [
        (0.0, (0, 5)),
        (0.05, (5, 10)),
        (0.85, (85, 90)),
        (0.938, (90, 95)),
        (1.0, (95, 100)),
        (float("nan"), (0, 0)),
        (7.0, (95, 100)),
    ],
)
def test_a_bar_ends_where_its_band_does(probability: float, ends: tuple[float, float]) -> None:
    assert wording.band_ends(probability) == ends


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (None, "was not measured"),
        (-0.2, "does not fall: the colours explain little"),
        (0.0, "does not fall"),
        (0.012, "falls by 1 point: the colours explain little"),
        (0.2, "falls by 20 points: the coloured region carries a part"),
        (0.9, "falls by 90 points: the coloured region carries much"),
    ],
)
def test_the_deletion_test_is_told_in_words(drop: float | None, said: str) -> None:
    assert said in wording.faithfulness(drop)


def test_the_notes_come_from_the_manifest() -> None:
    """Every field of the notes is one of the manifest's, so that a package fills the page."""
    label = manifest.Label("a", "A finding", "finding", 0.8)
    negative = manifest.Label("n", "Nothing", "negative", 0.9)
    told = dict.fromkeys((f.name for f in dataclasses.fields(manifest.Manifest)), None) | {
        "stage": "research",
        "intended_use": "use",
        "labels": (label, negative),
        "not_for": ("not",),
        "limits": ("limit",),
        "calibration": manifest.Calibration("temperature scaling", 1.5, 0.03),
        "data": (manifest.TrainingData("set", "train", "terms", "cite"),),
        "developer": "dev",
        "licence": "MIT",
    }
    notes = notes_of(manifest.Manifest(**told))  # type: ignore[arg-type]  # only what notes read
    assert notes.assesses == ("A finding",)
    assert notes.calibration is not None
    assert (notes.calibration.temperature, notes.calibration.ece) == (1.5, 0.03)
    assert notes.data == ("set",)


def test_a_series_of_thousands_of_slices_has_a_strip_and_no_table() -> None:
    many = dataclasses.replace(explained.result(), slices=explained.slices(2000, 900))
    analysis = dataclasses.replace(explained.finding(), results=(many,))
    page = read(analysis)
    assert "table" not in {tag for tag, _ in page.elements}
    drawn = "".join(str(a["d"]) for tag, a in page.elements if tag == "path")
    assert drawn.count("h8") == 2000
    assert len(PAGES.explanation(page_of(analysis, 0, {}), TOKEN)) < 120_000


def test_the_strip_survives_scores_that_are_missing_or_no_numbers() -> None:
    scored = explained.slices(3, 2)
    odd = (
        dataclasses.replace(scored[0], probabilities=()),
        dataclasses.replace(scored[1], probabilities=(float("nan"), *scored[1].probabilities[1:])),
        scored[2],
    )
    result = dataclasses.replace(explained.result(), slices=odd)
    text = read(dataclasses.replace(explained.finding(), results=(result,))).text
    assert "not scored" in text
    assert "not a probability" in text
