"""Cards say what is known, in words that cannot be misread or misused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.cards import CardSite, study_card, unavailable_card
from cds_service.claims import EXTENSION
from cds_service.known_study import KnownStudy
from cds_service.queue.state import State
from cds_service.settings import HookSettings
from cds_service.summary import (
    LabelSummary,
    MeasurementSummary,
    ReasonSummary,
    ResultSummary,
    StudySummary,
)
from cds_service.wording import plain, ranges, study_name, summary
from fhir_mapping.text import plain as one_line
from fhir_mapping.wording import FORBIDDEN, probability_band
from inference.analysis import Outcome
from inference.outcomes import study_outcome
from tests.doubles import ehr
from tests.doubles.hooking import FixedLinks
from tests.reference.cards.states import (
    CASES,
    FINDING,
    GLIOMA,
    INDETERMINATE,
    NO_FINDING,
    NOT_ANALYSED,
    RESULT,
    STUDY,
    record,
)

GOLDEN = Path(__file__).parents[2] / "reference" / "cards"
RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def site(**hook: Any) -> CardSite:
    return CardSite("St. Elsewhere", HookSettings(**hook), FixedLinks(), lambda: ehr.NOW_S)


def card(name: str, **hook: Any) -> dict[str, Any] | None:
    case = CASES[name]
    return study_card(KnownStudy(STUDY, case.record, case.ahead), site(**hook))


@pytest.mark.parametrize("name", CASES)
def test_the_card_of_each_state_is_as_agreed(name: str) -> None:
    """The files are read by people: a change of wording is a change of these files."""
    assert card(name) == json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def test_the_unavailable_card_is_as_agreed() -> None:
    golden = json.loads((GOLDEN / "unavailable.json").read_text(encoding="utf-8"))
    assert unavailable_card(site()) == golden


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_no_text_of_ours_says_a_forbidden_word(path: Path) -> None:
    """FDA names automation bias: nothing sounds like a reading by a person."""
    text = path.read_text(encoding="utf-8").lower()
    assert [word for word in FORBIDDEN if word in text] == []


@pytest.mark.parametrize("name", ["finding", "no-finding", "indeterminate", "not-analysed"])
def test_every_result_says_that_it_is_ai_and_what_was_looked_for(name: str) -> None:
    made = card(name)
    assert made is not None
    assert "AI" in made["summary"]
    if name in ("finding", "no-finding"):
        assert "not reviewed by a person" in made["detail"]
        assert "Nothing else in the images was assessed" in made["detail"]
        assert "Brain MRI tumour type, version 1.0.0" in made["detail"]


def test_the_label_that_means_nothing_found_is_never_shown() -> None:
    for name in ("finding", "no-finding", "indeterminate"):
        assert "No tumour" not in json.dumps(card(name))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("queued", "show_pending"),
        ("running", "show_pending"),
        ("failed", "show_failed"),
        ("not-analysed", "show_not_analysed"),
        ("no-finding", "show_no_finding"),
        ("measured", "show_measured"),
        ("nothing-outlined", "show_measured"),
        ("measured-without-finding", "show_no_finding"),
    ],
)
def test_a_site_chooses_which_states_have_a_card(name: str, setting: str) -> None:
    assert card(name) is not None
    assert card(name, **{setting: False}) is None


@pytest.mark.parametrize("indicator", ["info", "warning", "critical"])
def test_a_site_chooses_how_loud_a_finding_is_and_the_rest_is_info(indicator: str) -> None:
    for name in CASES:
        made = card(name, finding_indicator=indicator)
        assert made is not None
        stated = "label" in made["extension"][EXTENSION]
        assert made["indicator"] == (indicator if stated else "info")


def test_a_finding_of_a_model_out_of_use_is_not_shown_while_the_study_is_analysed_again() -> None:
    known = KnownStudy(STUDY, CASES["outdated-finding"].record, served=frozenset({"other"}))
    made = study_card(known, site())
    assert made is not None
    assert "label" not in made["extension"][EXTENSION]


def test_findings_alone_are_shown_if_so_asked() -> None:
    for name, case in CASES.items():
        made = study_card(KnownStudy(STUDY, case.record), site(), findings_only=True)
        stated = name in ("finding", "finding-outlined") or name.startswith("outdated-finding")
        assert (made is not None) == stated


@pytest.mark.parametrize(
    ("probability", "band"),
    [
        (0.0, "under 5 %"),
        (0.0499, "under 5 %"),
        (0.05, "5–10 %"),
        (0.15, "15–20 %"),
        (0.5, "50–55 %"),
        (0.7, "70–75 %"),
        (0.85, "85–90 %"),
        (0.8999, "85–90 %"),
        (0.9, "90–95 %"),
        (0.9499, "90–95 %"),
        (0.95, "over 95 %"),
        (1.0, "over 95 %"),
        (1.2, "over 95 %"),
        (-0.1, "under 5 %"),
        (float("nan"), "not known"),
        (float("inf"), "not known"),
    ],
)
def test_a_probability_is_a_band_of_five_percent(probability: float, band: str) -> None:
    assert probability_band(probability) == band


@given(st.floats(min_value=0, max_value=1))
def test_a_band_holds_its_probability(probability: float) -> None:
    words = probability_band(probability).removesuffix(" %").replace("–", " ").split()
    low, high = {"under": (0, 5), "over": (95, 100)}.get(
        words[0], (int(words[0]) if words[0].isdigit() else 0, int(words[-1]))
    )
    assert low - 1e-6 <= probability * 100 <= high


@pytest.mark.parametrize(
    ("numbers", "said"),
    [((), ""), ((3,), "3"), ((3, 1, 2), "1–3"), ((1, 2, 5, 7, 8), "1–2, 5, 7–8"), ((4, 4), "4")],
)
def test_numbers_are_said_as_ranges(numbers: tuple[int, ...], said: str) -> None:
    assert ranges(numbers) == said


@pytest.mark.parametrize(
    ("modalities", "started", "name"),
    [
        (("MR",), "2026-03-03T10:00:00Z", "MR of 2026-03-03"),
        (("MR", "SR", "PR"), "2026-03", "MR of 2026-03"),
        (("PT", "CT"), None, "PT/CT"),
        (("SR",), None, "SR"),
        ((), None, "imaging study"),
    ],
)
def test_a_study_is_named_as_a_reader_knows_it(
    modalities: tuple[str, ...], started: str | None, name: str
) -> None:
    study = replace(STUDY, modalities=modalities, started_text=started, started=None)
    assert study_name(study) == name


TEXTS = st.one_of(
    st.text(st.characters(), max_size=400),  # lone surrogates included
    st.text("😀👩‍⚕️𝔾𐍈ﷺ̈ÄßΣ木 ", max_size=120),
    st.lists(
        st.sampled_from([*FORBIDDEN, *map(str.upper, FORBIDDEN), "scan", "ab"]), max_size=9
    ).map(" ".join),
)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def summaries(draw: st.DrawFn) -> StudySummary:
    """A study of which several models say something, in names that nobody has checked."""

    def label() -> LabelSummary:
        words = {"display": draw(TEXTS), "probability": draw(NUMBERS)}
        return GLIOMA.model_copy(update=words)

    def result(number: int) -> ResultSummary:
        kind = draw(st.sampled_from([o for o in Outcome if o is not Outcome.NOT_ANALYSED]))
        area = MeasurementSummary(
            key="a", display=draw(TEXTS), value=draw(NUMBERS), unit=draw(TEXTS), slice_number=1
        )
        changes = {
            "model_id": f"m{number}",
            "outcome": kind,
            "finding": label() if kind is Outcome.FINDING else None,
            "probabilities": tuple(label() for _ in range(draw(st.integers(0, 3)))),
            "reasons": (ReasonSummary(kind="x", sentence="It is not certain enough."),),
            "model_title": draw(TEXTS),
            "structure": draw(TEXTS),
            "task": "segmentation" if kind is Outcome.MEASURED else "classification",
            "measurements": (area,) if kind is Outcome.MEASURED else (),
            "outlined": draw(st.integers(0, 2)),
            "follows": "m0" if kind is Outcome.MEASURED and draw(st.booleans()) else "",
        }
        return RESULT.model_copy(update=changes)

    results = tuple(result(number) for number in range(draw(st.integers(0, 4))))
    return FINDING.model_copy(update={"results": results, "outcome": study_outcome(results)})


@settings(max_examples=400, deadline=None)
@given(
    st.lists(summaries(), min_size=1, max_size=3),
    st.lists(st.text(st.characters(), max_size=40), max_size=4),
    st.sampled_from([None, "2026", "2026-03", "2026-03-03T10:00:00Z"]),
    st.sampled_from(State),
    st.booleans(),
)
def test_every_summary_is_short_and_no_card_says_a_forbidden_word(
    studies: list[StudySummary],
    modalities: list[str],
    started: str | None,
    state: State,
    demo: bool,
) -> None:
    study = replace(STUDY, modalities=tuple(modalities), started_text=started, started=None)
    there = replace(site(), demo=demo)
    for found in studies:
        ahead = len(modalities)
        made = study_card(KnownStudy(study, record(state, found), ahead), there)
        if made is None:
            continue
        said = made["summary"]
        assert 0 < len(said) < 140
        assert len(said.encode("utf-16-le")) // 2 < 140
        assert said.isprintable()
        assert "<" not in said
        stated = "suggests" in said or "outlined" in said or "found none" in said
        assert said.endswith("not reviewed by a person") == stated
        texts = [said, made["detail"], *(link["label"] for link in made.get("links", ()))]
        assert [w for w in FORBIDDEN if w in " ".join(texts).lower()] == []


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400))
def test_a_cut_summary_is_the_beginning_of_the_text(text: str) -> None:
    cut = summary(text)
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='https://evil.example'>x</a>",
    "<!-- comment -->",
    "<![CDATA[x]]>",
    "<?php x ?>",
    "</td></table><h1>x",
    "<b>bold</b>",
    "<svg/onload=alert(1)>",
    "<iframe src=//evil.example>",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "&#x3c;b&#x3e;",
    "&amp;lt;",
    "[x](javascript:alert(1))",
    "[x](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "[x][1]\n\n[1]: https://evil.example",
    "[1]: https://evil.example",
    "<https://evil.example>",
    "<me@evil.example>",
    "https://evil.example",
    "http://evil.example/path?q=1",
    "ftp://evil.example",
    "www.evil.example",
    "WWW.EVIL.EXAMPLE",
    "wWw.evil.example/x",
    "evil.example",
    "me@evil.example",
    "mailto:me@evil.example",
    "xmpp:me@evil.example",
    "# heading",
    "### x",
    "> quote",
    "- list",
    "* list",
    "+ list",
    "1. list",
    "1) list",
    "---",
    "***",
    "===",
    "```\ncode\n```",
    "~~~\ncode",
    "`code`",
    "    indented",
    "\tindented",
    "**bold**",
    "__bold__",
    "*em*",
    "_em_",
    "~~gone~~",
    "| a | b |",
    "|---|---|",
    "a | b",
    "- [x] done",
    "\\",
    "\\\\`",
    "\\[x\\](https://evil.example)",
    "a\\\nb",
    "a  \nb",
    "line\n\n# heading",
    "line\r\n- list",
    "line\u2028# heading",
    "line\u2029<b>",
    "\u202egnp.exe",
    "\u200b# x",
    "\ufeff# x",
    "\x00\x01<b>",
    "$$x$$",
    ":smile: @user #1",
    "[^1]\n\n[^1]: https://evil.example",
    "{{7*7}} {% x %} ${x}",
    "javascript:alert(1)",
    "data:text/html,<script>",
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_or_a_link(text: str) -> None:
    """Rendered as the public sandbox does: GitHub Markdown with raw HTML on."""
    label = GLIOMA.model_copy(update={"display": text, "key": "x"})
    reason = ReasonSummary(kind="x", sentence=text)
    result = RESULT.model_copy(
        update={
            "finding": label,
            "probabilities": (label,),
            "model_title": text,
            "model_version": text,
            "reasons": (reason,),
        }
    )
    for found in (FINDING, NO_FINDING, INDETERMINATE):
        changes = {"outcome": found.results[0].outcome}
        if found is not FINDING:
            changes["finding"] = None
        several = found.model_copy(
            update={"results": (result.model_copy(update=changes),), "not_analysed": (reason,)}
        )
        made = study_card(KnownStudy(STUDY, record(State.FINAL, several)), site())
        assert made is not None
        kinds, shown = rendered(made["detail"])
        assert kinds <= HARMLESS
        assert AUTOLINK.search(shown) is None
        assert all(link["url"].startswith(f"{ehr.BASE_URL}/") for link in made["links"])
        assert "\n" not in json.dumps([made["summary"], made["links"]])
        assert "<" not in made["summary"] + made["links"][0]["label"]


HARMLESS = {"paragraph", "text", "strong", "inline", "bullet_list", "list_item", "softbreak"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}


AUTOLINK = re.compile(
    r"(?:https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE | re.ASCII
)
"""What remark-gfm makes a link of, in the text that is left when escapes are resolved."""


def rendered(markdown: str) -> tuple[set[str], str]:
    """The kinds of element that a GFM renderer makes of it, and the text that it shows."""
    tokens = RENDERER.parse(markdown)
    flat = [token for outer in tokens for token in (outer, *(outer.children or []))]
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in flat}
    return kinds, " ".join(token.content for token in flat if token.type == "text")


def test_the_test_itself_sees_links_and_markup() -> None:
    assert "html_inline" in rendered("a <b>x</b>")[0]
    assert "link" in rendered("[x](https://evil.example)")[0]
    assert all(AUTOLINK.search(t) for t in ("www.evil.example", "a@b.c", "x http://evil/"))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_reader_sees_the_text_as_it_is(text: str) -> None:
    """Escapes vanish when rendered: what is left is the text on one line."""
    reason = ReasonSummary(kind="x", sentence=f"a {text} z")
    found = NOT_ANALYSED.model_copy(update={"not_analysed": (reason,)})
    made = study_card(KnownStudy(STUDY, record(State.ABSTAINED, found)), site())
    assert made is not None
    inline = [t for t in RENDERER.parse(made["detail"]) if t.type == "inline"]
    shown = ["".join(c.content for c in (t.children or [])).replace("\u2060", "") for t in inline]
    assert one_line(f"a {text} z").replace("\u2060", "") in [s.replace("\n", "") for s in shown]


def test_a_summary_of_markup_is_text() -> None:
    assert plain("<b>x</b>\n\x00y") == "‹b›x‹/b› y"


def test_why_another_model_was_not_run_is_not_said_of_the_one_that_was() -> None:
    reason = ReasonSummary(kind="modality", sentence="The model reads CR or DX only.")
    found = INDETERMINATE.model_copy(update={"not_analysed": (reason,)})
    made = study_card(KnownStudy(STUDY, record(State.ABSTAINED, found)), site())
    assert made is not None
    assert "\n\nOther models were not run:\n\n- The model reads CR or DX" in made["detail"]
    made = study_card(
        KnownStudy(STUDY, record(State.ABSTAINED, NOT_ANALYSED)), site(show_not_analysed=True)
    )
    assert made is not None
    assert "Other models" not in made["detail"]
