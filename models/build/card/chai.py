"""The CHAI Applied Model Card as XML (schema v0.2, https://mc.chai.org), from the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree

from models.build.card.facts import external
from models.build.evaluate.figures import Report
from models.manifest import KeyMetric, Manifest

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
_KINDS: dict[Literal["usefulness", "fairness", "safety"], str] = {
    "usefulness": "UsefulnessUsabilityEfficacy",
    "fairness": "FairnessEquity",
    "safety": "SafetyReliability",
}

Tree = dict[str, "str | Tree | list[tuple[str, Tree | str]]"]


def write_xml(manifest: Manifest, report: Report) -> str:
    """The whole card; its elements stand in the schema's order."""
    root = ElementTree.Element("AppliedModelCard", {"xmlns": NAMESPACE})
    _add(root, _content(manifest, report))
    ElementTree.indent(root, " ")
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _add(parent: ElementTree.Element, tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, list):
            child = ElementTree.SubElement(parent, name)
            for item, content in value:
                _one(child, item, content)
        else:
            _one(parent, name, value)


def _one(parent: ElementTree.Element, name: str, value: str | Tree) -> None:
    child = ElementTree.SubElement(parent, name)
    if isinstance(value, str):
        child.text = _clean(value)
    else:
        _add(child, value)


def _clean(text: str) -> str:
    """XML 1.0 has no control characters but tab and line ends."""
    return "".join(c for c in text if c in "\t\n\r" or ord(c) >= 32)


def _content(manifest: Manifest, report: Report) -> Tree:
    chai, stated = manifest.chai, manifest.attributes
    return {
        "BasicInfo": {
            "ModelName": manifest.title,
            "ModelDeveloper": manifest.developer,
            "DeveloperContact": stated.developer_and_contact,
        },
        "ReleaseInfo": {
            "ReleaseStage": f"{manifest.stage}: not a medical device, not for clinical use",
            "ReleaseDate": chai.release_date,
            "ReleaseVersion": manifest.version,
            "GlobalAvailability": "Source code and weights are public; no approval anywhere",
            "RegulatoryApproval": chai.regulatory_approval,
        },
        "ModelSummary": {
            "Summary": chai.summary,
            "Keywords": [("Keyword", word) for word in chai.keywords],
        },
        "UsesAndDirections": {
            "IntendedUseAndWorkflow": f"{stated.intended_use}. {stated.decision_role}",
            "PrimaryIntendedUsers": stated.intended_users,
            "HowToUse": chai.how_to_use,
            "TargetedPatientPopulation": stated.intended_population,
            "CautionedOutOfScopeSettings": stated.cautioned_against,
        },
        "Warnings": {
            "KnownRisksAndLimitations": "\n\n".join(
                (stated.risks_and_limitations, *(f"- {limit}" for limit in manifest.limits))
            ),
            "KnownBiasesOrEthicalConsiderations": chai.biases,
            "ClinicalRiskLevel": chai.clinical_risk_level,
        },
        "TrustIngredients": _trust(manifest),
        "KeyMetrics": {
            element: _metric([m for m in chai.key_metrics if m.kind == kind], kind, report)
            for kind, element in _KINDS.items()
        },
        "Resources": {
            "EvaluationReferences": stated.outcome_references,
            "ClinicalTrial": chai.clinical_trials,
            "PeerReviewedPublications": chai.publications,
            "ReimbursementStatus": chai.reimbursement,
            "PatientConsentOrDisclosure": chai.patient_consent,
        },
        "Bibliography": "\n".join(_bibtex(manifest)),
    }


def _trust(manifest: Manifest) -> Tree:
    chai, stated = manifest.chai, manifest.attributes
    maintenance = (
        stated.validity_monitoring,
        stated.fairness_monitoring,
        stated.update_process,
        stated.correction_frequency,
    )
    return {
        "AISystemFacts": {
            "OutcomesAndOutputs": f"{stated.output_type}: {stated.output_value}",
            "ModelType": chai.model_type,
            "FoundationModels": chai.foundation_models,
            "InputDataSource": chai.input_data_source,
            "OutputAndInputDataTypes": chai.data_types,
            "DevelopmentDataCharacterization": chai.development_data,
            "BiasMitigationApproaches": chai.bias_mitigation,
            "OngoingMaintenance": "\n\n".join(maintenance),
            "Security": chai.security,
            "Transparency": "CARD.md, report.json and recipe.toml beside this file.",
        },
        "TransparencyInformation": {
            "FundingSource": stated.funding_source,
            "ThirdPartyInformation": chai.third_parties,
            "StakeholdersConsulted": chai.stakeholders_consulted,
        },
    }


def _metric(metrics: list[KeyMetric], kind: str, report: Report) -> Tree:
    """The schema has one metric of a kind: several are told one after the other."""
    results: list[tuple[str, Tree | str]] = [
        ("MetricResult", {"Label": label, "ValueJson": json.dumps(value)})
        for label, value in _values(kind, report)
    ]
    results += [
        (
            "MetricResult",
            {"Label": m.goal, "ValueJson": json.dumps({"kind": "text", "value": m.result})},
        )
        for m in metrics
    ]
    joined = {
        name: "\n\n".join(getattr(m, name) for m in metrics)
        for name in ("goal", "interpretation", "test", "data", "validation")
    }
    return {
        "MetricGoal": joined["goal"],
        "Results": results,
        "Interpretation": joined["interpretation"],
        "TestType": joined["test"],
        "TestingDataDescription": joined["data"],
        "ValidationProcessAndJustification": joined["validation"],
    }


def _values(kind: str, report: Report) -> Iterator[tuple[str, Report]]:
    """The figures of a kind as numbers; of fairness there is none, the data state no group."""
    test = report["test"]
    if report["task"] == "classification":
        yield from _of_classes(kind, test, external(report))
    elif kind == "usefulness":
        yield "Dice", _estimate(test["dice"], scale=1)
        yield "Dice, 5th percentile", _estimate(test["dice_5th_percentile"], scale=1)
    elif kind == "safety":
        yield "Missed structures", _estimate(test["missed"])
        if test["false_outlines"]:
            yield "Outlined though there is nothing", _estimate(test["false_outlines"])


def _of_classes(kind: str, test: Report, away: Report | None) -> Iterator[tuple[str, Report]]:
    if kind == "usefulness":
        yield "Accuracy", _estimate(test["accuracy"])
        for key, row in test["per_class"].items():
            yield f"Sensitivity, {key}", _estimate(row["sensitivity"])
            yield f"Specificity, {key}", _estimate(row["specificity"])
    elif kind == "safety":
        yield "Share of images answered", _estimate(test["abstaining"]["coverage_interval"])
        yield "Accuracy of the answers", _estimate(test["abstaining"]["accuracy_interval"])
        yield "Expected calibration error", {"kind": "single", "value": test["ece"]}
        if away:
            label = "Findings from elsewhere called negative, after abstention"
            yield label, _estimate(away["called_negative_abstaining_interval"])


def _estimate(figure: Report, scale: int = 100) -> Report:
    if figure["value"] is None:
        return {"kind": "text", "value": "unknown"}
    bounds = {name: round(scale * figure[key], 4) for name, key in _BOUNDS.items()}
    return {"kind": "estimate_ci", **bounds, "level": 95, **({"unit": "%"} if scale == 100 else {})}


_BOUNDS = {"estimate": "value", "lower": "low", "upper": "high"}


def _bibtex(manifest: Manifest) -> Iterator[str]:
    for index, one in enumerate(manifest.data, start=1):
        text = one.citation.replace("{", "(").replace("}", ")")
        yield f"@misc{{data{index},\n  note = {{{text}}}\n}}"
