"""The card in its three forms says what manifest and report say, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models.attributes import SourceAttributes
from models.build.card import card_files, write_card, write_json, write_xml
from models.build.card.attributes import TITLES
from models.build.card.chai import NAMESPACE
from tests.unit.models.build.test_template import IDS, TEMPLATES, manifest_of, report_for

# the elements of CHAI's schema v0.2 that must be there, in its order
CHAI = {
    "BasicInfo": ("ModelName", "ModelDeveloper", "DeveloperContact"),
    "ReleaseInfo": (
        *("ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability"),
        "RegulatoryApproval",
    ),
    "ModelSummary": ("Summary", "Keywords"),
    "UsesAndDirections": (
        *("IntendedUseAndWorkflow", "PrimaryIntendedUsers", "HowToUse"),
        *("TargetedPatientPopulation", "CautionedOutOfScopeSettings"),
    ),
    "Warnings": (
        *("KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel"),
    ),
    "TrustIngredients": ("AISystemFacts", "TransparencyInformation"),
    "KeyMetrics": ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability"),
    "Resources": (
        *("EvaluationReferences", "ClinicalTrial", "PeerReviewedPublications"),
        *("ReimbursementStatus", "PatientConsentOrDisclosure"),
    ),
    "Bibliography": (),
}
METRIC = (
    *("MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription"),
    "ValidationProcessAndJustification",
)
FACTS = (
    *("OutcomesAndOutputs", "ModelType", "FoundationModels", "InputDataSource"),
    *("OutputAndInputDataTypes", "DevelopmentDataCharacterization", "BiasMitigationApproaches"),
    *("OngoingMaintenance", "Security", "Transparency"),
)


def names(element: ElementTree.Element) -> tuple[str, ...]:
    return tuple(child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element)


def find(root: ElementTree.Element, path: str) -> ElementTree.Element:
    found = root.find("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/")))
    assert found is not None
    return found


def test_the_31_source_attributes_have_titles_in_the_order_of_the_rule() -> None:
    fields = [field.name for field in dataclasses.fields(SourceAttributes)]
    assert [key for titles in TITLES.values() for key in titles] == fields
    assert len(fields) == 31


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_the_card_holds_every_statement_of_the_manifest(template: Path) -> None:
    manifest = manifest_of(template)
    card = write_card(manifest, report_for(template))
    stated = [*dataclasses.asdict(manifest.attributes).values(), *manifest.limits]
    stated += [*manifest.not_for, *(one.terms for one in manifest.data)]
    stated += [metric.result for metric in manifest.chai.key_metrics]
    assert [text for text in stated if text.replace("|", "\\|") not in card] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_the_card_leaves_no_placeholder_and_no_empty_figure(template: Path) -> None:
    card = write_card(manifest_of(template), report_for(template))
    assert not re.search(r"\$\w|\bnan\b", card)
    assert "None" not in card.partition("## The graph")[0]


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_every_table_of_the_card_has_rows_as_wide_as_its_header(template: Path) -> None:
    card = write_card(manifest_of(template), report_for(template))
    for block in card.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(widths) <= 1, lines[:3]


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_the_card_names_the_licence_of_each_set(template: Path) -> None:
    card = write_card(manifest_of(template), report_for(template))
    assert "## Data" in card
    assert re.search("CC BY 4.0|Research use with citation", card)


@pytest.mark.parametrize("template", TEMPLATES, ids=IDS)
def test_the_xml_has_the_elements_of_the_chai_schema_in_its_order(template: Path) -> None:
    text = write_xml(manifest_of(template), report_for(template))
    root = ElementTree.fromstring(text)  # noqa: S314  # our own output
    assert root.tag == f"{{{NAMESPACE}}}AppliedModelCard"
    assert names(root) == tuple(CHAI)
    for part, children in CHAI.items():
        assert names(find(root, part)) == children
    assert names(find(root, "TrustIngredients/AISystemFacts")) == FACTS
    for kind in CHAI["KeyMetrics"]:
        assert names(find(root, f"KeyMetrics/{kind}")) == METRIC
    assert all((element.text or "").strip() for element in root.iter() if not len(element))


def test_the_figures_of_the_xml_are_numbers_of_the_report() -> None:
    template = TEMPLATES[IDS.index("brain-mri-tumour")]
    report = report_for(template)
    root = ElementTree.fromstring(write_xml(manifest_of(template), report))  # noqa: S314
    results = find(root, "KeyMetrics/UsefulnessUsabilityEfficacy/Results")
    label, value = (child.text for child in results[0])
    accuracy = report["test"]["accuracy"]
    assert label == "Accuracy"
    assert json.loads(value or "") == {
        "kind": "estimate_ci",
        "estimate": round(100 * accuracy["value"], 4),
        "lower": round(100 * accuracy["low"], 4),
        "upper": round(100 * accuracy["high"], 4),
        "level": 95,
        "unit": "%",
    }


def test_an_unknown_group_fairness_is_said_to_be_unknown() -> None:
    template = TEMPLATES[IDS.index("brain-mri-tumour")]
    text = write_xml(manifest_of(template), report_for(template))
    root = ElementTree.fromstring(text)  # noqa: S314
    (result,) = find(root, "KeyMetrics/FairnessEquity/Results")
    assert json.loads(result[1].text or "")["value"] == "unknown"


def test_the_json_has_all_attributes() -> None:
    manifest = manifest_of(TEMPLATES[0])
    stated = json.loads(write_json(manifest))
    assert len(stated["source_attributes"]) == 31
    assert stated["chai"]["key_metrics"]


def test_the_brain_card_states_the_shortcut_and_the_single_source() -> None:
    template = TEMPLATES[IDS.index("brain-mri-tumour")]
    card = write_card(manifest_of(template), report_for(template))
    assert "Shortcut risk" in card
    assert "one public collection" in card
    assert "Not verified: research only" in card


def test_the_card_says_what_a_few_references_with_another_idea_of_the_outline_weigh() -> None:
    template = TEMPLATES[IDS.index("chest-xray-lungs")]
    report = report_for(template)
    nobody = {"smallest_fraction": 0.01, "images": 0, "dice_of_others": 0.9}
    some = {"images": 15, "dice_of_others": 0.968, "dice_5th_percentile_of_others": 0.941}
    said = "On 15 of"
    for left_out, expected in ((nobody, False), (nobody | some, True)):
        test = report["test"] | {"left_out": left_out}
        card = write_card(manifest_of(template), report | {"test": test})
        assert (said in card) is expected
        assert ("5th percentile 0.941: no score" in card) is expected


def test_the_card_says_which_steps_of_compression_were_not_run_or_changed_nothing() -> None:
    template = TEMPLATES[IDS.index("chest-xray-pneumonia")]
    report = report_for(template)
    (first,) = report["compression"]["rows"]
    pruned = first | {"step": "pruned by 10 %", "macs": 9}
    idle = pruned | {"step": "factorised to 97 % of the energy"}
    all_but = "pruning, factorising and training with quantisation."
    for rows, absent, pays in (
        ([first], all_but, True),
        ([first, pruned, idle], "without: training with quantisation.", False),
        ([first, pruned, idle | {"macs": 8}], "without: training with quantisation.", True),
    ):
        compression = report["compression"] | {"rows": rows}
        card = write_card(manifest_of(template), report | {"compression": compression})
        assert absent in card
        assert ("found no layer where it pays" in card) is not pays


def test_the_three_forms_have_their_names() -> None:
    template = TEMPLATES[0]
    files = card_files(manifest_of(template), report_for(template))
    assert set(files) == {"CARD.md", "card.json", "card.xml"}
