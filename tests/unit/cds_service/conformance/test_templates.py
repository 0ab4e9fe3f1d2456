"""Prefetch templates: which are portable, and what stands for them."""

from __future__ import annotations

import pytest

from cds_service.conformance.hooks import HOOKS, Who, context_of, required_fields
from cds_service.conformance.templates import (
    filled,
    invented,
    later_tokens,
    outside_the_subset,
    unknown_tokens,
)
from cds_service.hooks.discovery import SERVICES, discovery
from cds_service.hooks.request import CONTEXTS

GOOD = [
    "Patient/{{context.patientId}}",
    "{{context.userId}}",
    "Practitioner/{{userPractitionerId}}",
    "Observation?patient={{context.patientId}}&code=http://loinc.org|29463-7&_count=1&_sort=-date",
    "MedicationRequest?patient={{context.patientId}}&status:in=http://example.org/vs",
    "Encounter?patient={{context.patientId}}&date=ge2026-01-01&date=le2026-12-31",
    "ImagingStudy?patient={{ context.patientId }}&basedon=ServiceRequest/1",
]


@pytest.mark.parametrize("template", GOOD)
def test_a_portable_template_has_no_fault(template: str) -> None:
    assert list(unknown_tokens(template, "patient-view")) == []
    assert list(later_tokens(template)) == []
    assert list(outside_the_subset(template)) == []


@pytest.mark.parametrize(
    "template",
    [
        "Patient/{{Patient.id}}",
        "Patient/{{context.patient}}",
        "Patient/{{patientId}}",
        "Patient/{{context.patientId}",
        "Patient/{context.patientId}",
        "Patient/{{context.draftOrders}}",
        "Patient/{{}}",
    ],
)
def test_a_token_that_nobody_knows_is_found(template: str) -> None:
    assert len(list(unknown_tokens(template, "order-select"))) == 1


@pytest.mark.parametrize(
    "template",
    [
        "Patient?birthdate=le{{today() - 10 days}}",
        "Practitioner/{{%studies.entry.first().resource.id}}",
        "ServiceRequest/{{context.draftOrders.ServiceRequest.id}}",
        "{{context.userId.resolve().ofType(Practitioner)}}",
    ],
)
def test_a_token_of_the_ballot_is_found_and_is_not_unknown(template: str) -> None:
    assert len(list(later_tokens(template))) == 1
    assert list(unknown_tokens(template, "order-select")) == []


@pytest.mark.parametrize(
    "template",
    [
        "ImagingStudy?patient={{context.patientId}}&_include=ImagingStudy:endpoint",
        "ImagingStudy?patient.name=x",
        "ImagingStudy?_has:Observation:patient:code=1",
        "Patient/{{context.patientId}}/$everything",
        "Patient",
        "$fhir-operation?x=1",
        "Observation?date=sa2026-01-01",
        "Observation?subject:missing=true",
        "Observation?patient=1&_maxresults=5",
        "",
    ],
)
def test_a_query_outside_the_subset_is_found(template: str) -> None:
    assert list(outside_the_subset(template))


def test_our_own_templates_are_portable() -> None:
    for service in discovery(5)["services"]:
        for template in service["prefetch"].values():
            faults = [*unknown_tokens(template, service["hook"]), *outside_the_subset(template)]
            assert faults == []


def test_tokens_are_filled_from_the_context_and_the_user() -> None:
    context = context_of("patient-view", Who("p1", "PractitionerRole/r1", "e1"))
    assert filled("Patient/{{context.patientId}}", context, "PractitionerRole/r1") == "Patient/p1"
    role = "PractitionerRole/{{userPractitionerRoleId}}"
    assert filled(role, context, "PractitionerRole/r1") == "PractitionerRole/r1"
    assert filled("Practitioner/{{userPractitionerId}}", context, "PractitionerRole/r1") is None


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Patient/p1", "Patient"),
        ("Observation?patient=p1", "Bundle"),
        ("Basic/1", None),
        (None, None),
    ],
)
def test_an_empty_chart_is_invented(query: str | None, kind: str | None) -> None:
    assert (invented(query, Who()) or {}).get("resourceType") == kind


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_each_context_has_what_is_required(hook: str) -> None:
    assert set(required_fields(hook)) <= set(context_of(hook, Who()))


@pytest.mark.parametrize("hook", [service.hook for service in SERVICES.values()])
def test_the_example_of_each_context_is_one_that_we_accept(hook: str) -> None:
    assert CONTEXTS[hook](context_of(hook, Who("p1", "Practitioner/1", "e1"))).patient_id == "p1"
