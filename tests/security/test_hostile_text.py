"""Text that would run, link, break a line or turn round wherever it is shown: the whole way.

It stands in every text of the chart, of the archive's lists and of the images; nothing that is
shown, written, logged or kept has it, not even escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from pydicom.dataset import Dataset

from tests.doubles.faulty_http import FaultyServer
from tests.doubles.planted import files_below
from tests.doubles.relay import Relay
from tests.doubles.study_archive import Held, StudyArchive
from tests.doubles.toy_site import chart, drawn_series, toy_site
from tests.peers.sekmet import Sekmet
from tests.peers.site import said
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import encoded, uid

pytestmark = pytest.mark.peer

MARK = "QXZJVKHOSTILE"
HOSTILE = {
    "script": f"<script>{MARK}</script>",
    "attribute": f'"><img src=x onerror={MARK}>',
    "link": f"[{MARK}](javascript:alert)",
    "picture": f"![{MARK}](http://evil.test/a)",
    "bare link": f"http://{MARK}.evil.test",
    "lines": f"{MARK}\r\nSet-Cookie: a=b\r\n\r\n# {MARK}",
    "terminal": f"\x1b[31m{MARK}\x1b]0;a\x07",
    "turned round": f"\u202e{MARK}\u2066",
    "null": f"a\0{MARK}\0",
    "template": f"{{{{7*7}}}}${{{MARK}}}%({MARK})s",
    "json": f'","{MARK}":{{"a":"',
    "table": f"|{MARK}|\n|-|-|\n~~~",
}
DICOM_TEXTS = (
    "PatientName",
    "PatientAddress",
    "InstitutionName",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "ImageComments",
    "Manufacturer",
)
PLACE = "PLACEHOLDER"

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
XHTML = {"div", "p", "b", "i", "em", "strong", "ul", "ol", "li", "table", "thead", "tbody"}
XHTML |= {"tr", "th", "td", "span", "br", "a", "h1", "h2", "h3", "code", "dl", "dt", "dd"}


@dataclass(frozen=True)
class Shown:
    """What one hostile text led to."""

    card: dict[str, Any]
    page: str
    posted: list[dict[str, Any]]
    raw: bytes


@dataclass(frozen=True)
class Everything:
    """What all of them led to."""

    shown: Mapping[str, Shown]
    logs: str
    files: Mapping[str, bytes]


def hostile_file(made: Dataset, text: str) -> bytes:
    """The instance with `text` in its texts, written as no DICOM writer would."""
    made.SpecificCharacterSet = "ISO_IR 192"
    replaced = text.encode()
    place = PLACE.ljust(len(replaced), "X")
    for keyword in DICOM_TEXTS:
        setattr(made, keyword, place[:60])
    return encoded(made).replace(place[:60].encode(), replaced[:60])


def held(study: str, text: str) -> list[Held]:
    """A series for the model and one for nobody, both described by `text` in lists and files."""
    made = drawn_series(study)
    files = {str(each.SOPInstanceUID): hostile_file(each, text) for each in made}
    said_too = {
        "0008103E": {"vr": "LO", "Value": [text]},
        "00181030": {"vr": "LO", "Value": [text]},
        "00200011": {"vr": "IS", "Value": [text]},
    }
    other = {**said_too, "00180015": {"vr": "CS", "Value": [text]}}
    return [
        Held(f"{study}.1", files, says=said_too),
        Held.raw(f"{study}.2", b"", modality=text, says=other),
    ]


def hostile_chart(patient: str, study: str, text: str) -> dict[str, Any]:
    """A chart that has `text` wherever a string may stand."""
    return chart(
        patient,
        study,
        study={
            "description": text,
            "modality": [{"code": "MR", "display": text}, {"code": text, "display": text}],
            "note": [{"text": text}],
            "procedureCode": [{"text": text}],
            "numberOfSeries": text,
            "encounter": {"reference": text, "display": text},
            "basedOn": [{"reference": f"ServiceRequest/{text}", "display": text}],
            "series": [{"uid": f"{study}.1", "description": text, "modality": {"code": text}}],
            "text": {"status": "generated", "div": text},
        },
        patient={
            "name": [{"family": text, "given": [text], "text": text}],
            "address": [{"line": [text]}],
        },
    )


@pytest.fixture(scope="module")
def everything(
    valkey_server: Valkey, sekmet: Sekmet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everything]:
    archive = StudyArchive()
    with FaultyServer(archive) as server, Relay(sekmet.base_url) as fhir:
        site = toy_site(
            tmp_path_factory.mktemp("site"),
            redis_url=valkey_server.url,
            archive_url=f"{server.base_url}/dicom-web",
            fhir_base=fhir.base_url,
            settings='log_level = "DEBUG"',
        )
        shown = {}
        try:
            site.start()
            for number, (name, text) in enumerate(HOSTILE.items()):
                study, patient = uid("hostile", name), f"hostile-{number}"
                archive.studies[study] = held(study, text)
                before = len(fhir.seen)
                (card,) = site.ended(patient, hostile_chart(patient, study, text))
                link = next(link["url"] for link in card["links"] if "/e/" in link["url"])
                bodies = [seen.body for seen in fhir.seen[before:] if seen.method == "POST"]
                shown[name] = Shown(
                    card,
                    requests.get(link, timeout=10).text,
                    [json.loads(body) for body in bodies],
                    b"".join(bodies),
                )
            yield Everything(shown, site.logs(), files_below(site.folder / "state"))
        finally:
            site.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_has_nothing_of_it(name: str, everything: Everything) -> None:
    card = everything.shown[name].card
    assert said(card)["state"] == "final"
    assert "MR of 2026-11-20" in card["summary"], "what is a code beside it is still read"
    assert MARK not in json.dumps(card)
    assert CONTROLS.search(card["summary"] + card["detail"]) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_has_nothing_of_it(name: str, everything: Everything) -> None:
    page = everything.shown[name].page
    assert "glow" in page
    assert MARK not in page
    assert CONTROLS.search(page) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_written_into_the_ehr_has_nothing_of_it(name: str, everything: Everything) -> None:
    """Not even escaped: every text there is ours or the model's."""
    shown = everything.shown[name]
    (bundle,) = shown.posted
    assert MARK.encode() not in shown.raw
    resources = [entry["resource"] for entry in bundle["entry"]]
    narratives = [r["text"]["div"] for r in resources if "text" in r]
    assert narratives
    for div in narratives:
        tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(div).iter()}  # noqa: S314 -- our own
        assert tags <= XHTML, tags


def test_every_line_of_the_log_is_one_object_without_it(everything: Everything) -> None:
    notice = "listening on "  # for the person who started it, before the first call
    lines = [line for line in everything.logs.splitlines() if not line.startswith(notice)]
    assert len(lines) > len(HOSTILE)
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert MARK.lower() not in everything.logs.lower()
    assert CONTROLS.search(everything.logs) is None


def test_nothing_of_it_is_kept(everything: Everything) -> None:
    assert any(path.endswith("page.json") for path in everything.files)
    kept = {path for path, data in everything.files.items() if MARK.encode() in data}
    assert kept == set()
    assert MARK not in "".join(everything.files)
