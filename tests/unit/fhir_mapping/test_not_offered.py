"""What the page of requirements says we do not write or read is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fhir_mapping.bundle import report_bundle
from fhir_mapping.evidence_series import EvidenceSeries, ReportEvidence
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    FULL_CONTEXT,
    FULL_REF,
    MEASURED,
    NEGATIVE,
    RESULT,
    analysis_of,
)
from tests.unit.fhir_mapping.test_study import OTHER, at

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
EVIDENCE = ReportEvidence(
    pdf=b"%PDF-1.4 page",
    key_image_png=b"\x89PNG picture",
    series=(EvidenceSeries("1.2.1", "1.2.1.1", SEG, "SEG", "AI outline: M"),),
)


@pytest.fixture(params=[RESULT, NEGATIVE, ABSTAINED, MEASURED], ids=lambda each: each.outcome)
def written(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The transaction of a result with all that a site may keep beside it."""
    context = replace(FULL_CONTEXT, evidence=EVIDENCE)
    bundle = report_bundle(analysis_of(request.param), FULL_REF, context)
    assert bundle is not None
    return bundle


def test_nothing_is_of_a_guide_in_ballot(written: dict[str, Any]) -> None:
    """Neither its confidence (C29), its types of devices (C41) nor its model card (C44)."""
    assert "aitransparency" not in json.dumps(written).lower()


def test_what_explains_has_no_code(written: dict[str, Any]) -> None:
    """DCM 130401 has no place in Media of R4 (C31)."""
    assert "130401" not in json.dumps(written)


def test_the_type_of_a_device_is_text(written: dict[str, Any]) -> None:
    """C41: no code of a profile that is not claimed."""
    made = [entry["resource"] for entry in written["entry"]]
    (device,) = [each for each in made if each["resourceType"] == "Device"]
    assert set(device["type"]) == {"text"}


def test_a_model_card_is_linked_and_no_document(written: dict[str, Any]) -> None:
    """C44: the card is a page of ours."""
    kinds = {entry["resource"]["resourceType"] for entry in written["entry"]}
    assert "DocumentReference" not in kinds


def test_headers_of_an_endpoint_are_not_read() -> None:
    """C59: a chart does not decide what is sent to an archive."""
    headers = ["Authorization: Bearer of-the-chart", "X-Other: 1"]
    assert at(OTHER, header=headers) == at(OTHER)
    assert "of-the-chart" not in repr(at(OTHER, header=headers))
