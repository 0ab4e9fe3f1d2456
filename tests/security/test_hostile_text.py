"""Text that would run, link, break a line or turn round wherever it is shown: the whole way.

The corpus of `tests.reference.hostile_text` stands in every text of the chart, of the archive's
lists and of the images; nothing that is shown, written, logged or kept has it, not even escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
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
from tests.reference.hostile_text import MARK, PAYLOADS

pytestmark = pytest.mark.peer

REFUSED = "half a character"
"""JSON with it is refused as a whole, before anything is read (`strict_json`)."""

GROUPS = 12
HOSTILE = {
    f"group {number}": tuple(text for name, text in PAYLOADS.items() if name != REFUSED)[
        number::GROUPS
    ]
    for number in range(GROUPS)
}
"""The whole corpus over a few studies: each takes its texts in turn, place by place."""

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


def hostile_file(made: Dataset, texts: Iterator[str]) -> bytes:
    """The instance with one of `texts` in each of its texts, written as no DICOM writer would."""
    made.SpecificCharacterSet = "ISO_IR 192"
    planted = {}
    for number, keyword in enumerate(DICOM_TEXTS):
        written = next(texts).encode()[:60]
        place = f"{PLACE}{number}".ljust(len(written), "X")
        setattr(made, keyword, place)
        planted[place.encode()] = written.ljust(len(place), b" ")
    file = encoded(made)
    for place_bytes, written in planted.items():
        file = file.replace(place_bytes, written)
    return file


def held(study: str, texts: Iterator[str]) -> list[Held]:
    """A series for the model and one for nobody, described by `texts` in lists and files."""
    made = drawn_series(study)
    files = {str(each.SOPInstanceUID): hostile_file(each, texts) for each in made}

    def said_too() -> dict[str, Any]:
        return {
            "0008103E": {"vr": "LO", "Value": [next(texts)]},
            "00181030": {"vr": "LO", "Value": [next(texts)]},
            "00200011": {"vr": "IS", "Value": [next(texts)]},
        }

    other = {**said_too(), "00180015": {"vr": "CS", "Value": [next(texts)]}}
    return [
        Held(f"{study}.1", files, says=said_too()),
        Held.raw(f"{study}.2", b"", modality=next(texts), says=other),
    ]


def hostile_chart(patient: str, study: str, texts: Iterator[str]) -> dict[str, Any]:
    """A chart that has one of `texts` wherever a string may stand."""
    return chart(
        patient,
        study,
        study={
            "description": next(texts),
            "modality": [
                {"code": "MR", "display": next(texts)},
                {"code": next(texts), "display": next(texts)},
            ],
            "note": [{"text": next(texts)}],
            "procedureCode": [{"text": next(texts)}],
            "numberOfSeries": next(texts),
            "encounter": {"reference": next(texts), "display": next(texts)},
            "basedOn": [{"reference": f"ServiceRequest/{next(texts)}", "display": next(texts)}],
            "series": [
                {"uid": f"{study}.1", "description": next(texts), "modality": {"code": next(texts)}}
            ],
            "text": {"status": "generated", "div": next(texts)},
        },
        patient={
            "name": [{"family": next(texts), "given": [next(texts)], "text": next(texts)}],
            "address": [{"line": [next(texts)]}],
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
            for number, (name, texts) in enumerate(HOSTILE.items()):
                study, patient = uid("hostile", name), f"hostile-{number}"
                archive.studies[study] = held(study, cycle(texts))
                before = len(fhir.seen)
                (card,) = site.ended(patient, hostile_chart(patient, study, cycle(texts)))
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
