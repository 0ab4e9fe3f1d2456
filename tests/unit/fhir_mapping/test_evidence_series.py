"""What a report carries beside its statements, as FHIR R4 has it."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from fhir_mapping.bundle import report_bundle
from fhir_mapping.context import ReportContext
from fhir_mapping.evidence_series import EvidenceSeries, ReportEvidence
from fhir_mapping.study import StudyRef
from tests.doubles import explained

PDF, PNG = b"%PDF-1.4 page", b"\x89PNG picture"
SERIES = EvidenceSeries("1.2.1", "1.2.1.1", "1.2.840.10008.5.1.4.1.1.66.4", "SEG", "AI outline: M")


def report(evidence: ReportEvidence) -> dict[str, Any]:
    """The DiagnosticReport of a finding; the bundle is checked against the definitions of R4."""
    study = explained.IDENTITY
    ref = StudyRef(
        study_uid=study.study_uid,
        archive="pacs",
        patient_reference="Patient/1",
        patient_identifiers=(study.patient_id,),
    )
    context = ReportContext(
        tenant="north",
        explanation_url="https://ai.example.org/p/1",
        recorded=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        evidence=evidence,
    )
    bundle: Any = report_bundle(explained.finding(), ref, context)
    resources = [entry["resource"] for entry in bundle["entry"]]
    return next(each for each in resources if each["resourceType"] == "DiagnosticReport")


def test_the_pdf_stands_beside_the_page_with_its_hash_and_size() -> None:
    page, pdf = report(ReportEvidence(pdf=PDF))["presentedForm"]
    assert page["contentType"] == "text/html"
    assert pdf["contentType"] == "application/pdf"
    assert base64.b64decode(pdf["data"]) == PDF
    assert pdf["size"] == len(PDF)
    assert base64.b64decode(pdf["hash"]) == hashlib.sha1(PDF).digest()  # noqa: S324 -- what R4 asks


def test_the_key_image_is_media_within_the_report() -> None:
    made = report(ReportEvidence(key_image_png=PNG))
    (media,) = made["media"]
    (picture,) = made["contained"]
    assert media["link"]["reference"] == f"#{picture['id']}"
    assert picture["resourceType"] == "Media"
    assert picture["subject"] == made["subject"]
    assert base64.b64decode(picture["content"]["data"]) == PNG


def test_the_series_of_evidence_are_a_further_imaging_study_of_the_same_uid() -> None:
    made = report(ReportEvidence(series=(SERIES,)))
    images, evidence = made["imagingStudy"]
    (study,) = made["contained"]
    assert evidence["reference"] == f"#{study['id']}"
    assert study["identifier"][0]["value"] == images["identifier"]["value"]
    (series,) = study["series"]
    assert (series["uid"], series["modality"]["code"]) == ("1.2.1", "SEG")
    assert series["instance"][0]["uid"] == "1.2.1.1"
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 1)


def test_only_pictures_and_places_of_evidence_are_contained() -> None:
    made = report(ReportEvidence(pdf=PDF, key_image_png=PNG, series=(SERIES,)))
    assert [each["resourceType"] for each in made["contained"]] == ["Media", "ImagingStudy"]


def test_without_evidence_the_report_is_as_ever() -> None:
    made = report(ReportEvidence())
    assert "contained" not in made
    assert "media" not in made
    assert len(made["presentedForm"]) == len(made["imagingStudy"]) == 1
