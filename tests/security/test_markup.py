"""No text from elsewhere means anything where it is shown: the whole corpus, way by way.

`test_hostile_text` goes the whole way over real peers; here each way is tried alone, also with the
texts that would need a broken model package or setting to get there.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from pydantic import BaseModel
from rich.console import Console

from cds_service.cards import CardSite, study_card
from cds_service.cli import analyse, demo
from cds_service.cli.output import add_row, folding_table, plainly, printable
from cds_service.conformance.catalogue import CHECKS
from cds_service.conformance.findings import Finding, Verdict
from cds_service.conformance.report import as_json, as_junit
from cds_service.errors import UnsafeSettings
from cds_service.explanation import ModelNotes, page_of
from cds_service.known_study import KnownStudy
from cds_service.logs import JsonLines
from cds_service.security.links import Links
from cds_service.settings import HookSettings, load
from cds_service.smart.errors import LaunchError
from cds_service.smart.pages import LaunchPages
from cds_service.smart.state import Departure
from cds_service.summary import StudySummary
from cds_service.viewer.render import Pages
from fhir_mapping.banner import PatientBanner, patient_banner
from fhir_mapping.bundle import report_bundle
from fhir_mapping.context import ModelFacts
from fhir_mapping.outcome import outcome
from inference.analysis import Analysis, Outcome
from tests.doubles import ehr, explained, hooking
from tests.doubles.examined import examination
from tests.reference.cards.states import CASES, STUDY
from tests.reference.hostile_text import MARK, PAYLOADS
from tests.unit.cds_service.cli.test_tables import walk_row
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    FULL_CONTEXT,
    FULL_REF,
    MEASURED,
    RESULT,
    analysis_of,
)

payload = pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS)
CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

KEPT = ("outcome", "task", "kind", "unit", "precision", "key")
"""What is one of a few words, or never shown."""


def filled(value: Any, text: str) -> Any:
    """A copy in which every free text is `text`; numbers and words of a fixed choice stay."""
    if isinstance(value, Outcome | bytes) or value is None:
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(filled(each, text) for each in value)
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if name not in KEPT]
        return value.model_copy(update={n: filled(getattr(value, n), text) for n in names})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in KEPT]
        return replace(value, **{name: filled(getattr(value, name), text) for name in names})
    return value


# --- cards

GFM = MarkdownIt("gfm-like", {"html": True, "linkify": False})
AUTOLINK = re.compile(
    r"(?:https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE | re.ASCII
)
HARMLESS = {"paragraph", "text", "strong", "inline", "bullet_list", "list_item", "softbreak"}
HARMLESS |= {"table", "thead", "tbody", "tr", "th", "td"}
SITE = Links(["a-secret-of-at-least-32-characters"], ehr.BASE_URL, 900)
ANSWERED = [name for name, case in CASES.items() if case.record.summary]


@payload
def test_a_card_shows_it_as_text(text: str) -> None:
    """Rendered as the public sandbox does: GitHub Markdown with raw HTML on."""
    site = CardSite(text, HookSettings(), SITE, lambda: ehr.NOW_S)
    study = replace(STUDY, modalities=(text,), started_text=text)
    for name in ANSWERED:
        record = CASES[name].record
        found = filled(StudySummary.from_json(record.summary), text)
        card = study_card(KnownStudy(study, replace(record, summary=found.to_json())), site)
        assert card is not None
        check_card(card)


def check_card(card: dict[str, Any]) -> None:
    tokens = GFM.parse(card["detail"])
    flat = [token for outer in tokens for token in (outer, *(outer.children or []))]
    assert {t.type.removesuffix("_open").removesuffix("_close") for t in flat} <= HARMLESS
    assert AUTOLINK.search(" ".join(t.content for t in flat if t.type == "text")) is None
    labels = [link["label"] for link in card["links"]] if "links" in card else []
    for line in (card["summary"], card["source"]["label"], *labels):
        assert CONTROLS.search(line) is None
        assert not set("<>\n") & set(line)
    assert 0 < len(card["summary"].encode("utf-16-le")) // 2 < 140
    assert CONTROLS.search(card["detail"]) is None
    for link in card.get("links", ()):
        assert re.fullmatch(rf"{ehr.BASE_URL}/[A-Za-z0-9/_.~%-]+", link["url"])
        assert "/../" not in link["url"]


# --- what is written into the EHR

NARRATIVE = {"div", "p", "b", "table", "tbody", "tr", "td", "a"}


@payload
def test_what_is_written_shows_it_as_text(text: str) -> None:
    facts = ModelFacts(developer=text, intended_use=text, limits=(text,))
    context = replace(
        FULL_CONTEXT, organisation=text, software_version=text, models={RESULT.model_id: facts}
    )
    said: dict[str, Any] = {"model_title": text, "model_version": text, "precision_reason": text}
    results = (
        replace(RESULT, finding=replace(RESULT.probabilities[0], display=text), **said),
        replace(ABSTAINED, gates=(replace(ABSTAINED.gates[1], sentence=text),), series_uid="1.9"),
        replace(MEASURED, structure=text, **said),
    )
    bundle: Any = report_bundle(analysis_of(*results), FULL_REF, context)
    written = json.dumps(bundle, ensure_ascii=False)
    assert written.isprintable()
    for entry in bundle["entry"]:
        check_narrative(entry["resource"]["text"]["div"])


def check_narrative(div: str) -> None:
    """XHTML of the elements that the templates use; no attribute but the address of the page."""
    for element in ElementTree.fromstring(div).iter():  # noqa: S314 - our own
        assert element.tag.rpartition("}")[2] in NARRATIVE
        assert set(element.attrib) <= {"href"}
        assert element.attrib.get("href", FULL_CONTEXT.explanation_url).startswith("https://ai.")


@payload
def test_an_error_shows_it_as_text(text: str) -> None:
    told = outcome(text, "processing")
    assert json.dumps(told, ensure_ascii=False).isprintable()
    check_narrative(told["text"]["div"])


# --- pages


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and where they lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[str]]] = []
        self.addresses: list[str] = []
        self.extras: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, sorted(name for name, _ in attrs)))
        named = ("src", "href", "action", "srcset", "style", "formaction")
        self.addresses += [value or "" for name, value in attrs if name in named]

    def handle_comment(self, data: str) -> None:
        self.extras.append(data)

    def handle_pi(self, data: str) -> None:
        self.extras.append(data)


PAGES, LAUNCH_PAGES = Pages("/root"), LaunchPages("/root")
ANALYSES: dict[str, Callable[[], Analysis]] = {
    "finding": explained.finding,
    "indeterminate": explained.indeterminate,
    "measured": explained.measured,
    "undecided": explained.undecided,
    "no finding": explained.no_finding,
    "not analysed": explained.not_analysed,
}


def shown(kind: Callable[[], Analysis], text: str) -> str:
    notes = filled(explained.NOTES["brain-mri-tumour"], text)
    assert isinstance(notes, ModelNotes)
    page = page_of(filled(kind(), text), explained.ANALYSED_MS, {text: notes})
    return PAGES.explanation(page, "T" * 122)


@payload
@pytest.mark.parametrize("name", ANALYSES)
def test_a_page_shows_it_as_text(name: str, text: str) -> None:
    """A page of it has the elements, attributes and addresses of a page of a kind word."""
    page, kind = (Skeleton(shown(ANALYSES[name], each)) for each in (text, "word"))
    assert page.elements == kind.elements
    assert page.extras == []
    assert all(address.startswith(("/root/", "#")) for address in page.addresses)


def _banner(said: str) -> PatientBanner:
    """Of a Patient that says this in all that a banner shows, written out and in parts."""
    parts = {"family": said, "given": [said, said], "prefix": [said], "use": "usual"}
    name = [{"use": "official", "text": said} if said else {}, parts]
    read = patient_banner({"name": name, "birthDate": said, "gender": said})
    assert (read.born, read.gender) == ("", "")
    return PatientBanner(read.name, said, said)


@payload
def test_a_page_of_a_launch_shows_it_as_text(text: str) -> None:
    def pages(said: str) -> list[Skeleton]:
        made = (
            LAUNCH_PAGES.leave(Departure(said, said, said), "https://ehr.test/login"),
            LAUNCH_PAGES.arrive(said, said),
            LAUNCH_PAGES.choose([(said, "/root/e/x")]),
            LAUNCH_PAGES.ended(LaunchError(said)),
            LAUNCH_PAGES.under(_banner(said), [(said, "/root/e/x")]),
            LAUNCH_PAGES.under(_banner(said), [(said, "/root/e/x"), (said, "/root/e/y")]),
        )
        return [Skeleton(each) for each in made]

    for page, kind in zip(pages(text), pages("word"), strict=True):
        assert page.elements == kind.elements
        assert page.addresses == kind.addresses


CARD_ELEMENTS = {
    "p",
    "h1",
    "h2",
    "h3",
    "ul",
    "ol",
    "li",
    "blockquote",
    "code",
    "pre",
    "em",
    "strong",
}
CARD_ELEMENTS |= {"table", "thead", "tbody", "tr", "th", "td", "a", "br", "hr"}


@payload
def test_a_model_card_runs_nothing_and_fetches_nothing(text: str) -> None:
    """Its Markdown may mean something, as it is the package's own page; it leads to the web."""
    page = Skeleton(PAGES.card(f"# Card\n\n{text}\n\nend\n", "/models/a/1", ["plot.png"]))
    kind = Skeleton(PAGES.card("# Card\n\nword\n\nend\n", "/models/a/1", ["plot.png"]))
    own = {tag for tag, _ in kind.elements}
    assert {tag for tag, _ in page.elements} <= own | CARD_ELEMENTS
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    leading = ("/root/", "#", "http://", "https://")
    assert all(address.startswith(leading) for address in page.addresses)
    assert page.extras == []


# --- the web's answers

PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "hook": lambda text: hooking.patient_view(hook=text),
    "hookInstance": lambda text: hooking.patient_view(hookInstance=text),
    "fhirServer": lambda text: hooking.patient_view(fhirServer=text),
    "context": lambda text: hooking.patient_view(context={"userId": text, "patientId": text}),
    "a name": lambda text: hooking.patient_view(**{text: text}),
    "prefetch": lambda text: hooking.patient_view(prefetch={text: text, "patient": text}),
    "study": lambda text: hooking.patient_view(
        prefetch={
            "patient": hooking.patient(),
            "studies": hooking.bundle(
                hooking.imaging_study(description=text, status=text, modality=[{"code": text}])
            ),
        }
    ),
}


@payload
def test_no_answer_repeats_it(text: str) -> None:
    site = hooking.site()
    client = site.client()
    for make in PLACES.values():
        headers = site.ehr.bearer(hooking.PATIENT_VIEW)
        answer = client.post(
            hooking.PATIENT_VIEW,
            data=json.dumps(make(text)),
            headers={**headers, "Content-Type": "application/json"},
        )
        assert answer.status_code < 500
        assert MARK not in answer.text
        assert MARK not in str(answer.headers)
    assert MARK not in client.get("/metrics").text


# --- logs, terminals, reports

WORD = re.compile(r"[A-Za-z0-9_.,:/+\- ]{0,400}")


@payload
def test_a_log_is_one_object_a_line_without_it(text: str) -> None:
    for name in ("cds_service.x", "urllib3.connectionpool"):
        record = logging.LogRecord(name, logging.ERROR, text, 1, "it failed: %s", (text,), None)
        record.__dict__.update(study=text, kind=text, steps_ms={text: 1.0}, worker=text)
        record.exc_info = (ValueError, ValueError(text), None)
        line = JsonLines().format(record)
        assert "\n" not in line
        assert line.isascii()
        assert json.loads(line)["level"] == "ERROR"
        assert MARK not in line or name.startswith("cds_service")
        assert MARK not in line or WORD.fullmatch(text), "a word of ours may be one of a peer's"


def drawn(*shown: Any) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    for each in shown:
        console.print(each)
    said = console.file
    assert isinstance(said, io.StringIO)
    return said.getvalue()


@payload
def test_a_terminal_shows_it_as_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = folding_table("a", "b", title=text, caption=text)
    add_row(table, text, text)
    told = drawn(
        table, demo._table(demo.Walk((walk_row(patient=text, study=text),))), plainly(text)
    )
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    monkeypatch.setattr(analyse, "console", lambda: console)
    for make in ANALYSES.values():
        analyse._print(filled(make(), text))
    assert isinstance(console.file, io.StringIO)
    for said in (told, console.file.getvalue()):
        left = said.replace("\n", "").replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert CONTROLS.search(re.sub(r"\x1b\[[0-9;]*m", "", left)) is None
        assert "evil.test\x1b" not in said
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl") for c in printable(text))


@payload
def test_a_report_of_another_service_is_xml_and_json(text: str) -> None:
    check = CHECKS[0]
    findings = [Finding(check, Verdict.BROKEN, (text,)), Finding(check, Verdict.KEPT, (text,))]
    exam = examination(hooking.site())
    suite = ElementTree.fromstring(as_junit(exam, findings))[0]  # noqa: S314 - our own
    assert {element.tag for element in suite.iter()} <= {
        *("testsuite", "testcase", "failure", "system-out", "skipped"),
    }
    json.loads(json.dumps(as_json(exam, findings)))


@payload
def test_a_wrong_setting_is_not_quoted(text: str, tmp_path: Path) -> None:
    config = tmp_path / "scanhook.toml"
    written = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    config.write_text(f"environment = {written}\n", encoding="utf-8")
    with pytest.raises(UnsafeSettings) as refused:
        load(config)
    assert MARK not in str(refused.value)
