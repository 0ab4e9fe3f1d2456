"""Analysis -> transaction Bundle: what is written, under which names, and what never is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from fhir_mapping.bundle import report_bundle, report_items, require_same_study, require_unique
from fhir_mapping.context import ReportContext, WriteForm
from fhir_mapping.errors import (
    Contradiction,
    InvalidResource,
    Malformed,
    NotOurs,
    PatientNotKnown,
)
from fhir_mapping.existing import standing
from fhir_mapping.forms import transaction
from fhir_mapping.identity import observation_identity, report_identity
from fhir_mapping.study import StudyRef
from fhir_mapping.validation import require_valid
from inference.analysis import ModelResult, StudyIdentity
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    EXPLANATION_URL,
    FULL_CONTEXT,
    FULL_REF,
    MINIMAL_CONTEXT,
    MINIMAL_REF,
    NEGATIVE,
    NOT_RUN,
    RESULT,
    STUDY_UID,
    UNCODED_FINDING,
    analysis_of,
)

OUTCOMES = {"finding": RESULT, "no finding": NEGATIVE, "abstained": ABSTAINED}
REPEATED = (WriteForm.CONDITIONAL_UPDATE, WriteForm.CLIENT_ASSIGNED_IDS)
UNKNOWN = replace(MINIMAL_REF, patient_identifiers=())
OTHER_SERIES = replace(RESULT, series_uid="1.2.3.4")


def write(
    *results: ModelResult, ref: StudyRef = FULL_REF, context: ReportContext = FULL_CONTEXT
) -> dict[str, Any]:
    bundle = report_bundle(analysis_of(*results), ref, context)
    assert bundle is not None
    return bundle


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in bundle["entry"]]
    return [item for item in found if item["resourceType"] == kind]


def values(node: object) -> Iterator[object]:
    """Every value in parsed JSON."""
    yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from values(child)


@pytest.mark.parametrize("result", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_is_written_is_these_four_and_in_this_order(result: ModelResult) -> None:
    """Patient, Organization and ImagingStudy are referred to and never made (C66); none is
    contained (C65); a server that goes entry by entry sees no report before its results."""
    bundle = write(result)
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds == ["Device", "Observation", "DiagnosticReport", "Provenance"]
    assert bundle["type"] == "transaction"
    assert not any(isinstance(v, dict) and "contained" in v for v in values(bundle))


@pytest.mark.parametrize("form", REPEATED)
def test_the_same_input_is_written_in_the_same_bytes(form: WriteForm) -> None:
    context = replace(FULL_CONTEXT, form=form)
    first, again = (json.dumps(write(RESULT, NEGATIVE_OF_OTHER, context=context)) for _ in "ab")
    assert first == again


NEGATIVE_OF_OTHER = replace(NEGATIVE, series_uid="1.2.3.4")


def names(bundle: dict[str, Any]) -> dict[str, list[str]]:
    """The request URLs by type of resource."""
    found: dict[str, list[str]] = {}
    for entry in bundle["entry"]:
        kind = entry["resource"]["resourceType"]
        found.setdefault(kind, []).append(entry["request"]["url"])
    return found


@pytest.mark.parametrize("form", REPEATED)
def test_a_later_analysis_of_a_study_updates_what_the_earlier_one_wrote(form: WriteForm) -> None:
    """Neither the images nor the outcome name a resource, so the chart never shows two that
    disagree; only how it was made (Provenance) is a new one (B06, A13)."""
    context = replace(FULL_CONTEXT, form=form)
    before = names(write(RESULT, context=context))
    grown = replace(analysis_of(NEGATIVE), instance_digest="ef" * 32)
    later = report_bundle(grown, FULL_REF, replace(context, explanation_url="https://x.example/2"))
    assert later is not None
    after = names(later)
    for kind in ("Device", "Observation", "DiagnosticReport"):
        assert before[kind] == after[kind]
    assert before["Provenance"] != after["Provenance"]
    assert {"use": "secondary", "type": {"text": "Images read"}} | {
        "system": "urn:scanhook:images",
        "value": "ef" * 32,
    } in resources(later, "DiagnosticReport")[0]["identifier"]


@pytest.mark.parametrize(
    "other",
    [
        replace(RESULT, model_version="1.0.1"),
        replace(RESULT, model_sha256="ef" * 32),
        replace(RESULT, model_id="another"),
    ],
)
def test_another_model_is_another_device_with_observations_of_its_own(other: ModelResult) -> None:
    """Everything a withdrawn version said is found by its Device (C40); one report a study."""
    before, after = names(write(RESULT)), names(write(other))
    assert before["Device"] != after["Device"]
    assert before["Observation"] != after["Observation"]
    assert before["DiagnosticReport"] == after["DiagnosticReport"]


def test_tenants_and_series_and_studies_are_kept_apart() -> None:
    def ref(study: str, patient: str = "Patient/p1") -> StudyRef:
        return StudyRef(study, "pacs", patient)

    parts = [("a", ref("1.2"), RESULT), ("b", ref("1.2"), RESULT), ("a", ref("1.3"), RESULT)]
    parts += [("a", ref("1.2"), OTHER_SERIES), ("a", ref("1.2", "Patient/p2"), RESULT)]
    assert len({observation_identity(*item).uuid for item in parts}) == 5
    names = [
        report_identity("ab", ref("1")),
        report_identity("a", ref("b1")),
        report_identity("ab", ref("1", "Patient/p2")),
    ]
    assert len({name.value for name in names}) == 3


def test_no_uid_is_in_a_url() -> None:
    """A search by identifier is logged by servers and proxies on the way."""
    for entry in write(RESULT)["entry"]:
        assert STUDY_UID not in entry["request"]["url"]


@pytest.mark.parametrize("form", REPEATED)
def test_every_entry_may_be_sent_twice(form: WriteForm) -> None:
    """C61, C64: an update by identifier, or an update by an id of ours."""
    for entry in write(RESULT, context=replace(FULL_CONTEXT, form=form))["entry"]:
        kind, request = entry["resource"]["resourceType"], entry["request"]
        assert request["method"] == "PUT"
        if form is WriteForm.CLIENT_ASSIGNED_IDS:
            assert request["url"] == f"{kind}/{entry['resource']['id']}"
            assert entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}"
        elif kind == "Provenance":
            own = entry["resource"]["meta"]["tag"][-1]
            assert request["url"] == f"Provenance?_tag={own['system']}|{own['code']}"
        else:
            own = entry["resource"]["identifier"][0]
            assert request["url"] == f"{kind}?identifier={own['system']}|{own['value']}"


def test_every_internal_reference_is_an_entry_of_the_bundle() -> None:
    bundle = write(RESULT, OTHER_SERIES)
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    for value in values(bundle):
        if isinstance(value, dict) and str(value.get("reference")).startswith("urn:uuid:"):
            assert value["reference"] in urls


def test_a_model_on_two_series_is_one_device_with_two_observations() -> None:
    kinds = names(write(RESULT, OTHER_SERIES))
    assert {kind: len(urls) for kind, urls in kinds.items()} == {
        "Device": 1,
        "Observation": 2,
        "DiagnosticReport": 1,
        "Provenance": 1,
    }


def test_the_same_result_twice_is_refused() -> None:
    """Two entries of one transaction that are one resource: servers fail or drop one (C63)."""
    with pytest.raises(Contradiction):
        write(RESULT, NEGATIVE)


def test_two_entries_of_one_name_are_found() -> None:
    bundle = write(RESULT)
    doubled = {**bundle, "entry": [*bundle["entry"], bundle["entry"][0]]}
    with pytest.raises(Contradiction):
        require_unique(doubled)


@pytest.mark.parametrize("results", [(), (NOT_RUN,)])
def test_nothing_is_written_when_no_model_answered(results: tuple[ModelResult, ...]) -> None:
    assert report_bundle(analysis_of(*results), FULL_REF, FULL_CONTEXT) is None


def test_a_result_that_was_not_computed_makes_no_observation() -> None:
    bundle = write(RESULT, replace(NOT_RUN, series_uid="1.2.3.4"))
    assert len(resources(bundle, "Observation")) == 1


@pytest.mark.parametrize(
    ("identity", "error"),
    [
        (StudyIdentity("1.2.3"), Contradiction),
        (StudyIdentity(STUDY_UID, "MRN-2"), NotOurs),
        (StudyIdentity(STUDY_UID, "mrn-1"), NotOurs),
        (StudyIdentity(STUDY_UID, "MRN-1", "", "A2"), Contradiction),
    ],
)
def test_images_of_another_study_or_patient_are_refused(
    identity: StudyIdentity, error: type[Exception]
) -> None:
    """The guard against the wrong chart (C05, B7)."""
    with pytest.raises(error):
        report_bundle(replace(analysis_of(RESULT), identity=identity), FULL_REF, FULL_CONTEXT)


@pytest.mark.parametrize(
    ("identity", "ref"),
    [
        (StudyIdentity(STUDY_UID), FULL_REF),
        (StudyIdentity(STUDY_UID, " X9 ", "", "A1 "), FULL_REF),
        (StudyIdentity(STUDY_UID, "MRN-1", "", "A9"), MINIMAL_REF),
        (StudyIdentity(STUDY_UID), UNKNOWN),
        (StudyIdentity(STUDY_UID, "  "), UNKNOWN),
    ],
)
def test_what_is_not_stated_is_not_compared(identity: StudyIdentity, ref: StudyRef) -> None:
    require_same_study(identity, ref)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"patient_identifiers": ()}, True),
        ({"patient_identifiers": (), "identifiers_left_out": True}, False),
        ({"patient_identifiers": ("X9",), "identifiers_left_out": True}, False),
    ],
)
def test_a_chart_whose_identifiers_are_not_known_is_refused(
    changes: dict[str, Any], accepted: bool
) -> None:
    """What is unknown is no match; only a site may decide to trust a chart without identifiers."""
    analysis, ref = analysis_of(RESULT), replace(MINIMAL_REF, **changes)
    with pytest.raises(PatientNotKnown):
        report_bundle(analysis, ref, MINIMAL_CONTEXT)
    trusting = replace(MINIMAL_CONTEXT, accept_unverified_patients=True)
    with nullcontext() if accepted else pytest.raises(PatientNotKnown):
        assert report_bundle(analysis, ref, trusting)


@pytest.mark.parametrize("left_out", ["Observation", "Device", "Provenance"])
def test_a_type_that_the_server_refuses_is_left_out_and_not_referred_to(left_out: str) -> None:
    """C67: fewer resources, no dangling reference."""
    types = FULL_CONTEXT.resource_types - {left_out}
    bundle = write(RESULT, context=replace(FULL_CONTEXT, resource_types=types))
    assert left_out not in names(bundle)
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    for value in values(bundle):
        if isinstance(value, dict) and str(value.get("reference")).startswith("urn:uuid:"):
            assert value["reference"] in urls


@pytest.mark.parametrize(
    "change",
    [
        {"recorded": MINIMAL_CONTEXT.recorded.replace(tzinfo=None)},
        {"explanation_url": "https://x.example/why/1?token=abc"},
        {"explanation_url": "https://user:secret@x.example/why/1"},
        {"explanation_url": "https://x.example/why/1#key"},
        {"explanation_url": "javascript:alert(1)"},
        {"explanation_url": "/why/1"},
        {"resource_types": frozenset({"DiagnosticReport", "Patient"})},
        {"resource_types": frozenset({"Observation"})},
        {"identifier_root": "not a uri"},
        {"identifier_root": "urn:x&identifier=y"},
    ],
)
def test_a_context_that_would_harm_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        replace(MINIMAL_CONTEXT, **change)


def test_what_is_not_fhir_is_not_sent_and_not_quoted() -> None:
    bundle = write(RESULT)
    resources(bundle, "Observation")[0]["subjekt"] = "Miller^Anna"
    with pytest.raises(InvalidResource) as caught:
        require_valid(bundle)
    assert "subjekt" in caught.value.sentence
    assert "Miller" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_labels_say_ai_and_test_data() -> None:
    """C42 and the HTEST tag of a demonstration; AIAST can be switched off for strict servers."""
    ai = {"Observation", "DiagnosticReport"}
    for entry in write(RESULT)["entry"]:
        meta = entry["resource"]["meta"]
        codes = [label["code"] for label in meta.get("security", [])]
        assert codes == ["AIAST"] * (entry["resource"]["resourceType"] in ai)
        assert "HTEST" in [tag["code"] for tag in meta["tag"]]
    bare = write(RESULT, context=replace(MINIMAL_CONTEXT, label_ai=False))
    assert "AIAST" not in json.dumps(bare)
    assert "HTEST" not in json.dumps(bare)


@pytest.mark.parametrize("result", [*OUTCOMES.values(), UNCODED_FINDING])
@pytest.mark.parametrize("context", [FULL_CONTEXT, MINIMAL_CONTEXT], ids=["full", "minimal"])
@pytest.mark.parametrize("ref", [FULL_REF, MINIMAL_REF], ids=["full", "minimal"])
def test_no_path_writes_anything_but_preliminary(
    result: ModelResult, context: ReportContext, ref: StudyRef
) -> None:
    """C02: only a person's sign-off may make it final."""
    bundle = write(result, ref=ref, context=context)
    stated = [*resources(bundle, "Observation"), *resources(bundle, "DiagnosticReport")]
    assert {item["status"] for item in stated} == {"preliminary"}


def test_there_is_no_null_and_nothing_empty() -> None:
    """FHIR JSON: no null outside of a list of primitives, no empty string, object or array."""
    for result in (*OUTCOMES.values(), UNCODED_FINDING):
        for ref, context in ((FULL_REF, FULL_CONTEXT), (MINIMAL_REF, MINIMAL_CONTEXT)):
            for value in values(write(result, ref=ref, context=context)):
                assert value not in (None, "", [], {})


def report_on_server(**changes: Any) -> dict[str, Any]:
    """Our report as a server would return it."""
    [report] = resources(write(RESULT), "DiagnosticReport")
    return {**report, "id": "r7", "meta": {"versionId": "3"}} | changes


IDENTITY = report_identity("tenant-a", FULL_REF)


def test_a_report_is_read_back() -> None:
    found = standing(report_on_server(), IDENTITY)
    assert found is not None
    assert (found.reference, found.version) == ("DiagnosticReport/r7", "3")
    assert (found.images, found.taken_over) == ("cd" * 32, False)
    for status in ("final", "amended", "corrected", "entered-in-error", "cancelled", "new-code"):
        taken = standing(report_on_server(status=status), IDENTITY)
        assert taken is not None
        assert taken.taken_over


@pytest.mark.parametrize(
    "body",
    [
        None,
        "<html>",
        {},
        report_on_server(identifier=[{"system": IDENTITY.system, "value": "x"}]),
        report_on_server(id="../r"),
        report_on_server(status=None),
        report_on_server(resourceType="Observation"),
    ],
)
def test_what_is_not_our_report_is_none(body: object) -> None:
    assert standing(body, IDENTITY) is None


def test_a_report_is_replaced_only_in_the_version_that_was_read() -> None:
    """R4 http, If-Match: a sign-off in between is answered with 412 (C68)."""
    written = standing(report_on_server(), IDENTITY)
    assert written is not None
    items = report_items(analysis_of(RESULT), FULL_REF, FULL_CONTEXT)
    changed: Any = transaction(items, WriteForm.PLAIN, {IDENTITY.urn: written})
    require_valid(changed)
    [entry] = [e for e in changed["entry"] if e["fullUrl"] == IDENTITY.urn]
    assert entry["request"] == {
        "method": "PUT",
        "url": "DiagnosticReport/r7",
        "ifMatch": 'W/"3"',
    }
    assert entry["resource"]["id"] == "r7"


def test_the_explanation_is_linked_from_every_statement() -> None:
    bundle = write(RESULT, OTHER_SERIES)
    for kind in ("Observation", "DiagnosticReport"):
        for item in resources(bundle, kind):
            assert f'href="{EXPLANATION_URL}"' in item["text"]["div"]
    [form] = resources(bundle, "DiagnosticReport")[0]["presentedForm"]
    assert (form["contentType"], form["url"]) == ("text/html", EXPLANATION_URL)
    without = write(RESULT, context=replace(FULL_CONTEXT, attach_explanation=False))
    assert "presentedForm" not in resources(without, "DiagnosticReport")[0]
