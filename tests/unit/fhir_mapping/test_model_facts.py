"""What a report takes from the manifests of the models that are shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fhir_mapping.codes import BRAIN, IMAGING_STUDY_REPORT, MR_BRAIN_REPORT, SCT
from fhir_mapping.context import model_facts
from models.manifest import Manifest, read_manifest
from tests.unit.fhir_mapping.test_codes import verhoeff

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(path.parent for path in (ROOT / "models").glob("*/model.toml"))


def brain() -> Manifest:
    return read_manifest(ROOT / "tests" / "reference" / "toy_model")


def test_a_brain_model_on_mr_reports_on_a_brain_mri() -> None:
    facts = model_facts(brain(), "https://ai.example/models/toy")
    assert (facts.report_code, facts.body_site) == (MR_BRAIN_REPORT, BRAIN)
    assert facts.card_url == "https://ai.example/models/toy"
    assert facts.limits == brain().limits
    assert facts.research


def test_a_model_of_an_unlisted_body_part_reports_on_an_imaging_study() -> None:
    knee = replace(brain(), applies_to=replace(brain().applies_to, body_parts=("KNEE",)))
    facts = model_facts(knee)
    assert (facts.report_code, facts.body_site) == (None, None)
    assert IMAGING_STUDY_REPORT.code == "18748-4"


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_snomed_codes_of_a_shipped_model_have_their_check_digit(folder: Path) -> None:
    codings = [label.coding for label in read_manifest(folder).labels if label.coding]
    assert codings
    assert all(verhoeff(coding.code) for coding in codings if coding.system == SCT)
