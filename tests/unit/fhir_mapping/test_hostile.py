"""Whatever a server or an image says: an answer or a MappingError, and nothing unescaped."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.bundle import report_bundle
from fhir_mapping.context import ModelFacts
from fhir_mapping.errors import MappingError
from fhir_mapping.searchset import endpoints_in, resources_in
from fhir_mapping.study import (
    content_keys,
    endpoint_references,
    patient_ref,
    study_ref,
    unusable_ref,
)
from fhir_mapping.text import markup, plain
from inference.analysis import GateResult
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    FULL_CONTEXT,
    FULL_REF,
    GLIOMA,
    NO_TUMOUR,
    RESULT,
    analysis_of,
)
from tests.unit.fhir_mapping.test_study import (
    ACSN,
    ARCHIVES,
    FHIR,
    PACS,
    PATIENT,
    endpoint,
    imaging_study,
)

T = TypeVar("T")

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "](javascript:alert(1))",
    "&lt;b&gt;",
    "<![CDATA[x]]>",
    "]]>",
    "<!-- x",
    "&#0;",
    "\x00\x01\x1b[31m",
    "a\r\nSet-Cookie: x",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "\ufeff\u200b",
    "\ud800",
    "\uffff",
    "x" * 200_000,
    "Ω" * 70_000,
    "../../etc/passwd",
    "%s%n{0}{{7*7}}${7*7}",
    "\u2028\u2029",
    "",
    " ",
]
HOSTILE = st.sampled_from(PAYLOADS) | st.text(
    st.characters(codec=None, exclude_categories=[]), max_size=40
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=8,
)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)

STUDY = imaging_study(
    endpoint=[{"reference": "Endpoint/e1"}],
    basedOn=[{"reference": "ServiceRequest/o1", "identifier": {"type": ACSN, "value": "A1"}}],
    encounter={"reference": "Encounter/e1"},
    contained=[endpoint(PACS)],
)
PATIENT_RESOURCE = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:x", "value": "MRN-1"}],
}


def paths(node: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in parsed JSON."""
    inside = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    found = [here] if here else []
    return found + [path for key, child in inside for path in paths(child, (*here, key))]


def planted(node: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy of `node` with `value` at `path`."""
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = planted(copy[path[0]], path[1:], value)
    return copy


def answered(read: Callable[[], T]) -> T | None:
    """What `read` returns, or ``None`` for a MappingError, the only error there may be."""
    try:
        return read()
    except MappingError as error:
        sentence = error.sentence
    assert re.fullmatch(r"[A-Z][A-Za-z',()\-/ .:]+\.", sentence)
    return None


def tried(study: object, found: object) -> None:
    """Read a study in every way; only clean values may come out."""
    endpoints = {"Endpoint/e1": found}
    where: Any = {"patient": PATIENT, "archives": ARCHIVES, "fhir_base": FHIR}
    ref = answered(lambda: study_ref(study, endpoints=endpoints, **where))
    if ref is not None:
        assert ref.archive in ARCHIVES.bases
        assert ref.study_uid.replace(".", "").isdigit() or (
            ref.study_uid == "" and ref.accession_number and ref.imaging_study_reference
        )
        kept = [ref.accession_number, ref.modalities, ref.started_text]
        said = json.dumps(kept, ensure_ascii=False)
        assert said.isprintable()
        assert len(said) < 2000
        content_keys(ref)
    unusable_ref(study, PATIENT)
    for item in endpoint_references(study, FHIR):
        assert item.startswith("Endpoint/")
        assert len(item) < 80
    resources_in(study, "ImagingStudy")
    endpoints_in(study)


@QUICK
@given(path=st.sampled_from(paths(STUDY)), value=JSON)
def test_anything_anywhere_in_a_study(path: tuple[Any, ...], value: object) -> None:
    tried(planted(STUDY, path, value), endpoint(PACS))


@QUICK
@given(path=st.sampled_from(paths(endpoint(PACS))), value=JSON)
def test_anything_anywhere_in_an_endpoint(path: tuple[Any, ...], value: object) -> None:
    tried(STUDY, planted(endpoint(PACS), path, value))


@QUICK
@given(path=st.sampled_from(paths(PATIENT_RESOURCE)), value=JSON)
def test_anything_anywhere_in_a_patient(path: tuple[Any, ...], value: object) -> None:
    patient = planted(PATIENT_RESOURCE, path, value)
    ref = answered(lambda: patient_ref("p1", patient))
    if ref is not None:
        assert ref.reference == "Patient/p1"
        assert all(value.isprintable() and 0 < len(value) <= 256 for value in ref.identifiers)


@QUICK
@given(body=JSON)
def test_anything_instead_of_a_resource(body: object) -> None:
    tried(body, body)
    with pytest.raises(MappingError):
        patient_ref("p1", body or {})


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_every_payload_at_every_place(payload: str) -> None:
    for path in paths(STUDY):
        tried(planted(STUDY, path, payload), endpoint(payload))


@QUICK
@given(address=HOSTILE, prefix=st.sampled_from(["", PACS, "https://", f"{PACS}/studies/"]))
def test_any_address_selects_an_entry_or_is_refused(address: str, prefix: str) -> None:
    tried(STUDY, endpoint(prefix + address))
    answered(lambda: ArchiveAddresses({"a": prefix + address}))


def check_markup(div: str) -> None:
    """XHTML of the elements that the templates use, and no attribute but the link's."""
    root = ElementTree.fromstring(div)  # noqa: S314 -- our own output is what is tested
    names = {element.tag.partition("}")[2] for element in root.iter()}
    assert names <= {"div", "p", "b", "table", "tbody", "tr", "td", "a"}
    for element in root.iter():
        if element.attrib:
            assert element.attrib == {"href": FULL_CONTEXT.explanation_url}


@QUICK
@given(text=HOSTILE)
def test_whatever_a_model_or_a_site_says_is_text_in_valid_resources(text: str) -> None:
    label = replace(GLIOMA, display=text)
    gate = GateResult("quality", False, "low", text)
    shown: Any = {"model_title": text, "precision": text, "model_version": text}
    finding = replace(RESULT, finding=label, probabilities=(label, NO_TUMOUR), **shown)
    abstained = replace(ABSTAINED, gates=(gate,), series_uid="1.9", model_title=text)
    facts = ModelFacts(developer=text, intended_use=text, limits=(text,))
    context = replace(
        FULL_CONTEXT,
        organisation=text,
        software_version=text,
        models={RESULT.model_id: facts},
    )
    bundle: Any = report_bundle(analysis_of(finding, abstained), FULL_REF, context)
    for entry in bundle["entry"]:
        check_markup(entry["resource"]["text"]["div"])
    written = json.dumps(bundle, ensure_ascii=False)
    assert written.isprintable()
    assert len(written) < 60_000


@QUICK
@given(text=HOSTILE, limit=st.integers(2, 600))
def test_plain_text_is_short_visible_and_stable(text: str, limit: int) -> None:
    clean = plain(text, limit)
    assert len(clean) <= limit
    assert clean.isprintable()
    assert plain(clean, limit) == clean
    assert not any(unicodedata.category(character) == "Cf" for character in clean)
    assert not set('<>"') & set(markup(text, limit))
